//! People drawn from the public tables, and the messages that tell of them: FHIR
//! transaction bundles of visits, HL7 v2 reports of laboratories.

use std::fmt::Write as _;

use holdfast_base::Timestamp;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::prevalence::{
    CONDITIONS, Condition, DECADES, FAMILIES, MEN, Panel, VITALS, VITALS_PERCENT, WOMEN,
};

/// The year in which everything happens.
const YEAR: u16 = 2026;
/// Visits of one person in the time that a store covers.
const VISITS_MAX: u32 = 8;

/// A person.
#[derive(Debug)]
pub struct Person {
    /// Medical record number.
    pub number: String,
    /// Family name.
    pub family: &'static str,
    /// Given name.
    pub given: &'static str,
    /// Whether a woman; the tables know two sexes.
    pub woman: bool,
    /// Year of birth.
    pub birth_year: u16,
    birth_day: (u32, u32),
    social_security: Option<String>,
    /// What they have.
    pub conditions: Vec<&'static Condition>,
}

/// A message about somebody.
#[derive(Debug)]
pub struct Message {
    /// Whom it is about: place among the people.
    pub person: usize,
    /// What it says, as a transaction bundle.
    pub bundle: Value,
    /// The same as an HL7 v2 message, when it is sent as one.
    pub hl7v2: Option<String>,
}

impl Message {
    /// The observations that it tells, in order.
    pub fn results(&self) -> impl Iterator<Item = &Value> {
        let entries = self.bundle["entry"].as_array().into_iter().flatten();
        let resources = entries.map(|entry| &entry["resource"]);
        resources.filter(|resource| resource["resourceType"] == "Observation")
    }
}

/// How the sender of the messages names patients.
#[derive(Debug, Clone)]
pub struct Sender {
    /// System of medical record numbers.
    pub system: String,
    /// The assigning authority of the same in HL7 v2.
    pub facility: String,
}

impl Default for Sender {
    fn default() -> Self {
        Self { system: "urn:oid:2.999.1".into(), facility: "CLINIC".into() }
    }
}

/// Dice from a seed.
#[derive(Debug)]
pub struct Dice(ChaCha20Rng);

impl Dice {
    /// The same seed, the same throws.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(end.max(1))) >> 32) as u32
    }

    /// Whether something of so many in a thousand happens.
    pub fn per_mille(&mut self, share: u32) -> bool {
        self.below(1_000) < share
    }

    fn weighted<T: Copy>(&mut self, table: &[(T, u32)]) -> T {
        let sum = table.iter().map(|(_, weight)| weight).sum();
        let mut left = self.below(sum);
        for (value, weight) in table {
            if left < *weight {
                return *value;
            }
            left -= weight;
        }
        table[0].0
    }

    /// Puts things in any order.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}

/// So many people.
pub fn people(count: usize, dice: &mut Dice) -> Vec<Person> {
    (0..count).map(|place| person(place, dice)).collect()
}

fn person(place: usize, dice: &mut Dice) -> Person {
    let woman = dice.per_mille(508);
    let birth_year = dice.weighted(DECADES) + dice.below(10) as u16;
    let band = match YEAR.saturating_sub(birth_year) {
        0..18 => 0,
        18..40 => 1,
        40..65 => 2,
        _ => 3,
    };
    let mut conditions = Vec::new();
    for condition in CONDITIONS {
        let share = condition.per_mille[band] * condition.percent[usize::from(!woman)] / 100;
        if dice.per_mille(share) {
            conditions.push(condition);
        }
    }
    dice.shuffle(&mut conditions);
    Person {
        number: format!("{:07}", 1_000_000 + place * 7 + dice.below(7) as usize),
        family: dice.weighted(FAMILIES),
        given: dice.weighted(if woman { WOMEN } else { MEN }),
        woman,
        birth_year,
        birth_day: (1 + dice.below(12), 1 + dice.below(28)),
        social_security: dice
            .per_mille(700)
            .then(|| format!("9{:02}-{:02}-{:04}", dice.below(100), dice.below(100), place)),
        conditions,
    }
}

/// Everything that is sent about everybody, in the order in which it is sent:
/// everybody's messages in order, those of different people mixed.
pub fn messages(people: &[Person], sender: &Sender, dice: &mut Dice) -> Vec<Message> {
    let mut lives: Vec<Vec<Said>> =
        people.iter().map(|person| life(person, sender, dice)).collect();
    let mut order: Vec<usize> =
        lives.iter().enumerate().flat_map(|(at, life)| vec![at; life.len()]).collect();
    dice.shuffle(&mut order);
    lives.iter_mut().for_each(|life| life.reverse());
    let next = |person: usize| {
        lives[person].pop().map(|(bundle, hl7v2)| Message { person, bundle, hl7v2 })
    };
    order.into_iter().filter_map(next).collect()
}

