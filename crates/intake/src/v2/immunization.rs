//! RXA and RXR: vaccinations given, refused, or told of.

use serde_json::{Value, json};

use super::Conversion;
use super::group::{Finding, Order};
use super::order::{Scope, note_of};
use super::patient::key_of;
use super::visit::location;
use crate::converted::{Issue, Refusal};
use crate::hl7v2::Segment;
use crate::json::{Put, coding, concept, resource};
use crate::natural_key;
use crate::vocabulary::mapped;

const FUNCTION: &str = "http://terminology.hl7.org/CodeSystem/v2-0443";
/// CVX: no vaccine administered; the OBX below say why (CDC guide, RXA-5).
const NOTHING_GIVEN: &str = "998";
/// RXA-6: amount not known.
const AMOUNT_UNKNOWN: &str = "999";

impl Conversion<'_> {
    pub(super) fn immunization(
        &mut self,
        order: &Order<'_>,
        rxa: &Segment<'_>,
    ) -> Result<(), Refusal> {
        let given = rxa.first(5);
        let code = given.at(1).or_else(|| given.at(2)).unwrap_or_default();
        let at = self.reader.moment(rxa.first(3));
        let key = self.immunization_key(order, rxa, &code);
        if code == NOTHING_GIVEN {
            return self.immunization_findings(order.findings.as_slice(), &key);
        }
        let Some(vaccine) = self.reader.concept(given) else {
            let text = "a vaccination that names no vaccine was left out";
            self.issue(Issue::error(Self::place(rxa, 5), text));
            return Ok(());
        };
        let mut shot = resource("Immunization");
        if let Some(orc) = order.orc {
            for (number, kind) in [(2, "PLAC"), (3, "FILL")] {
                shot.push("identifier", self.reader.entity(orc.first(number), Some(kind)));
            }
        }
        shot.put("status", json!(self.immunization_status(rxa)));
        shot.put("statusReason", self.reader.concept(rxa.first(18)));
        shot.put("vaccineCode", vaccine);
        shot.put("patient", Self::subject());
        shot.put("encounter", self.encounter.clone());
        match &at {
            Some(at) => shot.put("occurrenceDateTime", json!(at.date_time())),
            None => {
                shot.put("occurrenceString", json!("unknown"));
                self.issue(Issue::warning(Self::place(rxa, 3), "the vaccination has no date"));
            }
        }
        if let Some(orc) = order.orc {
            shot.put("recorded", self.reader.date_time(orc.first(9)));
        }
        self.immunization_source(rxa, &mut shot);
        if let Some(place) = location(rxa.first(11), "location-1") {
            shot.push("contained", place);
            shot.put("location", json!({"reference": "#location-1"}));
        }
        let maker = rxa.first(17);
        if let Some(name) = maker.at(2).or_else(|| maker.at(1)) {
            let mut organization = json!({"type": "Organization", "display": name});
            if let (Some(code), Some("MVX"), Some(object)) =
                (maker.at(1), maker.at(3).as_deref(), organization.as_object_mut())
            {
                let identifier = json!({"system": "http://hl7.org/fhir/sid/mvx", "value": code});
                object.insert("identifier".to_owned(), identifier);
            }
            shot.put("manufacturer", organization);
        }
        shot.put_text("lotNumber", rxa.first(15).at(1));
        let expires = self.reader.moment(rxa.first(16));
        shot.put("expirationDate", expires.map(|moment| json!(moment.date)));
        if let Some(rxr) = order.rxr {
            shot.put("site", self.reader.table_concept(rxr.first(2), "body-site", "0163"));
            shot.put("route", self.reader.table_concept(rxr.first(1), "route", "0162"));
        }
        let amount = rxa.first(6).at(1).filter(|amount| amount != AMOUNT_UNKNOWN);
        if let Some(amount) = amount.and_then(|amount| super::datatypes::decimal(&amount)) {
            shot.put("doseQuantity", self.reader.quantity(amount, rxa.first(7)));
        }
        for actor in self.practitioners(rxa.field(10), false) {
            let function = concept(FUNCTION, "AP", "Administering Provider");
            shot.push("performer", json!({"function": function, "actor": actor}));
        }
        if let Some(orc) = order.orc {
            for actor in self.practitioners(orc.field(12), true) {
                let function = concept(FUNCTION, "OP", "Ordering Provider");
                shot.push("performer", json!({"function": function, "actor": actor}));
            }
        }
        for note in &order.notes {
            shot.push("note", note_of(note));
        }
        for part in rxa.field(19).repetitions() {
            shot.push("reasonCode", self.reader.concept(part));
        }
        let rest = self.immunization_details(&order.findings, &mut shot);
        self.add(shot, Some(key.clone()));
        self.immunization_findings(&rest, &key)
    }

    /// The filler's or placer's number; `9999` and the like are fillers that
    /// senders write for told-of vaccinations (CDC guide, ORC-3).
    fn immunization_key(&mut self, order: &Order<'_>, rxa: &Segment<'_>, code: &str) -> String {
        let number = order.orc.and_then(|orc| {
            let numbers = [3, 2].into_iter().map(|number| orc.first(number));
            let real = |part: &crate::hl7v2::Part<'_>| {
                part.at(1)
                    .is_some_and(|value| !value.bytes().all(|byte| byte == b'9' || byte == b'0'))
            };
            numbers.filter(real).find_map(|part| self.reader.entity(part, None))
        });
        match number {
            Some(number) => natural_key("Immunization", &[&key_of(&number), code]),
            None => {
                let at = self.reader.moment(rxa.first(3)).map(|moment| moment.date);
                self.patient_bound_key("Immunization", &[code, &at.unwrap_or_default()])
            }
        }
    }

    fn immunization_status(&mut self, rxa: &Segment<'_>) -> &'static str {
        if rxa.first(21).at(1).as_deref() == Some("D") {
            return "entered-in-error";
        }
        let Some(sent) = rxa.first(20).at(1) else { return "completed" };
        match mapped("immunization-status", &sent) {
            Some(found) => found.code,
            None => {
                self.issue(Issue::warning(Self::place(rxa, 20), "completion status is not known"));
                "completed"
            }
        }
    }

    /// RXA-9 (NIP001): given here, or told of and by whom.
    fn immunization_source(&mut self, rxa: &Segment<'_>, shot: &mut crate::json::Object) {
        for part in rxa.field(9).repetitions() {
            match part.at(1).as_deref() {
                Some("00") => shot.put("primarySource", json!(true)),
                Some(code @ ("01" | "02" | "03" | "04" | "05" | "06" | "07" | "08")) => {
                    shot.put("primarySource", json!(false));
                    let display = part.at(2).unwrap_or_default();
                    let mut origin = json!({"coding": [coding("", code, &display)]});
                    if let (Some(object), false) = (origin.as_object_mut(), display.is_empty()) {
                        object.insert("text".to_owned(), json!(display));
                    }
                    shot.put("reportOrigin", origin);
                }
                _ => shot.push(
                    "note",
                    part.value().map(|_| {
                        let text = part.at(2).or_else(|| part.at(1)).unwrap_or_default();
                        json!({"text": text})
                    }),
                ),
            }
        }
    }

    /// OBX that have a place in the Immunization; the others are given back.
    fn immunization_details<'f>(
        &mut self,
        findings: &[Finding<'f>],
        shot: &mut crate::json::Object,
    ) -> Vec<Finding<'f>> {
        let mut rest = Vec::new();
        for finding in findings {
            let obx = &finding.obx;
            let value = obx.first(5);
            match obx.first(3).at(1).as_deref() {
                Some("64994-7") => shot.push("programEligibility", self.reader.concept(value)),
                Some("30963-3") => shot.put("fundingSource", self.reader.concept(value)),
                Some("30973-2") => {
                    let number = value.at(1).and_then(|text| text.parse::<u32>().ok());
                    match number.filter(|number| *number > 0) {
                        Some(number) => {
                            shot.push("protocolApplied", json!({"doseNumberPositiveInt": number}));
                        }
                        None => rest.push(finding.clone()),
                    }
                }
                // VIS document type, publication and presentation date.
                Some("69764-9" | "30956-7") => {
                    let text = value.at(2).or_else(|| value.at(1));
                    shot.push("education", text.map(|text| json!({"documentType": text})));
                }
                Some("29768-9") => {
                    set_education(shot, "publicationDate", self.reader.date_time(value))
                }
                Some("29769-7") => {
                    set_education(shot, "presentationDate", self.reader.date_time(value))
                }
                _ => rest.push(finding.clone()),
            }
        }
        rest
    }

    fn immunization_findings(
        &mut self,
        findings: &[Finding<'_>],
        key: &str,
    ) -> Result<(), Refusal> {
        let scope = Scope {
            key: key.to_owned(),
            effective: None,
            issued: None,
            category: None,
            specimen: None,
            request: None,
            status: None,
            has_report: false,
        };
        self.findings(findings, &scope)?;
        Ok(())
    }
}

/// Sets a date of the last education; one that has none yet, or a new one.
fn set_education(shot: &mut crate::json::Object, name: &str, at: Option<Value>) {
    let Some(at) = at else { return };
    let last =
        shot.get_mut("education").and_then(Value::as_array_mut).and_then(|all| all.last_mut());
    match last.and_then(Value::as_object_mut) {
        Some(last) if !last.contains_key(name) => last.put(name, at),
        // R4 imm-1 wants a document type or reference beside the dates.
        _ => shot.push("education", json!({"documentType": "VIS", name: at})),
    }
}
