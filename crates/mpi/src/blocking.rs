//! Which records are worth comparing: records that share a blocking key.

use crate::features::{Features, Name, Token};

/// Joins tokens under a label into one key (FNV-1a, 64 bits, with a final
/// mix). The tokens are keyed already; this only has to spread.
fn join(label: u8, tokens: &[&Token]) -> Token {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in std::iter::once(&label).chain(tokens.iter().flat_map(|token| token.iter())) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash ^ (hash >> 29)).to_be_bytes()
}

/// Two tokens in an order that does not depend on which side they stand:
/// swapped names and swapped dates block alike.
fn sorted<'a>(a: &'a Token, b: &'a Token) -> [&'a Token; 2] {
    if a <= b { [a, b] } else { [b, a] }
}

/// The keys of a record. Two records that share none are never compared.
///
/// Keys join several weak fields, so that each keeps few records together, and
/// overlap, so that an error in any one field leaves others.
pub fn blocking_keys(features: &Features) -> Vec<Token> {
    let mut keys = Vec::new();
    let full = |names: &[Name]| names.iter().filter(|n| !n.is_initial).cloned().collect::<Vec<_>>();
    let (given, family) = (full(&features.given), full(&features.family));
    let birth = features.birth.as_ref();
    let day = birth.and_then(|b| Some((b.month.as_ref()?, b.day.as_ref()?)));
    let zips: Vec<_> = features.addresses.iter().filter_map(|a| a.zip.as_ref()).collect();

    // Theirs alone.
    if let Some(ssn) = &features.ssn {
        keys.extend(ssn.full.as_ref().map(|full| join(1, &[full])));
        for name in given.iter().chain(&family) {
            keys.push(join(2, &[&ssn.last_four, &name.sound]));
            keys.extend(name.roots.iter().map(|root| join(17, &[&ssn.last_four, root])));
        }
        keys.extend(birth.map(|b| join(3, &[&ssn.last_four, &b.year])));
    }
    keys.extend(features.identifiers.iter().map(|id| join(4, &[&id.value])));
    keys.extend(features.emails.iter().map(|email| join(5, &[email])));

    // Birth date with part of a name, or with where they live.
    if let (Some(birth), Some((month, day))) = (birth, day) {
        let [x, y] = sorted(month, day);
        for name in given.iter().chain(&family) {
            keys.push(join(6, &[&birth.year, x, y, &name.initial]));
            keys.push(join(7, &[x, y, &name.sound]));
        }
        keys.extend(zips.iter().map(|zip| join(8, &[&birth.year, x, y, zip])));
        for phone in &features.phones {
            keys.push(join(9, &[x, y, phone]));
        }
    }
    // Names together, with a year or a place.
    for g in &given {
        for f in &family {
            let [x, y] = sorted(&g.sound, &f.sound);
            keys.extend(birth.map(|b| join(10, &[x, y, &b.year])));
            keys.extend(zips.iter().map(|zip| join(11, &[x, y, zip])));
            if birth.is_none() || birth.is_some_and(|b| b.is_new_year) || zips.is_empty() {
                keys.push(join(12, &[x, y]));
            }
        }
        if let Some(birth) = birth {
            for root in &g.roots {
                keys.extend(birth.month.iter().map(|m| join(13, &[root, &birth.year, m])));
                keys.extend(birth.day.iter().map(|d| join(14, &[root, &birth.year, d])));
            }
        }
        keys.extend(features.phones.iter().map(|phone| join(15, &[phone, &g.initial])));
        for home in &features.addresses {
            if let (Some(number), Some(street)) = (&home.number, &home.street) {
                keys.push(join(16, &[number, street, &g.initial]));
            }
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}
