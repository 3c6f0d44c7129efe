//! Persons as they are in truth: who they are, where they live, what ails them.

use jiff::civil::Date;

use crate::clinical::{CONDITIONS, Condition};
use crate::dice::Dice;
use crate::pools::{
    FAMILIES, Given, MEN, Origin, PLACES, STREETS, SUFFIXES, WOMEN, chosen_by, origin_of,
};

/// Administrative sex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sex {
    Female,
    Male,
}

impl Sex {
    /// HL7 table 0001.
    pub(crate) fn code(self) -> &'static str {
        if self == Self::Female { "F" } else { "M" }
    }

    /// FHIR administrative-gender; also the word a dictating physician uses.
    pub(crate) fn word(self) -> &'static str {
        if self == Self::Female { "female" } else { "male" }
    }
}

/// A postal address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) number: u32,
    pub(crate) street: &'static str,
    pub(crate) suffix: (&'static str, &'static str),
    pub(crate) unit: Option<String>,
    pub(crate) city: &'static str,
    pub(crate) state: &'static str,
    pub(crate) zip: &'static str,
    pub(crate) area: &'static str,
}

impl Address {
    fn drawn(dice: &mut Dice, place: usize) -> Self {
        let (city, state, zip, area, _) = PLACES[place];
        Self {
            number: dice.between(101, 9899) as u32,
            street: STREETS[dice.below(STREETS.len())],
            suffix: *dice.pick(SUFFIXES),
            unit: dice.chance(14).then(|| format!("Apt {}", dice.between(1, 48))),
            city,
            state,
            zip,
            area,
        }
    }

    /// The street line, with the suffix in full or abbreviated.
    pub(crate) fn line(&self, abbreviated: bool) -> String {
        let suffix = if abbreviated { self.suffix.1 } else { self.suffix.0 };
        format!("{} {} {suffix}", self.number, self.street)
    }
}

/// A person, in truth.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) number: u32,
    pub(crate) sex: Sex,
    pub(crate) given: &'static str,
    pub(crate) short_forms: &'static [&'static str],
    pub(crate) middle: &'static str,
    pub(crate) family: String,
    pub(crate) maiden: Option<String>,
    pub(crate) birth: Date,
    pub(crate) ssn: String,
    pub(crate) home: Address,
    pub(crate) former_home: Option<Address>,
    pub(crate) phone: String,
    pub(crate) mobile: Option<String>,
    pub(crate) email: Option<String>,
    /// CDC race and ethnicity code and its text.
    pub(crate) race: (&'static str, &'static str),
    pub(crate) hispanic: bool,
    pub(crate) conditions: Vec<&'static Condition>,
    pub(crate) allergy: Option<&'static crate::clinical::Allergy>,
    pub(crate) smoker: bool,
    pub(crate) height_cm: f64,
    pub(crate) weight_kg: f64,
    /// Emergency contact: name and relationship (HL7 table 0063).
    pub(crate) contact: (String, &'static str, &'static str),
}

impl Person {
    /// Whole years of age on `day`.
    pub(crate) fn age_on(&self, day: Date) -> i64 {
        let years = i64::from(day.year()) - i64::from(self.birth.year());
        let before = (day.month(), day.day()) < (self.birth.month(), self.birth.day());
        years - i64::from(before)
    }

    /// Whether the person has the condition with this ICD-10-CM code.
    pub(crate) fn has(&self, icd10: &str) -> bool {
        self.conditions.iter().any(|condition| condition.icd10 == icd10)
    }
}

/// What the members of a household share.
struct Household {
    family: &'static str,
    home: Address,
    former_home: Option<Address>,
    phone: String,
    race: (&'static str, &'static str),
    hispanic: bool,
}

/// CDC race codes.
const RACES: [(&str, &str); 4] = [
    ("2106-3", "White"),
    ("2054-5", "Black or African American"),
    ("2028-9", "Asian"),
    ("2131-1", "Other Race"),
];

/// Number of persons that one stream of choices is drawn for. Bounds a
/// household's size.
const BLOCK: u32 = 10;