/// A message as a bundle, and as an HL7 v2 message.
type Said = (Value, Option<String>);

fn life(person: &Person, sender: &Sender, dice: &mut Dice) -> Vec<Said> {
    let often = 1 + person.conditions.len() as u32 / 2;
    let visits = (1 + dice.below(1 + often)).min(VISITS_MAX);
    let mut messages = Vec::new();
    let mut new: Vec<&Condition> = person.conditions.clone();
    let each = new.len().div_ceil(visits as usize);
    for visit in 0..visits {
        let name = format!("{}-{visit}", person.number);
        let found: Vec<&Condition> = new.drain(..each.min(new.len())).collect();
        let mut bundle = Bundle::of(person, sender);
        bundle.encounter(&name, dice);
        for (vital, share) in VITALS.iter().zip(VITALS_PERCENT) {
            if dice.per_mille(share * 10) {
                bundle.observation(&name, *vital, "vital-signs", dice);
            }
        }
        for condition in &found {
            bundle.condition(condition);
        }
        let mut panels: Vec<Panel> =
            found.iter().flat_map(|condition| condition.panels.iter().copied()).collect();
        for known in &person.conditions {
            if dice.per_mille(250) {
                panels.extend(known.panels);
            }
        }
        if dice.per_mille(250) {
            panels.push(Panel::BloodCount);
        }
        let mut reported: Vec<Panel> = Vec::new();
        for panel in panels {
            if !reported.contains(&panel) {
                reported.push(panel);
            }
        }
        let mut reports = Vec::new();
        for panel in reported {
            // Some results come with the visit, most in a report of their own.
            let mut own = Bundle::of(person, sender);
            let into = if dice.per_mille(300) { &mut bundle } else { &mut own };
            for result in panel.results() {
                into.observation(&name, *result, "laboratory", dice);
            }
            let text = report(person, sender, &name, panel, &own.entries);
            reports.extend((!own.is_empty()).then(|| (own.done(), Some(text))));
        }
        messages.push((bundle.done(), None));
        messages.extend(reports);
    }
    messages
}

/// An unsolicited observation message (HL7 v2.5.1, chapter 7) with the results of
/// these entries.
fn report(
    person: &Person,
    sender: &Sender,
    visit: &str,
    panel: Panel,
    entries: &[Value],
) -> String {
    let order = format!("{visit}-{panel:?}");
    let (month, day) = person.birth_day;
    let mut text = format!(
        "MSH|^~\\&|LAB|{facility}|HF|HF|20250601120000||ORU^R01^ORU_R01|{order}|P|2.5.1\r\
         PID|1||{number}^^^{facility}^MR||{family}^{given}||{year}{month:02}{day:02}|{sex}\r\
         OBR|1|{order}^EHR|{order}^LAB|{panel:?}^{panel:?}^L|||20250601|||||||||||||||20250601||LAB|F\r",
        facility = sender.facility,
        number = person.number,
        family = person.family,
        given = person.given,
        year = person.birth_year,
        sex = if person.woman { "F" } else { "M" },
    );
    for (place, entry) in (1..).zip(entries) {
        let resource = &entry["resource"];
        let coding = &resource["code"]["coding"][0];
        let part = |value: &Value| value.as_str().unwrap_or_default().replace('&', "and");
        let _ = write!(
            text,
            "OBX|{place}|NM|{}^{}^LN||{}|{}^^UCUM|||||F\r",
            part(&coding["code"]),
            part(&coding["display"]).replace(['^', '|'], " "),
            resource["valueQuantity"]["value"],
            part(&resource["valueQuantity"]["code"]),
        );
    }
    text
}

struct Bundle<'a> {
    person: &'a Person,
    sender: &'a Sender,
    entries: Vec<Value>,
}

const PATIENT: &str = "urn:uuid:6f1d1f9e-0d0a-4f6e-8a3a-2f6f6f1d0a01";

