//! Comparing two records field by field: each field comes out at a level, or
//! as missing when either side does not know it.

use crate::features::{Address, BirthDate, Features, Name, Ssn, similarity};

/// A field and its levels, from the strongest agreement to disagreement.
#[derive(Debug)]
pub struct Field {
    /// Name of the field, as it stands in explanations.
    pub name: &'static str,
    /// Names of its levels.
    pub levels: &'static [&'static str],
}

/// Given name.
pub(crate) const GIVEN: usize = 0;
/// Second given name.
pub(crate) const MIDDLE: usize = 1;
/// Birth date.
pub(crate) const BIRTH: usize = 2;
/// Sex.
pub(crate) const SEX: usize = 3;
/// Social security number.
pub(crate) const SSN: usize = 4;
/// Family name, home, phone and area, as one.
pub(crate) const HOUSEHOLD: usize = 5;
/// E-mail.
pub(crate) const EMAIL: usize = 6;
/// Other identifiers.
pub(crate) const IDENTIFIER: usize = 7;

/// How many fields there are.
const FIELDS_COUNT: usize = 8;

/// Every field, in the order of [`Pattern`].
pub const FIELDS: [Field; FIELDS_COUNT] = [
    Field {
        name: "given name",
        levels: &[
            "same, rare",
            "same, common",
            "nickname",
            "similar",
            "initial",
            "second name used",
            "swapped with family name",
            "different",
        ],
    },
    Field { name: "second name", levels: &["same", "initial", "different"] },
    Field {
        name: "birth date",
        levels: &[
            "same",
            "day and month swapped",
            "one digit off",
            "two parts same",
            "year same",
            "different",
        ],
    },
    Field { name: "sex", levels: &["same", "different"] },
    Field {
        name: "social security number",
        levels: &["same", "one digit off", "last four same", "different"],
    },
    Field {
        name: "household",
        levels: &[
            "rare family name, same home",
            "rare family name, same area",
            "rare family name, elsewhere",
            "rare family name",
            "common family name, same home",
            "common family name, same area",
            "common family name, elsewhere",
            "common family name",
            "similar family name, same home",
            "similar family name, same area",
            "similar family name, elsewhere",
            "similar family name",
            "other family name, same home",
            "other family name, same area",
            "other family name, elsewhere",
            "other family name",
        ],
    },
    Field { name: "e-mail", levels: &["same", "different"] },
    Field { name: "identifier", levels: &["same", "different"] },
];

/// The level of each field of [`FIELDS`]; `None` where it is missing.
pub type Pattern = [Option<u8>; FIELDS_COUNT];

/// Compares two records. Symmetric: `pattern(a, b) == pattern(b, a)`.
pub fn pattern(a: &Features, b: &Features) -> Pattern {
    let is_swapped = swapped(a, b);
    let mut out: Pattern = [None; FIELDS_COUNT];
    out[GIVEN] = given(a, b, is_swapped);
    out[MIDDLE] = middle(a, b);
    out[BIRTH] = a.birth.as_ref().zip(b.birth.as_ref()).map(|(a, b)| birth(a, b));
    out[SEX] = a.sex.zip(b.sex).map(|(a, b)| u8::from(a != b));
    out[SSN] = a.ssn.as_ref().zip(b.ssn.as_ref()).and_then(|(a, b)| ssn(a, b));
    out[HOUSEHOLD] = household(a, b, is_swapped);
    out[EMAIL] = shared(&a.emails, &b.emails);
    out[IDENTIFIER] = identifier(a, b);
    out
}

/// 0 when a value is shared, 1 when none is, missing when either side has none.
fn shared<T: PartialEq>(a: &[T], b: &[T]) -> Option<u8> {
    let is_known = !a.is_empty() && !b.is_empty();
    is_known.then(|| u8::from(!a.iter().any(|value| b.contains(value))))
}

fn pairs<'a, T>(a: &'a [T], b: &'a [T]) -> impl Iterator<Item = (&'a T, &'a T)> {
    a.iter().flat_map(move |x| b.iter().map(move |y| (x, y)))
}

fn any_same(a: &[Name], b: &[Name]) -> bool {
    pairs(a, b).any(|(x, y)| !x.is_initial && x.exact == y.exact)
}

/// Whether given and family name stand in each other's place.
fn swapped(a: &Features, b: &Features) -> bool {
    any_same(&a.given, &b.family) && any_same(&a.family, &b.given) && !any_same(&a.given, &b.given)
}

/// Letter pairs in common that make two names similar.
const SIMILAR_NAME: f64 = 0.6;
/// The same for names that sound alike.
const SIMILAR_SOUNDING_NAME: f64 = 0.3;

fn is_similar(a: &Name, b: &Name) -> bool {
    let share = similarity(&a.grams, &b.grams);
    share >= SIMILAR_NAME || (a.sound == b.sound && share >= SIMILAR_SOUNDING_NAME)
}

fn has_root_in_common(a: &Name, b: &Name) -> bool {
    a.roots.iter().any(|root| b.roots.contains(root))
}