/// The first `count` persons under `seed`, in households. The persons of a
/// smaller community are the first of a larger one, because persons are drawn in
/// blocks of ten that do not lean on each other.
pub(crate) fn persons(count: u32, seed: u64, start: Date) -> Vec<Person> {
    let mut persons = Vec::with_capacity(count as usize + BLOCK as usize);
    for block in 0..count.div_ceil(BLOCK) {
        let mut dice = Dice::new(seed, 0x1000_0000 + u64::from(block));
        let end = (block + 1) * BLOCK;
        while (persons.len() as u32) < end {
            let room = end - persons.len() as u32;
            household(&mut dice, room, start, &mut persons);
        }
    }
    persons.truncate(count as usize);
    persons
}

fn household(dice: &mut Dice, room: u32, start: Date, persons: &mut Vec<Person>) {
    let weights: Vec<u32> = PLACES.iter().map(|place| place.4).collect();
    let home_place = dice.weighted(&weights);
    let former_place = dice.weighted(&weights);
    let family = FAMILIES[dice.below(FAMILIES.len())];
    let race = match origin_of(family) {
        Origin::General => RACES[0],
        Origin::AfricanAmerican => RACES[1],
        Origin::Asian => RACES[2],
        Origin::Hispanic => RACES[[0, 3][dice.below(2)]],
    };
    let home = Address::drawn(dice, home_place);
    let shared = Household {
        family,
        former_home: dice.chance(30).then(|| Address::drawn(dice, former_place)),
        phone: phone(dice, home.area, persons.len() as u32),
        home,
        race,
        hispanic: origin_of(family) == Origin::Hispanic,
    };
    let size = (dice.weighted(&[46, 26, 12, 10, 6]) as u32 + 1).min(room);
    let base_age = dice.between(24, 84);
    let adults = if size == 1 { 1 } else { 2.min(size) };
    let twins = size >= 4 && dice.chance(40);
    let mut child_birth: Option<Date> = None;
    for place in 0..size {
        let sex = if place < adults && adults == 2 {
            if place == 0 { Sex::Female } else { Sex::Male }
        } else if dice.chance(52) {
            Sex::Female
        } else {
            Sex::Male
        };
        let birth = if place < adults {
            let age = base_age + dice.between(-4, 4);
            birth_date(dice, start, age)
        } else if let (true, Some(twin)) = (twins, child_birth) {
            twin
        } else {
            let oldest = (base_age - 20).clamp(2, 40);
            let age = dice.between(2, oldest);
            birth_date(dice, start, age)
        };
        if place >= adults {
            child_birth = child_birth.or(Some(birth));
        }
        let taken: Vec<&str> =
            persons.iter().rev().take(place as usize).map(|p: &Person| p.given).collect();
        let person = person(dice, &shared, persons.len() as u32 + 1, sex, birth, start, &taken);
        persons.push(person);
    }
}

fn birth_date(dice: &mut Dice, start: Date, age: i64) -> Date {
    let year = start.year() - age.clamp(2, 98) as i16;
    let day = dice.between(1, 28) as i8;
    Date::new(year, dice.between(1, 12) as i8, day).unwrap_or(start)
}

/// A 555 number that nobody else's number with the same area code equals, as
/// long as there are fewer than two thousand persons.
fn phone(dice: &mut Dice, area: &str, person: u32) -> String {
    let line = 2000 + (person * 2 + dice.below(2) as u32) % 4000;
    format!("{area}-555-{line:04}")
}

