//! NK1: next of kin and other contacts.

use serde_json::{Value, json};

use super::Conversion;
use super::datatypes::social_security_number;
use crate::converted::Issue;
use crate::json::{Put, resource};
use crate::vocabulary::mapped;

impl Conversion<'_> {
    pub(super) fn related_persons(&mut self) {
        let message = self.message;
        for nk1 in message.segments_named("NK1") {
            let mut person = resource("RelatedPerson");
            for number in [33, 12] {
                for part in nk1.field(number).repetitions() {
                    person.push("identifier", self.reader.identifier(part));
                }
            }
            let number = nk1.first(37).at(1);
            person.push("identifier", number.and_then(|text| social_security_number(&text)));
            person.put("patient", Self::subject());
            let relationship = self.reader.table_concept(nk1.first(3), "relationship", "0063");
            person.push("relationship", relationship);
            let role = self.reader.table_concept(nk1.first(7), "contact-role", "0131");
            person.push("relationship", role);
            for number in [2, 30] {
                for part in nk1.field(number).repetitions() {
                    person.push("name", self.reader.human_name(part));
                }
            }
            for (number, point_use) in
                [(5, Some("home")), (6, Some("work")), (31, None), (40, None), (41, None)]
            {
                for part in nk1.field(number).repetitions() {
                    person.push("telecom", self.reader.contact_point(part, point_use));
                }
            }
            for number in [4, 32] {
                for part in nk1.field(number).repetitions() {
                    person.push("address", self.reader.address(part));
                }
            }
            let sex = nk1.first(15).at(1).and_then(|sex| mapped("sex", &sex));
            person.put("gender", sex.map(|found| json!(found.code)));
            let born = self.reader.moment(nk1.first(16));
            person.put("birthDate", born.map(|born| json!(born.date)));
            if let Some(language) = self.language(nk1.first(20)) {
                person.push("communication", json!({"language": language}));
            }
            let (start, end) = (nk1.first(8), nk1.first(9));
            person.put(
                "period",
                self.reader.period_of(self.reader.date_time(start), self.reader.date_time(end)),
            );
            let known = ["name", "telecom", "identifier", "address"];
            if !known.into_iter().any(|member| person.contains_key(member)) {
                let text = "a contact without name, number or address was left out";
                self.issue(Issue::information(Self::place(&nk1, 0), text));
                continue;
            }
            let name = person.get("name").and_then(|names| names.get(0));
            let name = name.map(Value::to_string).unwrap_or_default();
            let relation = nk1.first(3).at(1).or_else(|| nk1.first(7).at(1)).unwrap_or_default();
            let key = self.patient_bound_key("RelatedPerson", &[&relation, &name]);
            self.add(person, Some(key));
        }
    }
}