fn given(a: &Features, b: &Features, is_swapped: bool) -> Option<u8> {
    if is_swapped {
        return Some(6);
    }
    let one = |x: &Name, y: &Name| -> u8 {
        if x.is_initial || y.is_initial {
            return if x.initial == y.initial { 4 } else { 7 };
        }
        if x.exact == y.exact {
            return u8::from(x.is_common);
        }
        match () {
            () if has_root_in_common(x, y) => 2,
            () if is_similar(x, y) => 3,
            () => 7,
        }
    };
    let best = pairs(&a.given, &b.given).map(|(x, y)| one(x, y)).min()?;
    let crossed = || any_same(&a.given, &b.middle) || any_same(&a.middle, &b.given);
    Some(if best == 7 && crossed() { 5 } else { best })
}

fn middle(a: &Features, b: &Features) -> Option<u8> {
    pairs(&a.middle, &b.middle)
        .map(|(x, y)| match () {
            () if x.is_initial || y.is_initial => 2 - u8::from(x.initial == y.initial),
            () if x.exact == y.exact || has_root_in_common(x, y) || is_similar(x, y) => 0,
            () => 2,
        })
        .min()
}

fn birth(a: &BirthDate, b: &BirthDate) -> u8 {
    let same = |x: Option<crate::Token>, y: Option<crate::Token>| x.is_some() && x == y;
    let is_year = a.year == b.year;
    let (is_month, is_day) = (same(a.month, b.month), same(a.day, b.day));
    let is_swap = same(a.month, b.day) && same(a.day, b.month);
    match () {
        () if is_year && is_month && is_day => 0,
        () if is_year && is_swap => 1,
        () if digits_off(&a.digits, &b.digits) == Some(1) => 2,
        () if u8::from(is_year) + u8::from(is_month) + u8::from(is_day) == 2 => 3,
        () if is_year => 4,
        () => 5,
    }
}

/// How many digits differ; a pair of neighbours counts as one (transposed).
fn digits_off(a: &[u16], b: &[u16]) -> Option<usize> {
    if a.is_empty() || a.len() != b.len() {
        return None;
    }
    let off: Vec<_> = (0..a.len()).filter(|place| a[*place] != b[*place]).collect();
    match off[..] {
        [first, second] if second == first + 1 => Some(1),
        _ => Some(off.len()),
    }
}

fn ssn(a: &Ssn, b: &Ssn) -> Option<u8> {
    Some(match (a.full, b.full) {
        (Some(x), Some(y)) if x == y => 0,
        (Some(_), Some(_)) if digits_off(&a.digits, &b.digits) == Some(1) => 1,
        (Some(_), Some(_)) => 3,
        _ if a.last_four == b.last_four => 2,
        _ => 3,
    })
}

/// Two or more systems may assign to one person; only a value of the same
/// system can differ.
fn identifier(a: &Features, b: &Features) -> Option<u8> {
    let mut comparable =
        pairs(&a.identifiers, &b.identifiers).filter(|(x, y)| x.system == y.system);
    let first = comparable.next()?;
    let is_same = first.0.value == first.1.value || comparable.any(|(x, y)| x.value == y.value);
    Some(u8::from(!is_same))
}

/// How far two homes are apart: 0 same, 1 same area, 2 elsewhere.
fn home(a: &Address, b: &Address) -> Option<u8> {
    let same = |x: Option<crate::Token>, y: Option<crate::Token>| x.zip(y).map(|(x, y)| x == y);
    let is_area = same(a.zip, b.zip).or(same(a.city, b.city));
    let is_street = a.street.is_some() && b.street.is_some() && {
        a.street == b.street || similarity(&a.street_grams, &b.street_grams) >= SIMILAR_NAME
    };
    let is_home = is_street && same(a.number, b.number) == Some(true);
    // Another flat is a neighbour; the same number in a street of the same name
    // of another town is nobody.
    if is_home && same(a.unit, b.unit) != Some(false) && is_area != Some(false) {
        return Some(0);
    }
    is_area.map(|is_area| if is_area { 1 } else { 2 })
}

fn household(a: &Features, b: &Features, is_swapped: bool) -> Option<u8> {
    let family = if is_swapped {
        2
    } else {
        pairs(&a.family, &b.family)
            .map(|(x, y)| match () {
                () if x.exact == y.exact => u8::from(x.is_common),
                () if is_similar(x, y) => 2,
                () => 3,
            })
            .min()?
    };
    let is_phone = shared(&a.phones, &b.phones);
    let place = match is_phone {
        Some(0) => 0,
        _ => pairs(&a.addresses, &b.addresses)
            .filter_map(|(x, y)| home(x, y))
            .min()
            .or(is_phone.map(|_| 2))
            .unwrap_or(3),
    };
    Some(family * 4 + place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_has_a_name() {
        assert_eq!(FIELDS[HOUSEHOLD].levels.len(), 16);
        for field in &FIELDS {
            let unique: std::collections::HashSet<_> = field.levels.iter().collect();
            assert_eq!(unique.len(), field.levels.len(), "{}", field.name);
        }
    }

    #[test]
    fn neighbouring_digits_that_are_swapped_count_once() {
        assert_eq!(digits_off(&[1, 2, 3, 4], &[1, 3, 2, 4]), Some(1));
        assert_eq!(digits_off(&[1, 2, 3, 4], &[4, 2, 3, 1]), Some(2));
        assert_eq!(digits_off(&[1, 2], &[1, 2]), Some(0));
        assert_eq!(digits_off(&[], &[]), None);
        assert_eq!(digits_off(&[1], &[1, 2]), None);
    }
}
