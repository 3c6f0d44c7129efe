//! The sample community on a new exchange: organizations, people, systems.

use std::collections::HashMap;
use std::path::Path;

use holdfast_base::{Clock as _, PrincipalId};
use holdfast_exchange::{Ask, Enrollment, Exchange, NewAccount, NewOrganization, Role, totp};
use holdfast_sample::{Community, Kind, Member, Organization};

use crate::client::{Client, Credential};
use crate::config::Config;
use crate::failure::{Failure, chain};
use crate::tls::{Authority, Identity};
use crate::wiring::SystemClock;

/// Honey records: plausible, and nobody's. Family names from both ends of the
/// alphabet, so that whoever goes through it meets one early.
const HONEY: [(&str, &str, &str); 3] = [
    ("Verity", "Ashgrove", "female"),
    ("Lucan", "Merriweather", "male"),
    ("Odile", "Cavendish-Thorne", "female"),
];

/// How everybody of the community comes in.
pub struct People {
    /// Sign-in data of people.
    pub credentials: Vec<Credential>,
    /// Certificates of systems.
    pub systems: HashMap<PrincipalId, Identity>,
}

/// Makes the organization that runs the exchange and its first administrator, who
/// signs in and makes everybody else.
///
/// # Errors
/// When the exchange refuses one, which it says.
pub async fn create(
    exchange: &Exchange,
    set_up: &Ask,
    community: &Community,
    authority: &Authority,
) -> Result<People, Failure> {
    let failed = |error: holdfast_exchange::ExchangeError| Failure::new(chain(&error));
    let mut people = People { credentials: Vec::new(), systems: HashMap::new() };
    let first = community.administrator();
    let home = community.organizations.iter().find(|o| o.id == first.organization);
    let home = home.ok_or_else(|| Failure::new("the administrator works nowhere"))?;
    exchange.create_organization(set_up, facts(home)?).await.map_err(failed)?;
    let enrolled = exchange.create_account(set_up, account_of(first)?).await.map_err(failed)?;
    let seconds = SystemClock.now().millis() / 1000;
    let code = totp::code(enrolled.totp_secret.expose(), seconds as u64);
    let signed_in = exchange
        .sign_in(enrolled.id.as_str(), &enrolled.password, &code.unwrap_or_default(), None)
        .await
        .map_err(failed)?;
    people.credentials.push(credential(first, enrolled)?);
    let ask = &Ask::new(signed_in.caller);
    for organization in &community.organizations {
        exchange.create_organization(ask, facts(organization)?).await.map_err(failed)?;
        for interface in &organization.interfaces {
            let identity = authority.system(interface.principal.as_str())?;
            let account = NewAccount {
                id: interface.principal.clone(),
                display_name: format!(
                    "{} {}",
                    organization.application,
                    interface.channel.as_str()
                ),
                organization: organization.id.clone(),
                role: Role::System,
                npi: None,
                certificate: Some(identity.fingerprint),
                patient: None,
            };
            exchange.create_account(ask, account).await.map_err(failed)?;
            people.systems.insert(interface.principal.clone(), identity);
        }
    }
    for member in community.staff.iter().filter(|member| member.login != first.login) {
        let enrolled = exchange.create_account(ask, account_of(member)?).await.map_err(failed)?;
        people.credentials.push(credential(member, enrolled)?);
    }
    exchange.sign_out(signed_in.token.expose()).await.map_err(failed)?;
    Ok(people)
}

fn role_of(member: &Member) -> Result<Role, Failure> {
    let name = member.role.as_str();
    Role::from_name(name).ok_or_else(|| Failure::new(format!("no role is called {name}")))
}

fn account_of(member: &Member) -> Result<NewAccount, Failure> {
    Ok(NewAccount {
        id: member.login.clone(),
        display_name: member.display(),
        organization: member.organization.clone(),
        role: role_of(member)?,
        npi: member.npi.clone(),
        certificate: None,
        patient: None,
    })
}

fn credential(member: &Member, enrolled: Enrollment) -> Result<Credential, Failure> {
    Ok(Credential {
        user: enrolled.id.to_string(),
        name: member.display(),
        organization: member.organization.to_string(),
        role: role_of(member)?.as_str().to_owned(),
        password: enrolled.password.into_exposed(),
        totp_secret: enrolled.totp_secret.into_exposed(),
    })
}

/// Writes each system's certificate and key as `NAME.pem`, key first.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_certificates(folder: &Path, people: &People) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|e| Failure::io("create", folder, &e))?;
    for (principal, identity) in &people.systems {
        let pem = format!("{}{}", identity.key_pem.expose(), identity.certificate_pem);
        crate::client::write_private(&folder.join(format!("{principal}.pem")), pem.as_bytes())?;
    }
    Ok(())
}

fn facts(organization: &Organization) -> Result<NewOrganization, Failure> {
    serde_json::from_value(organization.settings())
        .map_err(|error| Failure::new(format!("{}: {error}", organization.slug)))
}

/// Registers honey patients at every organization where people are treated, through
/// its own door, and marks them as such through the operator's.
///
/// # Errors
/// When a door refuses.
pub async fn plant_honey(
    dir: &Path,
    config: &Config,
    community: &Community,
    people: &People,
    watcher: &Client,
) -> Result<(), Failure> {
    for organization in &community.organizations {
        if matches!(organization.kind, Kind::Laboratory | Kind::Transcription) {
            continue;
        }
        let identity =
            organization.interfaces.first().and_then(|i| people.systems.get(&i.principal));
        let Some(identity) = identity else { continue };
        let sender = Client::of_system(dir, config, identity)?;
        for number in 0..HONEY.len() {
            let body = serde_json::to_vec(&honey(organization, number))
                .map_err(|error| Failure::new(error.to_string()))?;
            let path = format!("/intake/{}", organization.slug);
            let answer =
                sender.post(&path, "application/fhir+json", body).await?.accepted()?.json()?;
            let id = &answer["admissions"][0]["written"][0]["id"];
            let mark = serde_json::json!({"organization": organization.slug, "patient": id});
            watcher.post_json("/ops/honey", &mark).await?.accepted()?;
        }
    }
    Ok(())
}

/// A registration like any other. The same person at several organizations would be
/// one honey record more than once: each has its own.
fn honey(organization: &Organization, number: usize) -> serde_json::Value {
    let (given, family, gender) = HONEY[number];
    let slug_sum: usize = organization.slug.bytes().map(usize::from).sum();
    let day = 1 + (slug_sum + number * 11) % 28;
    let year = 1941 + (slug_sum * 7 + number * 13) % 55;
    serde_json::json!({
        "resourceType": "Patient",
        "active": true,
        "identifier": [{
            "type": {"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR",
            }]},
            "system": organization.mrn_system(),
            "value": format!("R-{}", 40_417 + slug_sum + number * 7),
        }],
        "name": [{"use": "official", "family": family, "given": [given]}],
        "gender": gender,
        "birthDate": format!("{year}-{:02}-{day:02}", 1 + slug_sum % 12),
        "address": [{
            "use": "home", "line": [format!("{} Larkspur Court", 100 + slug_sum % 800)],
            "city": organization.city, "state": organization.state,
            "postalCode": organization.zip, "country": "US",
        }],
    })
}
