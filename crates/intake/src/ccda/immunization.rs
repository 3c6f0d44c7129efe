//! Immunization activities.

use serde_json::{Value, json};

use super::people::Actors;
use super::xml::{Lookup, Node};
use super::{Conversion, concept_key, time_key};
use crate::json::{Put, concept, resource};
use crate::vocabulary::mapped;

const FUNCTION: &str = "http://terminology.hl7.org/CodeSystem/v2-0443";
const REFUSAL: &str = "2.16.840.1.113883.10.20.22.4.53";

impl<'d> Conversion<'d> {
    pub(super) fn immunization(&mut self, node: Node<'d>) {
        let product = node.path(&["consumable", "manufacturedProduct"]);
        let material = product.and_then(|product| {
            product
                .child("manufacturedMaterial")
                .or_else(|| product.child("manufacturedLabeledDrug"))
        });
        let code = material.and_then(|material| material.child("code"));
        let name = || {
            let name = material?.child("name")?;
            Some(json!({"text": self.reader.narrative.plain(name)?}))
        };
        let text = || self.said(node).map(|text| json!({"text": text}));
        let vaccine = code.and_then(|code| self.reader.concept(code)).or_else(name).or_else(text);
        let Some(vaccine) = vaccine else {
            self.warn(node, "a vaccination that names no vaccine was left out");
            return;
        };
        if self.is_nothing(node, &vaccine) {
            return;
        }
        let mut shot = resource("Immunization");
        for identifier in self.reader.identifiers(node) {
            shot.push("identifier", identifier);
        }
        let status = node.child("statusCode").and_then(|status| status.attr("code"));
        let found = status.and_then(|status| mapped("ccda-immunization-status", status));
        let status = match found.map(|found| found.code) {
            Some("entered-in-error") => "entered-in-error",
            _ if node.is_negated() => "not-done",
            Some(code) => code,
            None => "completed",
        };
        shot.put("status", json!(status));
        if status == "not-done" {
            let refusal = node.related("").find(|it| it.is_template(REFUSAL));
            let refusal = refusal.or_else(|| node.related("RSON").next());
            let reason = refusal.and_then(|it| self.reader.child_concept(it, "code"));
            shot.put("statusReason", reason);
        } else {
            self.immunization_reasons(node, &mut shot);
        }
        shot.put("vaccineCode", vaccine);
        shot.put("patient", Self::subject());
        match self.reader.effective(node).start() {
            Some(at) => shot.put("occurrenceDateTime", at),
            None => {
                shot.put("occurrenceString", json!("unknown"));
                if status == "completed" {
                    self.warn(node, "the vaccination has no date");
                }
            }
        }
        shot.put("recorded", self.recorded(node));
        let unknown = super::datatypes::data_absent("unknown");
        shot.put("_primarySource", unknown);
        let maker = product.and_then(|product| product.child("manufacturerOrganization"));
        shot.put("manufacturer", maker.and_then(|maker| self.reader.organization(maker)));
        let lot = material.and_then(|material| material.child("lotNumberText"));
        shot.put_text("lotNumber", lot.and_then(|lot| self.reader.narrative.plain(lot)));
        shot.put("site", self.reader.child_concept(node, "approachSiteCode"));
        shot.put("route", self.reader.child_concept(node, "routeCode"));
        let dose = node.child("doseQuantity").and_then(|dose| self.reader.quantity(dose));
        shot.put("doseQuantity", dose);
        for actor in self.performers(node, Actors::PeopleAndOrganizations) {
            let function = concept(FUNCTION, "AP", "Administering Provider");
            shot.push("performer", json!({"function": function, "actor": actor}));
        }
        self.notes(node, &mut shot);
        let number = node.child("repeatNumber").and_then(|number| number.attr("value"));
        if let Some(number) = number.and_then(|it| it.parse::<u8>().ok()).filter(|it| *it > 0) {
            shot.push("protocolApplied", json!({"doseNumberPositiveInt": number}));
        }
        let name = concept_key(shot.get("vaccineCode"));
        let at = time_key(&shot, &["occurrenceDateTime"]);
        self.add_statement("Immunization", shot, "", &[&name, &at]);
    }

    fn immunization_reasons(&self, node: Node<'d>, shot: &mut serde_json::Map<String, Value>) {
        for reason in node.related("RSON").filter(|it| !it.is_template(REFUSAL)) {
            shot.push("reasonCode", self.reader.child_concept(reason, "value"));
        }
    }
}
