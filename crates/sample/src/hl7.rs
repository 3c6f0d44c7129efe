//! Writes HL7 v2.5.1 segments: fields by their number, escapes, time stamps.

use jiff::civil::{Date, DateTime};

use crate::community::{Member, Organization};
use crate::registration::Registration;

/// A message in the making. Segments end with a carriage return (HL7 v2.5.1,
/// chapter 2.5.4).
#[derive(Default)]
pub(crate) struct Message(String);

impl Message {
    /// Adds a segment with these (field number, content) pairs; what is not
    /// named is empty. Content is already escaped.
    pub(crate) fn segment(&mut self, name: &str, fields: &[(usize, String)]) {
        // MSH-1 is the separator itself, so MSH-2 is the first written field.
        let first = if name == "MSH" { 2 } else { 1 };
        let last = fields.iter().map(|(number, _)| *number).max().unwrap_or(0);
        self.0.push_str(name);
        for number in first..=last {
            self.0.push('|');
            if let Some((_, content)) = fields.iter().find(|(n, _)| *n == number) {
                self.0.push_str(content);
            }
        }
        self.0.push('\r');
    }

    /// The finished message.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

/// Escapes the separators (HL7 v2.5.1, chapter 2.7).
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' => out.push_str("\\F\\"),
            '^' => out.push_str("\\S\\"),
            '~' => out.push_str("\\R\\"),
            '\\' => out.push_str("\\E\\"),
            '&' => out.push_str("\\T\\"),
            '\r' | '\n' => out.push_str("\\.br\\"),
            c => out.push(c),
        }
    }
    out
}

/// Offset of Indiana (US Eastern) from UTC at a local time.
pub(crate) fn offset_hours(at: DateTime) -> i8 {
    let sunday_on_or_after = |month: i8, day: i8| {
        Date::new(at.year(), month, day)
            .map(|date| day + (7 - date.weekday().to_sunday_zero_offset()) % 7)
            .unwrap_or(day)
    };
    let today = (at.month(), at.day());
    let summer = today >= (3, sunday_on_or_after(3, 8)) && today < (11, sunday_on_or_after(11, 1));
    if summer { -4 } else { -5 }
}

/// TS with seconds and offset.
pub(crate) fn stamp(at: DateTime) -> String {
    format!("{}-0{}00", at.strftime("%Y%m%d%H%M%S"), -offset_hours(at))
}

/// TS of a day.
pub(crate) fn day(date: Date) -> String {
    date.strftime("%Y%m%d").to_string()
}

/// HD of an organization's assigning authority.
fn authority(organization: &Organization, separator: char) -> String {
    let (facility, oid) = (organization.facility, organization.oid);
    format!("{facility}{separator}{oid}{separator}ISO")
}

/// CX: a number that the organization has assigned, of the type of table 0203.
pub(crate) fn numbered(organization: &Organization, number: &str, kind: &str) -> String {
    format!("{number}^^^{}^{kind}", authority(organization, '&'))
}

/// EI: an entity identifier in the organization's namespace.
pub(crate) fn entity(organization: &Organization, number: &str) -> String {
    format!("{number}^{}", authority(organization, '^'))
}

/// XCN of a clinician, with the national provider identifier.
pub(crate) fn clinician(member: &Member) -> String {
    let npi = member.npi.as_deref().unwrap_or_default();
    let (family, given, degree) = (member.family, member.given, member.degree);
    format!("{npi}^{family}^{given}^^^^{degree}^^NPPES&2.16.840.1.113883.4.6&ISO^L^^^NPI")
}

/// Adds the header. `structure` is all of MSH-9.
pub(crate) fn header(
    message: &mut Message,
    organization: &Organization,
    structure: &str,
    control: &str,
    at: DateTime,
) {
    message.segment(
        "MSH",
        &[
            (2, "^~\\&".into()),
            (3, organization.application.into()),
            (4, authority(organization, '^')),
            (5, "HOLDFAST".into()),
            (6, "THREERIVERS".into()),
            (7, stamp(at)),
            (9, structure.into()),
            (10, control.into()),
            (11, "P".into()),
            (12, "2.5.1".into()),
            (17, "USA".into()),
            (18, "UNICODE UTF-8".into()),
        ],
    );
}

