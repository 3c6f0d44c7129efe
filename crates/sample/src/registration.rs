//! A person as one organization has registered them: another record number, and
//! the small differences that make matching hard.

use jiff::civil::Date;

use crate::community::{Kind, Organization};
use crate::dice::Dice;
use crate::person::{Address, Person};

/// How a registration differs from the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variation {
    /// A short form stands for the given name.
    Nickname,
    /// The middle name is an initial.
    MiddleInitial,
    /// The middle name is missing.
    MiddleMissing,
    /// The family name before marriage.
    MaidenName,
    /// A letter of the family name is wrong.
    FamilyTypo,
    /// A letter of the given name is wrong.
    GivenTypo,
    /// Day and month of the birth date changed places.
    BirthSwapped,
    /// The year of birth is off by one.
    BirthYear,
    /// An address that the person has left.
    FormerAddress,
    /// No social security number.
    SsnMissing,
    /// Two neighbouring digits of the social security number changed places.
    SsnTypo,
    /// The mobile number stands as the home number.
    PhoneDiffers,
}

impl Variation {
    /// The name in the truth table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nickname => "nickname",
            Self::MiddleInitial => "middle-initial",
            Self::MiddleMissing => "middle-missing",
            Self::MaidenName => "maiden-name",
            Self::FamilyTypo => "family-typo",
            Self::GivenTypo => "given-typo",
            Self::BirthSwapped => "birth-swapped",
            Self::BirthYear => "birth-year",
            Self::FormerAddress => "former-address",
            Self::SsnMissing => "ssn-missing",
            Self::SsnTypo => "ssn-typo",
            Self::PhoneDiffers => "phone-differs",
        }
    }
}

/// What one organization holds about a person, as its system writes it.
#[derive(Debug, Clone)]
pub(crate) struct Registration<'a> {
    pub(crate) organization: &'a Organization,
    pub(crate) person: &'a Person,
    pub(crate) mrn: String,
    pub(crate) given: String,
    pub(crate) middle: String,
    pub(crate) family: String,
    pub(crate) birth: Date,
    pub(crate) ssn: Option<String>,
    pub(crate) street: String,
    pub(crate) address: Address,
    pub(crate) phone: String,
    pub(crate) mobile: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) variations: Vec<Variation>,
}

impl Registration<'_> {
    /// The family name and address that the desk learns at a later visit: the
    /// update that an A08 carries. Tells whether anything changed.
    pub(crate) fn corrected(&mut self) -> bool {
        let before = self.variations.len();
        let learnt = [Variation::FormerAddress, Variation::MaidenName, Variation::PhoneDiffers];
        self.variations.retain(|variation| !learnt.contains(variation));
        let family = if self.variations.contains(&Variation::FamilyTypo) {
            self.family.clone()
        } else {
            self.person.family.clone()
        };
        self.family = self.cased(&family);
        self.address = self.person.home.clone();
        self.street = self.cased(&self.address.line(abbreviates(self.organization.kind)));
        self.phone.clone_from(&self.person.phone);
        self.variations.len() != before
    }

    fn cased(&self, text: &str) -> String {
        if shouts(self.organization.kind) { text.to_uppercase() } else { text.to_owned() }
    }

    /// The name as people say it.
    pub(crate) fn full_name(&self) -> String {
        format!("{} {}", self.given, self.family)
    }

    /// City, in the case that the organization's system writes.
    pub(crate) fn city(&self) -> String {
        self.cased(self.address.city)
    }
}

/// Old systems that write everything in capitals.
fn shouts(kind: Kind) -> bool {
    matches!(kind, Kind::Laboratory | Kind::Transcription)
}

fn abbreviates(kind: Kind) -> bool {
    !matches!(kind, Kind::Practice)
}

/// The record number of a person at the organization at `place` of the
/// community; `again` is the number of a second registration of the same person.
/// One to one below 400,000 persons, and without visible order.
pub(crate) fn record_number(place: usize, person: u32, again: bool) -> String {
    const MODULUS: u64 = 899_981;
    let ordinal = u64::from(person) * 2 + u64::from(again);
    let number = 100_000 + (ordinal * 370_261 + place as u64 * 77_003) % MODULUS;
    let prefix = ["L", "CH", "SN", "", "W", "Q", "E"].get(place).copied().unwrap_or("X");
    format!("{prefix}{number}")
}

