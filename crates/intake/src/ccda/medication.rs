//! Medication activities to MedicationRequest and MedicationAdministration.

use serde_json::{Value, json};

use super::people::Actors;
use super::xml::{Lookup, Node};
use super::{Conversion, concept_key, time_key};
use crate::fhir_type::decimal;
use crate::json::{Object, Put, resource, some};
use crate::vocabulary::mapped;

const SIG_CODE: &str = "76662-6";
const INSTRUCTION: &str = "2.16.840.1.113883.10.20.22.4.20";

impl<'d> Conversion<'d> {
    pub(super) fn medication(&mut self, node: Node<'d>) {
        let Some(medicine) = self.medicine(node) else {
            let text = "a medication that says nothing of what it is was left out";
            self.warn(node, text);
            return;
        };
        if self.is_nothing(node, &medicine) {
            return;
        }
        let mut request = resource("MedicationRequest");
        for identifier in self.reader.identifiers(node) {
            request.push("identifier", identifier);
        }
        let status = node.child("statusCode").and_then(|status| status.attr("code"));
        let found = status.and_then(|status| mapped("ccda-medication-status", status));
        request.put("status", json!(found.map_or("unknown", |found| found.code)));
        let mood = node.attr("moodCode").unwrap_or("EVN");
        let intent = mapped("ccda-medication-intent", mood);
        request.put("intent", json!(intent.map_or("plan", |found| found.code)));
        if node.is_negated() {
            request.put("doNotPerform", json!(true));
        }
        request.put("medicationCodeableConcept", medicine.clone());
        request.put("subject", Self::subject());
        request.put("authoredOn", self.recorded(node));
        let requester = self.author(node, Actors::All);
        request.put("requester", requester);
        self.reasons(node, &mut request);
        self.notes(node, &mut request);
        let (timing, start) = self.timing(node);
        request.push("dosageInstruction", self.dosage(node, timing, &medicine));
        request.put("dispenseRequest", self.supply(node));
        let name = concept_key(Some(&medicine));
        self.add_statement("MedicationRequest", request, "", &[&name, &start]);
    }

    /// What was given during the visit is no order.
    pub(super) fn administration(&mut self, node: Node<'d>) {
        let Some(medicine) = self.medicine(node) else {
            let text = "a medication that says nothing of what it is was left out";
            self.warn(node, text);
            return;
        };
        if self.is_nothing(node, &medicine) {
            return;
        }
        let mut given = resource("MedicationAdministration");
        for identifier in self.reader.identifiers(node) {
            given.push("identifier", identifier);
        }
        let status = node.child("statusCode").and_then(|status| status.attr("code"));
        let status = match status {
            _ if node.is_negated() => "not-done",
            Some("active") => "in-progress",
            Some("aborted") => "stopped",
            Some("suspended" | "held") => "on-hold",
            Some("nullified") => "entered-in-error",
            Some("cancelled") => "not-done",
            Some("completed") => "completed",
            _ => "unknown",
        };
        given.put("status", json!(status));
        given.put("medicationCodeableConcept", medicine.clone());
        given.put("subject", Self::subject());
        given.put("context", self.encounter.clone());
        let interval = self.reader.effective(node);
        self.reader.put_time(&mut given, "effective", &interval);
        let at = time_key(&given, &["effectiveDateTime", "effectivePeriod"]);
        if at.is_empty() {
            // R4 wants the time.
            given.put("_effectiveDateTime", super::datatypes::data_absent("unknown"));
        }
        for actor in self.performers(node, Actors::People) {
            given.push("performer", json!({"actor": actor}));
        }
        let mut dosage = Object::new();
        dosage.put("site", self.reader.child_concept(node, "approachSiteCode"));
        dosage.put("route", self.reader.child_concept(node, "routeCode"));
        let dose = node.child("doseQuantity").and_then(|dose| self.reader.quantity(dose));
        dosage.put("dose", dose);
        // R4 mad-1: a dose or a rate.
        if dosage.contains_key("dose") {
            given.put("dosage", some(dosage));
        }
        self.notes(node, &mut given);
        let name = concept_key(Some(&medicine));
        self.add_statement("MedicationAdministration", given, "", &[&name, &at]);
    }

    fn medicine(&self, node: Node<'d>) -> Option<Value> {
        let product = node.path(&["consumable", "manufacturedProduct"])?;
        let material = product
            .child("manufacturedMaterial")
            .or_else(|| product.child("manufacturedLabeledDrug"))?;
        let name = || {
            let name = material.child("name")?;
            Some(json!({"text": self.reader.narrative.plain(name)?}))
        };
        let text = || self.said(node).map(|text| json!({"text": text}));
        self.reader.child_concept(material, "code").or_else(name).or_else(text)
    }

    /// `Timing` of the effectiveTimes, and when it begins.
    fn timing(&self, node: Node<'d>) -> (Option<Value>, String) {
        let mut timing = Object::new();
        let mut repeat = Object::new();
        let mut start = String::new();
        for time in node.all("effectiveTime") {
            let kind = time.type_name().unwrap_or_default();
            if kind == "PIVL_TS" || time.child("period").is_some() {
                if !repeat.contains_key("period") {
                    self.frequency(time, &mut repeat);
                }
            } else if kind == "EIVL_TS" || time.child("event").is_some() {
                self.event(time, &mut repeat);
            } else if time.attr("value").is_some() {
                let at = self.reader.date_time(time);
                if let (true, Some(at)) = (start.is_empty(), at.as_ref().and_then(Value::as_str)) {
                    start = at.to_owned();
                }
                timing.push("event", at);
            } else {
                let interval = self.reader.interval(time);
                let (begins, ends) = (interval.start(), interval.end());
                if let (true, Some(at)) =
                    (start.is_empty(), begins.as_ref().and_then(Value::as_str))
                {
                    start = at.to_owned();
                }
                // A period of one point says its end too.
                let ends = ends.or_else(|| begins.clone().filter(|_| interval.is_point));
                if !repeat.contains_key("boundsPeriod") {
                    repeat.put("boundsPeriod", self.reader.period_of(begins, ends));
                }
            }
        }
        timing.put("repeat", some(repeat));
        (some(timing), start)
    }

