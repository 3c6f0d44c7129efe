//! A layout that is weak on purpose, as products have it: values are sealed, but
//! searched by one token for each value, sizes are as they come, and versions lie
//! in the order of the message. The attack must win against it; otherwise the
//! attack is worth nothing.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::people::{self, Dice, Sender};
use crate::stolen::{Row, Stolen};
use crate::truth::{self, Patient, Resource, Truth};

/// A store in this layout, and the truth about it.
pub fn make(count: usize, seed: u64) -> (Stolen, Truth) {
    let mut dice = Dice::new(seed);
    let people = people::people(count, &mut dice);
    let messages = people::messages(&people, &Sender::default(), &mut dice);
    let (mut stolen, mut truth) = (Stolen::default(), Truth::default());
    let (mut index, mut bodies, mut commits, mut rows) = (vec![], vec![], vec![], vec![]);
    let mut registered = vec![false; people.len()];
    for (t, message) in (1_u64..).zip(&messages) {
        let person = &people[message.person];
        let mut puts = Vec::new();
        for entry in message.bundle["entry"].as_array().into_iter().flatten() {
            let resource = &entry["resource"];
            let kind = resource["resourceType"].as_str().unwrap_or_default();
            if kind == "Patient" && std::mem::replace(&mut registered[message.person], true) {
                continue;
            }
            // Random, like the ids of Holdfast's patients and resources.
            let id = [dice.below(u32::MAX), dice.below(u32::MAX), dice.below(u32::MAX), t as u32];
            let id: Vec<u8> = id.iter().flat_map(|part| part.to_be_bytes()).collect();
            let code = people::code_of(resource);
            let place =
                [&[0, 0, 0, 1][..], &patient_id(seed, message.person), &[0, kind.len() as u8], &id]
                    .concat();
            let key = [&place[..], &(!t).to_be_bytes()].concat();
            let sealed = resource.to_string().len() as u32;
            let searched = token(seed, code.unwrap_or(kind));
            let head = [&[1][..], &1_u64.to_be_bytes(), &[0; 13], &8_u32.to_be_bytes()].concat();
            index.push(Row { key: key.clone(), value: [&head[..], &searched].concat() });
            let head = [&[1][..], &1_u64.to_be_bytes(), &[1, 2], &sealed.to_be_bytes()].concat();
            bodies.push(Row { key, value: [head, vec![0; sealed as usize]].concat() });
            puts.push(place);
            let code = code.map(str::to_owned);
            truth.resources.insert(truth::name(&id), Resource { kind: kind.into(), code });
            if kind == "Patient" {
                let sex = if person.woman { "female" } else { "male" };
                truth.patients.insert(
                    truth::name(&id),
                    Patient {
                        sex: sex.into(),
                        birth_year: person.birth_year,
                        family: person.family.into(),
                        given: person.given.into(),
                        sensitive: person.conditions.iter().any(|condition| condition.sensitive),
                    },
                );
                let year = person.birth_year.to_string();
                let values = [sex, &year, person.family, person.given];
                let tokens: Vec<u8> = values.iter().flat_map(|value| token(seed, value)).collect();
                rows.push(Row {
                    key: [&[3, 0, 0, 0, 1][..], &patient_id(seed, message.person)].concat(),
                    value: [&t.to_be_bytes()[..], &tokens].concat(),
                });
            }
        }
        let head = [&[2][..], &[0; 64], &t.to_be_bytes(), &t.to_be_bytes()].concat();
        let counts = [(puts.len() as u32).to_be_bytes(), 0_u32.to_be_bytes()].concat();
        commits.push(Row {
            key: t.to_be_bytes().to_vec(),
            value: [head, counts, puts.concat()].concat(),
        });
    }
    for (space, mut of) in
        [("index", index), ("bodies", bodies), ("commits", commits), ("rows", rows)]
    {
        of.sort_by(|a, b| a.key.cmp(&b.key));
        stolen.rows.insert(space, of);
    }
    (stolen, truth)
}

fn patient_id(seed: u64, person: usize) -> [u8; 16] {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (seed, person, salt).hash(&mut hasher);
        hasher.finish().to_be_bytes()
    };
    let mut id = [0; 16];
    id[..8].copy_from_slice(&half(0));
    id[8..].copy_from_slice(&half(1));
    id
}

/// Stands for a keyed token of a value: the same for the same value, and another
/// in every store. It guards nothing here.
fn token(seed: u64, value: &str) -> [u8; 8] {
    let mut hasher = DefaultHasher::new();
    (seed, value).hash(&mut hasher);
    hasher.finish().to_be_bytes()
}
