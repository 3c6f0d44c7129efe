//! PV1 and PV2: the visit.

use serde_json::{Value, json};

use super::Conversion;
use super::patient::key_of;
use crate::converted::Issue;
use crate::hl7v2::{Part, Segment};
use crate::json::{Object, Put, coding, concept, extension, reference, resource, some};
use crate::vocabulary::mapped;

const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const PHYSICAL_TYPE: &str = "http://terminology.hl7.org/CodeSystem/location-physical-type";
const NULL_FLAVOR: &str = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor";

impl Conversion<'_> {
    /// ADT messages make an Encounter. Other messages name the visit they belong
    /// to by its number: what they know of it is less than its ADT messages
    /// said, and would reopen a visit that has ended.
    pub(super) fn visit(&mut self) {
        let message = self.message;
        let Some(pv1) = message.segment("PV1") else { return };
        let identifiers = self.visit_identifiers(&pv1);
        self.visit_key = identifiers.first().map(key_of);
        let class = pv1.first(2).at(1).unwrap_or_default().to_ascii_uppercase();
        if !self.event.is_adt() {
            self.encounter = identifiers
                .first()
                .map(|identifier| json!({"type": "Encounter", "identifier": identifier}));
            // The people of the visit may be told of a result all the same.
            for number in [7, 8, 9] {
                self.practitioners(pv1.field(number), true);
            }
            let text = "the visit is referred to by its number; only ADT messages change it";
            self.issue(Issue::information(Self::place(&pv1, 0), text));
            return;
        }
        if identifiers.is_empty() && matches!(class.as_str(), "" | "N") {
            let text = "no visit: neither a number nor a class that is one";
            self.issue(Issue::information(Self::place(&pv1, 0), text));
            return;
        }
        let mut encounter = resource("Encounter");
        for identifier in identifiers {
            encounter.push("identifier", identifier);
        }
        encounter.put("status", json!(self.visit_status(&pv1, &class)));
        encounter.put("class", self.visit_class(&pv1, &class));
        encounter.push("type", self.reader.table_concept(pv1.first(4), "admission-type", "0007"));
        encounter.put(
            "serviceType",
            self.reader.table_concept(pv1.first(10), "hospital-service", "0069"),
        );
        encounter.put("subject", Self::subject());
        self.visit_people(&pv1, &mut encounter);
        encounter.put("period", self.visit_period(&pv1));
        self.hospitalization(&pv1, &mut encounter);
        self.locations(&pv1, &class, &mut encounter);
        if let Some(pv2) = message.segment("PV2") {
            self.more_of_visit(&pv2, &mut encounter);
        }
        let key = self.visit_natural_key(&pv1);
        let url = self.add(encounter, key);
        self.encounter = Some(reference(&url));
    }

    /// PV1-19, PV1-50, and the account of PID-18 where there is nothing else.
    fn visit_identifiers(&mut self, pv1: &Segment<'_>) -> Vec<Value> {
        let mut found = Object::new();
        for number in [19, 50] {
            for part in pv1.field(number).repetitions() {
                let identifier = self.reader.identifier(part).map(|mut identifier| {
                    if let (19, Some(object)) = (number, identifier.as_object_mut()) {
                        object
                            .entry("type")
                            .or_insert_with(|| super::datatypes::identifier_type("VN"));
                    }
                    identifier
                });
                found.push("identifier", identifier);
            }
        }
        if found.is_empty() {
            let account = self.message.segment("PID").map(|pid| pid.first(18));
            let identifier = account.and_then(|account| self.reader.identifier(account));
            let identifier = identifier.map(|mut identifier| {
                if let Some(object) = identifier.as_object_mut() {
                    object.entry("type").or_insert_with(|| super::datatypes::identifier_type("AN"));
                }
                identifier
            });
            found.push("identifier", identifier);
        }
        match found.remove("identifier") {
            Some(Value::Array(identifiers)) => identifiers,
            _ => Vec::new(),
        }
    }

    fn visit_natural_key(&mut self, pv1: &Segment<'_>) -> Option<String> {
        if let Some(visit) = self.visit_key.clone() {
            return Some(self.patient_bound_key("Encounter", &[&visit]));
        }
        let admitted = self.reader.moment(pv1.first(44))?;
        let key = self.patient_bound_key("Encounter", &["admitted", &admitted.date_time()]);
        Some(key)
    }

    /// What the event says, unless it says nothing of the state; then whether
    /// the visit has ended, and what its class implies.
    fn visit_status(&self, pv1: &Segment<'_>, class: &str) -> &'static str {
        let by_event = mapped("encounter-status-by-event", &self.event.trigger);
        if let Some(found) = by_event {
            return found.code;
        }
        if self.reader.moment(pv1.first(45)).is_some() {
            return "finished";
        }
        mapped("encounter-status-by-class", class).map_or("unknown", |found| found.code)
    }

    fn visit_class(&mut self, pv1: &Segment<'_>, class: &str) -> Value {
        if let Some(found) = mapped("encounter-class", class) {
            return coding(found.system, found.code, found.display);
        }
        if class.is_empty() {
            self.issue(Issue::warning(Self::place(pv1, 2), "the visit has no class"));
            return coding(NULL_FLAVOR, "UNK", "unknown");
        }
        let display = pv1.first(2).at(2).unwrap_or_default();
        coding("http://terminology.hl7.org/CodeSystem/v2-0004", class, &display)
    }

    fn visit_people(&mut self, pv1: &Segment<'_>, encounter: &mut Object) {
        for (number, code, display, told) in [
            (7, "ATND", "attender", true),
            (8, "REF", "referrer", true),
            (9, "CON", "consultant", true),
            (17, "ADM", "admitter", false),
            (52, "PART", "Participation", false),
        ] {
            for individual in self.practitioners(pv1.field(number), told) {
                encounter.push(
                    "participant",
                    json!({"type": [concept(PARTICIPATION, code, display)], "individual": individual}),
                );
            }
        }
    }

    fn visit_period(&self, pv1: &Segment<'_>) -> Option<Value> {
        let start = self.reader.date_time(pv1.first(44));
        let mut end = self.reader.date_time(pv1.first(45));
        match self.event.trigger.as_str() {
            // A discharge that is taken back has no end.
            "A13" => end = None,
            "A03" if end.is_none() => {
                let evn = self.message.segment("EVN");
                end = evn.and_then(|evn| self.reader.date_time(evn.first(6)));
            }
            _ => {}
        }
        self.reader.period_of(start, end)
    }

    fn hospitalization(&mut self, pv1: &Segment<'_>, encounter: &mut Object) {
        let mut stay = Object::new();
        stay.put("preAdmissionIdentifier", self.reader.identifier(pv1.first(5)));
        stay.put("admitSource", self.reader.table_concept(pv1.first(14), "", "0023"));
        stay.put("reAdmission", self.reader.table_concept(pv1.first(13), "readmission", "0092"));
        for part in pv1.field(38).repetitions() {
            stay.push("dietPreference", self.reader.table_concept(part, "", "0114"));
        }
        for part in pv1.field(16).repetitions() {
            stay.push("specialCourtesy", self.reader.table_concept(part, "", "0099"));
        }
        for part in pv1.field(15).repetitions() {
            let found = self.reader.table_concept(part, "ambulatory-status", "0009");
            stay.push("specialArrangement", found);
        }
        let destination = pv1.first(37);
        if let Some(place) = destination.at(2).or_else(|| destination.at(1)) {
            stay.put("destination", json!({"type": "Location", "display": place}));
        }
        stay.put(
            "dischargeDisposition",
            self.reader.table_concept(pv1.first(36), "discharge-disposition", "0112"),
        );
        encounter.put("hospitalization", some(stay));
    }

    fn locations(&mut self, pv1: &Segment<'_>, class: &str, encounter: &mut Object) {
        let assigned = if class == "P" { "planned" } else { "active" };
        for (number, status) in [(3, assigned), (6, "completed"), (11, "active"), (42, "reserved")]
        {
            let count = encounter.get("contained").and_then(Value::as_array).map_or(0, Vec::len);
            let id = format!("location-{}", count + 1);
            if let Some(location) = location(pv1.first(number), &id) {
                encounter.push("contained", location);
                let place = json!({"location": {"reference": format!("#{id}")}, "status": status});
                encounter.push("location", place);
            }
        }
        if let Some(facility) = pv1.first(3).component(4).subcomponent(1).value() {
            encounter.put("serviceProvider", json!({"type": "Organization", "display": facility}));
        }
    }

    fn more_of_visit(&mut self, pv2: &Segment<'_>, encounter: &mut Object) {
        encounter.push("reasonCode", self.reader.concept(pv2.first(3)));
        let referrer = pv2.field(13);
        for individual in self.practitioners(referrer, true) {
            let code = concept(PARTICIPATION, "REF", "referrer");
            encounter.push("participant", json!({"type": [code], "individual": individual}));
        }
        encounter.put(
            "priority",
            self.reader.table_concept(pv2.first(25), "encounter-priority", "0217"),
        );
        let days = pv2.first(11).at(1).and_then(|days| super::datatypes::decimal(&days));
        if let Some(days) = days {
            let system = super::datatypes::UCUM_SYSTEM;
            encounter
                .put("length", json!({"value": days, "unit": "d", "system": system, "code": "d"}));
        }
        if let Some(code) = pv2.first(38).at(1) {
            let url = "http://hl7.org/fhir/StructureDefinition/encounter-modeOfArrival";
            let display = pv2.first(38).at(2).unwrap_or_default();
            let arrived = coding("http://terminology.hl7.org/CodeSystem/v2-0430", &code, &display);
            encounter.push("extension", extension(url, "valueCoding", arrived));
        }
    }
}

/// PL to a Location that is contained: the most exact place, named in full.
pub(super) fn location(part: Part<'_>, id: &str) -> Option<Value> {
    let [unit, room, bed, facility] =
        [1, 2, 3, 4].map(|number| part.component(number).subcomponent(1).value());
    let names: Vec<String> =
        [facility, unit.clone(), room.clone(), bed.clone()].into_iter().flatten().collect();
    let description = part.at(9);
    if names.is_empty() && description.is_none() {
        return None;
    }
    let mut location = resource("Location");
    location.put("id", json!(id));
    let name = if names.is_empty() { description.clone() } else { Some(names.join(", ")) };
    location.put_text("name", name);
    location.put_text("description", description);
    location.put("mode", json!("instance"));
    let kind = match (bed, room, unit) {
        (Some(_), ..) => Some(("bd", "Bed")),
        (_, Some(_), _) => Some(("ro", "Room")),
        (_, _, Some(_)) => Some(("wa", "Ward")),
        _ => None,
    };
    let kind = kind.map(|(code, display)| concept(PHYSICAL_TYPE, code, display));
    location.put("physicalType", kind);
    some(location)
}