impl<'a> Bundle<'a> {
    fn of(person: &'a Person, sender: &'a Sender) -> Self {
        Self { person, sender, entries: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn add(&mut self, resource: Value) {
        let kind = resource["resourceType"].as_str().unwrap_or_default().to_owned();
        let full_url = format!("urn:uuid:6f1d1f9e-0d0a-4f6e-8a3a-{:012x}", self.entries.len() + 2);
        self.entries.push(json!({
            "fullUrl": full_url,
            "resource": resource,
            "request": { "method": "POST", "url": kind },
        }));
    }

    fn encounter(&mut self, name: &str, dice: &mut Dice) {
        let (month, day) = (1 + dice.below(12), 1 + dice.below(28));
        self.add(json!({
            "resourceType": "Encounter",
            "identifier": [{ "system": "https://clinic.example.org/visit", "value": name }],
            "status": "finished",
            "class": { "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB", "display": "ambulatory" },
            "subject": { "reference": PATIENT },
            "period": { "start": format!("2025-{month:02}-{day:02}T09:30:00-05:00") },
        }));
    }

    fn observation(
        &mut self,
        visit: &str,
        (code, display, unit): (&str, &str, &str),
        category: &str,
        dice: &mut Dice,
    ) {
        let value = f64::from(10 + dice.below(1_900)) / 10.0;
        self.add(json!({
            "resourceType": "Observation",
            "identifier": [{ "system": "https://clinic.example.org/result", "value": format!("{visit}-{code}") }],
            "status": "final",
            "category": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": category }] }],
            "code": { "coding": [{ "system": "http://loinc.org", "code": code, "display": display }], "text": display },
            "subject": { "reference": PATIENT },
            "effectiveDateTime": "2025-06-01",
            "valueQuantity": { "value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit },
        }));
    }

    fn condition(&mut self, condition: &Condition) {
        let terminology = "http://terminology.hl7.org/CodeSystem";
        self.add(json!({
            "resourceType": "Condition",
            "identifier": [{ "system": "https://clinic.example.org/problem", "value": format!("{}-{}", self.person.number, condition.code) }],
            "clinicalStatus": { "coding": [{ "system": format!("{terminology}/condition-clinical"), "code": "active" }] },
            "verificationStatus": { "coding": [{ "system": format!("{terminology}/condition-ver-status"), "code": "confirmed" }] },
            "category": [{ "coding": [{ "system": format!("{terminology}/condition-category"), "code": "problem-list-item" }] }],
            "code": { "coding": [{ "system": "http://hl7.org/fhir/sid/icd-10-cm", "code": condition.code, "display": condition.display }], "text": condition.display },
            "subject": { "reference": PATIENT },
        }));
    }

    /// The bundle, with the Patient.
    fn done(mut self) -> Value {
        let person = self.person;
        let mut identifiers = vec![json!({
            "type": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR" }] },
            "system": self.sender.system,
            "value": person.number,
        })];
        if let Some(number) = &person.social_security {
            identifiers.push(json!({
                "type": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "SS" }] },
                "system": "http://hl7.org/fhir/sid/us-ssn",
                "value": number,
            }));
        }
        let (month, day) = person.birth_day;
        let patient = json!({
            "resourceType": "Patient",
            "identifier": identifiers,
            "name": [{ "use": "official", "family": person.family, "given": [person.given] }],
            "gender": if person.woman { "female" } else { "male" },
            "birthDate": format!("{}-{month:02}-{day:02}", person.birth_year),
        });
        self.entries.insert(
            0,
            json!({
                "fullUrl": PATIENT,
                "resource": patient,
                "request": { "method": "POST", "url": "Patient" },
            }),
        );
        json!({ "resourceType": "Bundle", "type": "transaction", "entry": self.entries })
    }
}

/// The code of a resource that the attack is to find.
pub fn code_of(resource: &Value) -> Option<&str> {
    resource.pointer("/code/coding/0/code").and_then(Value::as_str)
}

/// When a victim's clock starts.
pub const STARTS: Timestamp = Timestamp::from_millis(1_767_600_000_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_their_messages_follow_from_the_seed_and_the_tables() {
        let made = |seed| {
            let mut dice = Dice::new(seed);
            let people = people(500, &mut dice);
            let messages = messages(&people, &Sender::default(), &mut dice);
            (people, messages)
        };
        let ((people, messages_made), (_, again)) = (made(1), made(1));
        let text = |messages: &[Message]| -> Vec<String> {
            messages.iter().map(|message| message.bundle.to_string()).collect()
        };
        assert_eq!(text(&messages_made), text(&again));
        assert_ne!(text(&messages_made), text(&made(2).1));
        let having = |code: &str| {
            people.iter().filter(|p| p.conditions.iter().any(|c| c.code == code)).count()
        };
        assert!(having("I10") > 3 * having("I48.91"), "skewed as the table is");
        assert!(messages_made.iter().all(|m| m.bundle["entry"].as_array().is_some()));
        let old = |from: u16, to: u16| {
            let of: Vec<_> = people.iter().filter(|p| (from..to).contains(&p.birth_year)).collect();
            of.iter().map(|p| p.conditions.len()).sum::<usize>() as f64 / of.len() as f64
        };
        assert!(old(1930, 1960) > old(2000, 2020), "age shows in what people have");
    }
}