    /// PIVL_TS: every 8 hours, or so and so often a day when the institution
    /// chooses the hours.
    fn frequency(&self, time: Node<'d>, repeat: &mut Object) {
        let Some(period) = time.child("period") else { return };
        let low = if period.attr("value").is_some() { Some(period) } else { period.child("low") };
        let Some(low) = low else { return };
        let unit = low.attr("unit").and_then(|unit| mapped("ccda-period-unit", unit));
        let (Some(value), Some(unit)) = (low.attr("value"), unit) else { return };
        let Some(amount) = decimal(value).filter(|_| !value.starts_with('-')) else { return };
        let hours = value.parse::<u32>().ok().filter(|hours| *hours > 0 && 24 % hours == 0);
        let chosen = matches!(time.attr("institutionSpecified"), Some("true" | "1"));
        if let (Some(hours), "h", true) = (hours, unit.code, chosen) {
            repeat.put("frequency", json!(24 / hours));
            repeat.put("period", json!(1));
            repeat.put("periodUnit", json!("d"));
            return;
        }
        repeat.put("frequency", json!(1));
        repeat.put("period", amount);
        let high = period.child("high").filter(|high| high.attr("unit") == low.attr("unit"));
        let high = high.and_then(|high| high.attr("value"));
        repeat.put("periodMax", high.filter(|it| !it.starts_with('-')).and_then(decimal));
        repeat.put("periodUnit", json!(unit.code));
    }

    /// EIVL_TS: before breakfast, at bedtime.
    fn event(&self, time: Node<'d>, repeat: &mut Object) {
        let code = time.child("event").and_then(|event| event.attr("code"));
        let Some(found) = code.and_then(|code| mapped("ccda-timing-event", code)) else { return };
        repeat.push("when", json!(found.code));
        let offset = time.child("offset");
        let offset = offset
            .and_then(|it| if it.attr("value").is_some() { Some(it) } else { it.child("low") });
        let Some(offset) = offset else { return };
        let factor = match offset.attr("unit") {
            Some("min") => 1,
            Some("h") => 60,
            _ => return,
        };
        let value = offset.attr("value").and_then(|value| value.parse::<u16>().ok());
        // R4 tim-9: not at meals themselves.
        let Some(value) = value.filter(|value| *value > 0 && !found.code.starts_with('C')) else {
            return;
        };
        repeat.put("offset", json!(u32::from(value) * factor));
    }

    fn dosage(&self, node: Node<'d>, timing: Option<Value>, medicine: &Value) -> Option<Value> {
        let mut dosage = Object::new();
        let sig = node.related("").find(|it| it.code() == Some(SIG_CODE));
        let sig = sig.and_then(|sig| self.said(sig));
        let name = medicine.get("text").and_then(Value::as_str);
        let said = || self.said(node).filter(|text| Some(text.as_str()) != name);
        dosage.put_text("text", sig.or_else(said));
        for instruction in node.related("").filter(|it| it.is_template(INSTRUCTION)) {
            dosage.push("additionalInstruction", self.reader.child_concept(instruction, "code"));
            if !dosage.contains_key("patientInstruction") {
                dosage.put_text("patientInstruction", self.said(instruction));
            }
        }
        dosage.put("timing", timing);
        if node.child("precondition").is_some() {
            dosage.put("asNeededBoolean", json!(true));
        }
        dosage.put("site", self.reader.child_concept(node, "approachSiteCode"));
        dosage.put("route", self.reader.child_concept(node, "routeCode"));
        let mut amount = Object::new();
        for (element, member) in [("doseQuantity", "dose"), ("rateQuantity", "rate")] {
            let found = node.child(element).and_then(|it| self.reader.quantity_or_range(it));
            if let Some((kind, value)) = found {
                amount.put(&format!("{member}{kind}"), value);
            }
        }
        dosage.push("doseAndRate", some(amount));
        if let Some(most) = node.child("maxDoseQuantity") {
            let part = |name: &str| most.child(name).and_then(|it| self.reader.quantity(it));
            if let (Some(numerator), Some(denominator)) = (part("numerator"), part("denominator")) {
                let ratio = json!({"numerator": numerator, "denominator": denominator});
                dosage.put("maxDosePerPeriod", ratio);
            }
        }
        some(dosage)
    }

    /// A supply order: CDA counts all fills, FHIR those after the first.
    fn supply(&self, node: Node<'d>) -> Option<Value> {
        let order = node
            .related("")
            .find(|it| it.tag_name().name() == "supply" && it.attr("moodCode") == Some("INT"))?;
        let mut supply = Object::new();
        let interval = self.reader.effective(order);
        supply.put("validityPeriod", self.reader.period(&interval));
        let fills = order.child("repeatNumber").and_then(|it| it.attr("value"));
        let fills = fills.and_then(|it| it.parse::<u16>().ok()).filter(|fills| *fills > 0);
        supply.put("numberOfRepeatsAllowed", fills.map(|fills| json!(fills - 1)));
        supply.put("quantity", order.child("quantity").and_then(|it| self.reader.quantity(it)));
        some(supply)
    }
}