/// Adds EVN.
pub(crate) fn event(message: &mut Message, trigger: &str, at: DateTime) {
    message.segment("EVN", &[(1, trigger.into()), (2, stamp(at)), (6, stamp(at))]);
}

/// XTN of a telephone number written `NNN-NNN-NNNN`.
fn telephone(number: &str, usage: &str, equipment: &str) -> String {
    let mut parts = number.split('-');
    let [area, exchange, line] = [(); 3].map(|()| parts.next().unwrap_or_default());
    format!("({area}){exchange}-{line}^{usage}^{equipment}^^1^{area}^{exchange}{line}")
}

/// XPN, legal name.
pub(crate) fn name(registration: &Registration<'_>) -> String {
    let [family, given, middle] =
        [&registration.family, &registration.given, &registration.middle].map(|n| escape(n));
    format!("{family}^{given}^{middle}^^^^L")
}

/// Adds PID; `account` may be empty.
pub(crate) fn patient(message: &mut Message, registration: &Registration<'_>, account: &str) {
    let organization = registration.organization;
    let person = registration.person;
    let mut fields = vec![
        (1, "1".into()),
        (3, numbered(organization, &registration.mrn, "MR")),
        (5, name(registration)),
        (7, day(registration.birth)),
        (8, person.sex.code().into()),
        (10, format!("{}^{}^CDCREC", person.race.0, person.race.1)),
        (11, address(registration)),
        (15, "en^English^ISO6391".into()),
    ];
    if !account.is_empty() {
        fields.push((18, numbered(organization, account, "AN")));
    }
    let mut reached = telephone(&registration.phone, "PRN", "PH");
    if let Some(mobile) = &registration.mobile {
        reached += &format!("~{}", telephone(mobile, "PRN", "CP"));
    }
    if let Some(email) = &registration.email {
        reached += &format!("~^NET^Internet^{}", escape(email));
    }
    fields.push((13, reached));
    if let Some(ssn) = &registration.ssn {
        // Half of the world repeats the number in PID-3, the other in PID-19.
        if organization.facility.len().is_multiple_of(2) {
            fields[1].1 += &format!("~{ssn}^^^SSA&2.16.840.1.113883.4.1&ISO^SS");
        } else {
            fields.push((19, ssn.clone()));
        }
    }
    let (code, text) = if person.hispanic {
        ("2135-2", "Hispanic or Latino")
    } else {
        ("2186-5", "Not Hispanic or Latino")
    };
    fields.push((22, format!("{code}^{text}^CDCREC")));
    message.segment("PID", &fields);
}

fn address(registration: &Registration<'_>) -> String {
    let unit = registration.address.unit.as_deref().unwrap_or_default();
    let (state, zip) = (registration.address.state, registration.address.zip);
    let [street, unit, city] =
        [&registration.street, unit, registration.city().as_str()].map(escape);
    format!("{street}^{unit}^{city}^{state}^{zip}^USA^H")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn fields_stand_at_their_numbers_and_separators_are_escaped() {
        let mut message = Message::default();
        message.segment("MSH", &[(2, "^~\\&".into()), (4, "X".into())]);
        message.segment("OBX", &[(1, "1".into()), (5, escape("a|b^c&d~e\\f"))]);
        let text = String::from_utf8(message.into_bytes()).expect("text");
        assert_eq!(text, "MSH|^~\\&||X\rOBX|1||||a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f\r");
    }

    #[test]
    fn summer_time_starts_and_ends_on_the_right_sundays() {
        for (month, day, hours) in [(3, 8, -5), (3, 9, -4), (11, 1, -4), (11, 2, -5), (1, 6, -5)] {
            assert_eq!(offset_hours(date(2025, month, day).at(9, 0, 0, 0)), hours, "{month}/{day}");
        }
    }
}
