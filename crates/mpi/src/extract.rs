//! From a FHIR R4 Patient to features. Tolerant: what is missing, malformed or
//! a placeholder is left out.

use serde_json::Value;

use crate::features::{Address, BirthDate, Features, Identifier, Name, Ssn, Token, Tokens};
use crate::{names, normalise};

/// Most values of a kind that are looked at; a record with more is no person's.
const VALUES_MAX: usize = 8;
/// Most identifiers that are looked at.
const IDENTIFIERS_MAX: usize = 16;
/// Most letters of a name or street that count.
const LETTERS_MAX: usize = 40;

const SSN_SYSTEMS: &[&str] = &["http://hl7.org/fhir/sid/us-ssn", "urn:oid:2.16.840.1.113883.4.1"];

/// Types of identifier (HL7 table 0203) that families share or that name a
/// visit: insurance member and subscriber, account, visit.
const SHARED_TYPES: &[&str] = &["MB", "SN", "PN", "AN", "VN"];

/// The features of a Patient resource, under the given tokens.
///
/// Labels of tokens are `name`, `root`, `sound`, `initial`, `gram`, `part`,
/// `year`, `digit`, `sex`, `ssn`, `ssn4`, `phone`, `email`, `number`, `street`,
/// `unit`, `city`, `zip`, `state`, `generation`, `system` and `identifier`; given
/// and family names share theirs, so that swapped names are seen.
pub fn features(patient: &Value, tokens: &dyn Tokens) -> Features {
    let mut out = Features::default();
    let maker = Maker { tokens };
    for name in list(patient, "name").take(VALUES_MAX) {
        maker.name(name, &mut out);
    }
    out.birth = text(patient, "birthDate").and_then(|date| maker.birth(date));
    out.sex = text(patient, "gender")
        .filter(|gender| ["male", "female"].contains(gender))
        .map(|gender| tokens.token("sex", gender));
    for telecom in list(patient, "telecom").take(VALUES_MAX) {
        let Some(value) = text(telecom, "value") else { continue };
        let system = text(telecom, "system").unwrap_or_default();
        if system == "email" || value.contains('@') {
            let email = value.trim().trim_start_matches("mailto:").to_lowercase();
            push_new(&mut out.emails, tokens.token("email", &email));
        } else if let Some(number) = normalise::phone(value) {
            push_new(&mut out.phones, tokens.token("phone", &number));
        }
    }
    for address in list(patient, "address").take(VALUES_MAX) {
        out.addresses.extend(maker.address(address));
    }
    for identifier in list(patient, "identifier").take(IDENTIFIERS_MAX) {
        maker.identifier(identifier, &mut out);
    }
    out
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
}

fn push_new<T: PartialEq>(values: &mut Vec<T>, value: T) {
    if !values.contains(&value) && values.len() < VALUES_MAX {
        values.push(value);
    }
}

/// Two bytes of a token: enough for similarity, too few to look a value up.
fn short(token: Token) -> u16 {
    u16::from_be_bytes([token[0], token[1]])
}

struct Maker<'a> {
    tokens: &'a dyn Tokens,
}