/// Registers `person` at `organization`. `again` makes the duplicate that a later
/// merge retires.
pub(crate) fn register<'a>(
    person: &'a Person,
    organization: &'a Organization,
    place: usize,
    again: bool,
    dice: &mut Dice,
) -> Registration<'a> {
    let mut variations = Vec::new();
    let mut happens = |percent: u32, variation: Variation, dice: &mut Dice| {
        let happens = dice.chance(percent);
        if happens {
            variations.push(variation);
        }
        happens
    };

    let mut given = person.given.to_owned();
    if !person.short_forms.is_empty() && happens(14, Variation::Nickname, dice) {
        given = (*dice.pick(person.short_forms)).to_owned();
    } else if happens(2, Variation::GivenTypo, dice) {
        given = typo(&given, dice);
    }
    let mut family = person.family.clone();
    if let (Some(maiden), true) = (&person.maiden, person.maiden.is_some() && dice.chance(8)) {
        happens(100, Variation::MaidenName, dice);
        family.clone_from(maiden);
    } else if happens(3, Variation::FamilyTypo, dice) {
        family = typo(&family, dice);
    }
    let middle = if happens(35, Variation::MiddleMissing, dice) {
        String::new()
    } else if happens(45, Variation::MiddleInitial, dice) {
        person.middle.chars().take(1).collect()
    } else {
        person.middle.to_owned()
    };
    let mut birth = person.birth;
    let swapped = Date::new(birth.year(), birth.day().min(12), birth.month());
    let swappable = birth.day() <= 12 && birth.day() != birth.month();
    if let (true, Ok(swapped), true) = (swappable, swapped, dice.chance(4)) {
        happens(100, Variation::BirthSwapped, dice);
        birth = swapped;
    } else if happens(1, Variation::BirthYear, dice) {
        birth = Date::new(birth.year() - 1, birth.month(), birth.day()).unwrap_or(birth);
    }
    let without = if organization.kind == Kind::Transcription { 90 } else { 42 };
    let ssn = if happens(without, Variation::SsnMissing, dice) {
        None
    } else if happens(2, Variation::SsnTypo, dice) {
        Some(swap_last_digits(&person.ssn))
    } else {
        Some(person.ssn.clone())
    };
    let address = match &person.former_home {
        Some(former) if happens(35, Variation::FormerAddress, dice) => former.clone(),
        _ => person.home.clone(),
    };
    let phone = match &person.mobile {
        Some(mobile) if happens(20, Variation::PhoneDiffers, dice) => mobile.clone(),
        _ => person.phone.clone(),
    };
    let cased =
        |text: &str| if shouts(organization.kind) { text.to_uppercase() } else { text.to_owned() };
    Registration {
        organization,
        person,
        mrn: record_number(place, person.number, again),
        given: cased(&given),
        middle: cased(&middle),
        family: cased(&family),
        birth,
        ssn,
        street: cased(&address.line(abbreviates(organization.kind))),
        address,
        mobile: person.mobile.clone().filter(|mobile| *mobile != phone && dice.chance(65)),
        phone,
        email: person.email.clone().filter(|_| !shouts(organization.kind) && dice.chance(75)),
        variations,
    }
}

/// One letter doubled, dropped, or changed places with its neighbour; never the
/// first.
fn typo(text: &str, dice: &mut Dice) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    if letters.len() < 4 {
        return text.to_owned();
    }
    let place = 1 + dice.below(letters.len() - 2);
    match dice.below(3) {
        0 => letters.insert(place, letters[place]),
        1 => drop(letters.remove(place)),
        _ if letters[place] != letters[place + 1] => letters.swap(place, place + 1),
        _ => drop(letters.remove(place)),
    }
    letters.into_iter().collect()
}

/// The serial's last two digits changed places, or the last one off by one when
/// they are the same.
fn swap_last_digits(ssn: &str) -> String {
    let mut digits: Vec<char> = ssn.chars().collect();
    let last = digits.len() - 1;
    if digits[last] == digits[last - 1] {
        digits[last] = if digits[last] == '9' { '8' } else { '9' };
    } else {
        digits.swap(last, last - 1);
    }
    digits.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn record_numbers_are_unique_within_an_organization() {
        let numbers: BTreeSet<_> = (1..20_000)
            .flat_map(|person| [false, true].map(|again| record_number(3, person, again)))
            .collect();
        assert_eq!(numbers.len(), 2 * 19_999);
    }

    #[test]
    fn a_typo_changes_the_name_and_keeps_its_first_letter() {
        let mut dice = Dice::new(1, 1);
        for _ in 0..200 {
            let wrong = typo("Hershberger", &mut dice);
            assert_ne!(wrong, "Hershberger");
            assert!(wrong.starts_with('H'));
        }
        assert_eq!(swap_last_digits("912-04-5531"), "912-04-5513");
        assert_eq!(swap_last_digits("912-04-5533"), "912-04-5539");
    }
}
