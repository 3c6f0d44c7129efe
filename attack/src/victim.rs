//! Makes a store to be stolen: a whole exchange with a keeper, to which the
//! messages are sent as a system of the community sends them.

use std::path::PathBuf;

use holdfast_exchange::{Ask, Format, Outcome};
use holdfast_keeper::KeeperClient;
use holdfast_sample::Channel;
use holdfast_testkit::TestExchange;

use crate::Failure;
use crate::people::{self, Dice, Person, Sender};
use crate::truth::{self, Patient, Resource, Truth};

/// Messages between two rounds of the upkeep that the server does by itself.
const UPKEEP_EVERY: usize = 500;
/// Time between two messages: no budget of a system is touched.
const BETWEEN_MS: i64 = 60_000;

/// A store on disk, closed, and the truth about it.
pub struct Victim {
    /// The data folder.
    pub folder: PathBuf,
    /// What is so.
    pub truth: Truth,
    /// Messages that were sent.
    pub messages: usize,
    /// Keeps the folder until it is dropped.
    _kit: TestExchange,
}

/// Lets so many people's records be stored; on the embedded engine, or in the
/// database of `url`.
///
/// # Errors
/// When a message is not accepted.
pub async fn make(count: usize, seed: u64, url: Option<String>) -> Result<Victim, Failure> {
    let mut dice = Dice::new(seed);
    let people = people::people(count, &mut dice);
    let mut kit = match url {
        Some(url) => TestExchange::start_on(url).await,
        None => TestExchange::start().await,
    };
    let community = holdfast_sample::community();
    let both = community.organizations.iter().find_map(|organization| {
        let fhir = organization.interface(Channel::Fhir)?;
        Some((organization, fhir, organization.interface(Channel::Hl7v2)?))
    });
    let (home, fhir, hl7v2) = both.ok_or("nobody of the community sends FHIR and HL7 v2")?;
    let (fhir, hl7v2) =
        (kit.system(fhir.principal.as_str()).await, kit.system(hl7v2.principal.as_str()).await);
    let organization = fhir.organization().clone();
    let sender = Sender { system: home.mrn_system(), facility: home.facility.into() };
    let messages = people::messages(&people, &sender, &mut dice);
    let service =
        KeeperClient::new(kit.dir().join("run/keeper.sock")).service_keys("truth").await?;
    let keys = service.organizations.get(&organization).ok_or("the organization has no keys")?;

    let mut truth = Truth::default();
    for (sent, message) in messages.iter().enumerate() {
        kit.clock.advance_ms(BETWEEN_MS);
        let (caller, format, bytes) = match &message.hl7v2 {
            Some(text) => (&hl7v2, Format::Hl7v2, text.clone().into_bytes()),
            None => (&fhir, Format::Fhir, serde_json::to_vec(&message.bundle)?),
        };
        let ask = Ask::new(caller.clone());
        let admitted = kit.exchange().admit(&ask, &organization, format, &bytes).await?;
        if admitted.outcome != Outcome::Accepted {
            let why = format!("message {sent}: {:?}, {:?}", admitted.outcome, admitted.issues);
            return Err(why.into());
        }
        let mut results = message.results();
        for written in &admitted.written {
            let reference = format!("{}/{}", written.resource_type, written.id);
            let token = keys.token.token("id", reference.as_bytes());
            let kind = written.resource_type.as_str();
            let resource = match (kind, &message.hl7v2) {
                ("Observation", Some(_)) => results.next(),
                (_, Some(_)) => None,
                (_, None) => message.bundle.pointer(&format!("/entry/{}/resource", written.entry)),
            };
            note(&mut truth, &token, kind, resource, &people[message.person]);
        }
        if sent % UPKEEP_EVERY == UPKEEP_EVERY - 1 {
            kit.exchange().look().await?;
            kit.exchange().tend_populations().await?;
        }
    }
    drop(service);
    kit.stop_keeper().await;
    kit.close();
    Ok(Victim { folder: kit.dir(), truth, messages: messages.len(), _kit: kit })
}

fn note(
    truth: &mut Truth,
    token: &[u8],
    kind: &str,
    resource: Option<&serde_json::Value>,
    person: &Person,
) {
    if kind == "Patient" {
        let patient = Patient {
            sex: if person.woman { "female" } else { "male" }.into(),
            birth_year: person.birth_year,
            family: person.family.into(),
            given: person.given.into(),
            sensitive: person.conditions.iter().any(|condition| condition.sensitive),
        };
        truth.patients.insert(truth::name(token), patient);
    }
    let code = resource.and_then(people::code_of).map(str::to_owned);
    truth.resources.insert(truth::name(token), Resource { kind: kind.into(), code });
}