fn person(
    dice: &mut Dice,
    shared: &Household,
    number: u32,
    sex: Sex,
    birth: Date,
    start: Date,
    taken: &[&str],
) -> Person {
    let pool: &[Given] = if sex == Sex::Female { WOMEN } else { MEN };
    let origin = origin_of(shared.family);
    let (given, short_forms) = loop {
        let drawn = *dice.pick(pool);
        if !taken.contains(&drawn.0) && chosen_by(drawn.0, origin) {
            break drawn;
        }
    };
    let middle = loop {
        let drawn = dice.pick(pool).0;
        if drawn != given && chosen_by(drawn, origin) {
            break drawn;
        }
    };
    let age = i64::from(start.year() - birth.year());
    let married_name = sex == Sex::Female && age > 24 && dice.chance(60);
    let maiden = married_name.then(|| (*dice.pick(FAMILIES)).to_owned());
    let contact_pool = if dice.chance(50) { WOMEN } else { MEN };
    let contact = format!("{}^{}", shared.family, dice.pick(contact_pool).0);
    let relationship = if age < 18 { ("PAR", "Parent") } else { ("SPO", "Spouse") };
    let digits = dice.between(10, 99);
    let plain: String = format!("{given}.{}", shared.family)
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == '.')
        .collect();
    let host = *dice.pick(&["example.com", "example.org", "example.net"]);
    let email =
        (age >= 16 && dice.chance(70)).then(|| format!("{}{digits}@{host}", plain.to_lowercase()));
    let height_cm = match (age, sex) {
        (..15, _) => 75.0 + 6.0 * age as f64 + dice.bell(0.0, 3.0),
        (_, Sex::Female) => dice.bell(163.0, 6.0),
        (_, Sex::Male) => dice.bell(177.0, 7.0),
    };
    let conditions = conditions(dice, age, sex);
    let obese = conditions.iter().any(|condition| condition.icd10 == "E66.9");
    let body_mass_index = match (age, obese) {
        (..15, _) => dice.bell(17.0, 1.5),
        (_, true) => dice.bell(35.0, 2.2),
        _ => dice.bell(25.5, 2.0),
    };
    Person {
        number,
        sex,
        given,
        short_forms,
        middle,
        family: shared.family.to_owned(),
        maiden,
        birth,
        ssn: social_security_number(number, dice),
        home: shared.home.clone(),
        former_home: shared.former_home.clone(),
        phone: shared.phone.clone(),
        mobile: (age >= 14).then(|| mobile(shared.home.area, number, dice)),
        email,
        race: shared.race,
        hispanic: shared.hispanic,
        conditions,
        allergy: dice.chance(30).then(|| dice.pick(crate::clinical::ALLERGIES)),
        smoker: age >= 18 && dice.chance(16),
        height_cm,
        weight_kg: body_mass_index * (height_cm / 100.0).powi(2),
        contact: (contact, relationship.0, relationship.1),
    }
}

/// As [`phone`], from a range of its own.
fn mobile(area: &str, number: u32, dice: &mut Dice) -> String {
    let line = 6000 + (number * 2 + dice.below(2) as u32) % 4000;
    format!("{area}-555-{line:04}")
}

/// A number that is never issued: area 900 to 999, and groups 01 to 49, which
/// taxpayer identification numbers do not use either. Unique a person.
fn social_security_number(number: u32, dice: &mut Dice) -> String {
    let scrambled = u64::from(number) * 7_919 + 104_729;
    let area = 900 + scrambled % 100;
    let group = 1 + scrambled / 100 % 49;
    let serial = 1 + (u64::from(number) * 3 + dice.below(3) as u64) % 9_999;
    format!("{area}-{group:02}-{serial:04}")
}

fn conditions(dice: &mut Dice, age: i64, sex: Sex) -> Vec<&'static Condition> {
    let mut found: Vec<&'static Condition> = Vec::new();
    for condition in CONDITIONS {
        let in_age = (condition.ages.0..=condition.ages.1).contains(&age);
        let in_sex = condition.sex.is_none_or(|only| only == sex);
        if in_age && in_sex && found.len() < 6 && dice.chance(condition.percent) {
            found.push(condition);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_belong_to_one_person_and_households_share_a_telephone() {
        let persons = persons(1_500, 9, jiff::civil::date(2025, 1, 6));
        let numbers: BTreeSet<_> = persons.iter().map(|person| &person.ssn).collect();
        assert_eq!(numbers.len(), persons.len());
        let mobiles: Vec<_> = persons.iter().filter_map(|person| person.mobile.as_ref()).collect();
        let homes: BTreeSet<_> = persons.iter().map(|person| &person.phone).collect();
        assert_eq!(mobiles.iter().collect::<BTreeSet<_>>().len(), mobiles.len());
        assert!(mobiles.iter().all(|mobile| !homes.contains(*mobile)));
        assert!(homes.len() < persons.len() && homes.len() > persons.len() / 3);
        assert!(persons.iter().all(|person| person.ssn.starts_with('9')));
    }

    #[test]
    fn there_are_twins_with_one_birth_date_and_two_names() {
        let persons = persons(1_500, 9, jiff::civil::date(2025, 1, 6));
        let twins = persons
            .windows(2)
            .filter(|pair| pair[0].phone == pair[1].phone && pair[0].birth == pair[1].birth);
        let mut count = 0;
        for pair in twins {
            assert_ne!(pair[0].given, pair[1].given);
            count += 1;
        }
        assert!(count >= 3, "{count}");
    }
}