impl Maker<'_> {
    fn name(&self, name: &Value, out: &mut Features) {
        let mut family = normalise::plain(text(name, "family").unwrap_or_default());
        let mut given: Vec<String> = list(name, "given")
            .filter_map(Value::as_str)
            .map(normalise::plain)
            .filter(|name| !name.is_empty())
            .collect();
        if family.is_empty() && given.is_empty() {
            // Only the text: the last word is the family name.
            let words = normalise::plain(text(name, "text").unwrap_or_default());
            let mut words: Vec<_> = words.split(' ').map(String::from).collect();
            while words.last().is_some_and(|word| names::generation(word).is_some()) {
                self.generation(words.pop().as_deref(), out);
            }
            family = words.pop().unwrap_or_default();
            given = words;
        }
        for suffix in list(name, "suffix").filter_map(Value::as_str) {
            self.generation(Some(&normalise::plain(suffix)), out);
        }
        while let Some((rest, last)) = family.rsplit_once(' ') {
            if names::generation(last).is_none() {
                break;
            }
            self.generation(Some(last), out);
            family = rest.to_owned();
        }
        // "Mary Jane" in one field is a first and a second name; "Baby Boy" or
        // "Daughter of" is none at all.
        if given.first().is_some_and(|name| name.split(' ').any(names::is_no_name)) {
            given.clear();
        }
        let mut given = given.iter().flat_map(|name| name.split(' '));
        if let Some(first) = given.next() {
            push_new(&mut out.given, self.part(first, names::is_common_given(first)));
        }
        for second in given {
            if names::generation(second).is_some() {
                self.generation(Some(second), out);
            } else {
                push_new(&mut out.middle, self.part(second, names::is_common_given(second)));
            }
        }
        if !family.is_empty() {
            let whole = family.replace(' ', "");
            push_new(&mut out.family, self.part(&whole, names::is_common_family(&whole)));
            let parts: Vec<_> = family.split(' ').filter(|part| part.len() > 3).collect();
            if parts.len() > 1 {
                for part in parts {
                    push_new(&mut out.family, self.part(part, names::is_common_family(part)));
                }
            }
        }
    }

    fn generation(&self, word: Option<&str>, out: &mut Features) {
        if let Some(generation) = word.and_then(names::generation) {
            out.generation = Some(self.tokens.token("generation", generation));
        }
    }

    fn part(&self, name: &str, is_common: bool) -> Name {
        let name: String = name.chars().take(LETTERS_MAX).collect();
        let initial: String = name.chars().take(1).collect();
        let mut roots: Vec<_> =
            names::roots(&name).iter().map(|root| self.tokens.token("root", root)).collect();
        roots.sort_unstable();
        roots.dedup();
        Name {
            exact: self.tokens.token("name", &name),
            roots,
            sound: self.tokens.token("sound", &normalise::sound(&name)),
            initial: self.tokens.token("initial", &initial),
            is_initial: name.chars().count() == 1,
            is_common,
            grams: self.grams(&name),
        }
    }

    /// Letter pairs with both ends marked.
    fn grams(&self, text: &str) -> Vec<u16> {
        let letters: Vec<char> =
            std::iter::once('^').chain(text.chars().take(LETTERS_MAX)).chain(['$']).collect();
        let pairs = letters.windows(2).map(|pair| pair.iter().collect::<String>());
        let mut grams: Vec<_> = pairs.map(|pair| short(self.tokens.token("gram", &pair))).collect();
        grams.sort_unstable();
        grams
    }

    fn digits(&self, digits: &str) -> Vec<u16> {
        digits
            .char_indices()
            .map(|(place, digit)| short(self.tokens.token("digit", &format!("{place}{digit}"))))
            .collect()
    }

    /// A FHIR date: `YYYY`, `YYYY-MM` or `YYYY-MM-DD`. A day that no month has
    /// is kept: it is often a swap.
    fn birth(&self, date: &str) -> Option<BirthDate> {
        let date = date.split('T').next().unwrap_or_default();
        let mut parts = date.split('-').map(str::trim);
        let is_digits =
            |part: &str, len| part.len() == len && part.bytes().all(|b| b.is_ascii_digit());
        let year = parts.next().filter(|year| is_digits(year, 4))?;
        let month = parts.next().filter(|month| is_digits(month, 2));
        let day = parts.next().filter(|day| is_digits(day, 2));
        if ["0000", "9999"].contains(&year) || date == "1900-01-01" || date == "1800-01-01" {
            return None;
        }
        let digits = match (month, day) {
            (Some(month), Some(day)) => self.digits(&format!("{year}{month}{day}")),
            _ => Vec::new(),
        };
        Some(BirthDate {
            year: self.tokens.token("year", year),
            month: month.map(|month| self.tokens.token("part", month)),
            day: day.map(|day| self.tokens.token("part", day)),
            is_new_year: (month, day) == (Some("01"), Some("01")),
            digits,
        })
    }

    fn address(&self, address: &Value) -> Option<Address> {
        let mut line = String::new();
        for part in list(address, "line").filter_map(Value::as_str) {
            line.push_str(part);
            line.push(' ');
        }
        let line = normalise::plain(&line);
        let mut words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let unit = words
            .iter()
            .position(|word| ["apt", "apartment", "unit", "suite", "ste", "flat"].contains(word))
            .filter(|place| *place > 0)
            .map(|place| words.split_off(place)[1..].concat())
            .filter(|unit| !unit.is_empty());
        let number = words
            .iter()
            .position(|word| word.starts_with(|c: char| c.is_ascii_digit()))
            .filter(|place| *place == 0 || words[..*place].iter().all(|word| word.len() <= 3))
            .map(|place| words.remove(place));
        let street = normalise::street(&words.join(" "));
        let token =
            |label: &str, value: &str| (!value.is_empty()).then(|| self.tokens.token(label, value));
        let plain = |key: &str| normalise::plain(text(address, key).unwrap_or_default());
        let zip: String = plain("postalCode").chars().filter(|c| *c != ' ').take(5).collect();
        let out = Address {
            number: number.and_then(|number| token("number", number)),
            street: token("street", &street),
            street_grams: if street.is_empty() { Vec::new() } else { self.grams(&street) },
            unit: unit.and_then(|unit| token("unit", &unit)),
            city: token("city", &plain("city")),
            zip: token("zip", &zip),
            state: token("state", &plain("state")),
        };
        let is_known = out.street.is_some() || out.zip.is_some() || out.city.is_some();
        is_known.then_some(out)
    }

    fn identifier(&self, identifier: &Value, out: &mut Features) {
        let Some(value) = text(identifier, "value") else { return };
        let system = text(identifier, "system").unwrap_or_default();
        let kind = identifier.get("type").unwrap_or(&Value::Null);
        let codes: Vec<_> = list(kind, "coding").filter_map(|code| text(code, "code")).collect();
        if codes.iter().any(|code| SHARED_TYPES.contains(code)) {
            return;
        }
        if SSN_SYSTEMS.contains(&system) || codes.contains(&"SS") {
            if out.ssn.as_ref().is_none_or(|known| known.full.is_none()) {
                out.ssn = self.ssn(value).or(out.ssn.take());
            }
            return;
        }
        // Without a system, a value says nothing about who assigned it.
        let value = normalise::plain(value).replace(' ', "");
        if system.is_empty() || value.is_empty() {
            return;
        }
        push_new(
            &mut out.identifiers,
            Identifier {
                value: self.tokens.token("identifier", &format!("{system}|{value}")),
                system: self.tokens.token("system", system),
            },
        );
    }

    /// The whole number, or its last four digits when the rest is masked.
    fn ssn(&self, value: &str) -> Option<Ssn> {
        let digits = normalise::digits(value);
        if let Some(full) = normalise::ssn(&digits) {
            return Some(Ssn {
                full: Some(self.tokens.token("ssn", full)),
                last_four: self.tokens.token("ssn4", &full[5..]),
                digits: self.digits(full),
            });
        }
        let is_last_four = digits.len() == 4 && digits != "0000" && digits != "9999";
        is_last_four.then(|| Ssn {
            full: None,
            last_four: self.tokens.token("ssn4", &digits),
            digits: Vec::new(),
        })
    }
}
