//! AL1, IAM, DG1, PRB and PR1: allergies, diagnoses, problems, procedures.

use serde_json::{Value, json};

use super::Conversion;
use super::patient::key_of;
use crate::converted::Issue;
use crate::hl7v2::{Part, Segment};
use crate::json::{Object, Put, concept, reference, resource};
use crate::natural_key;
use crate::vocabulary::mapped;

const VERIFIED: &str = "http://terminology.hl7.org/CodeSystem/condition-ver-status";
const CLINICAL: &str = "http://terminology.hl7.org/CodeSystem/condition-clinical";
const CONDITION_CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/condition-category";
const ALLERGY_VERIFIED: &str =
    "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification";
const ALLERGY_CLINICAL: &str = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical";

impl Conversion<'_> {
    pub(super) fn problems(&mut self) {
        let message = self.message;
        for segment in message.segments() {
            match segment.name() {
                "AL1" => self.allergy(&segment, 5, 6),
                "IAM" => self.allergy(&segment, 5, 11),
                "DG1" => self.diagnosis(&segment),
                "PRB" => self.problem(&segment),
                "PR1" => self.procedure(&segment),
                _ => {}
            }
        }
    }

    /// AL1 and IAM share type, allergen and severity.
    fn allergy(&mut self, segment: &Segment<'_>, reaction: usize, onset: usize) {
        let Some(code) = self.reader.concept(segment.first(3)) else {
            if segment.fields_count() > 1 {
                let text = "an allergy without an allergen was left out";
                self.issue(Issue::warning(Self::place(segment, 3), text));
            }
            return;
        };
        let is_iam = segment.name() == "IAM";
        let deleted = is_iam && segment.first(6).at(1).as_deref() == Some("D");
        let mut allergy = resource("AllergyIntolerance");
        if is_iam {
            allergy.push("identifier", self.reader.entity(segment.first(7), None));
        }
        if deleted {
            let wrong = concept(ALLERGY_VERIFIED, "entered-in-error", "Entered in Error");
            allergy.put("verificationStatus", wrong);
        } else {
            allergy.put("clinicalStatus", concept(ALLERGY_CLINICAL, "active", "Active"));
        }
        let kind = segment.first(2).at(1).unwrap_or_default();
        let find = |map: &str| mapped(map, &kind).map(|found| json!(found.code));
        allergy.put("type", find("allergy-type"));
        allergy.push("category", find("allergy-category"));
        let severity = segment.first(4).at(1).unwrap_or_default();
        let criticality = mapped("allergy-criticality", &severity);
        allergy.put("criticality", criticality.map(|found| json!(found.code)));
        allergy.put("code", code);
        allergy.put("patient", Self::subject());
        allergy.put("encounter", self.encounter.clone());
        allergy.put("onsetDateTime", self.reader.date_time(segment.first(onset)));
        if is_iam {
            allergy.put("recordedDate", self.reader.date_time(segment.first(13)));
        }
        let mut manifestations: Vec<Value> = Vec::new();
        for part in segment.field(reaction).repetitions() {
            manifestations.extend(self.reader.concept(part));
        }
        if !manifestations.is_empty() {
            let mut seen = Object::new();
            seen.put("manifestation", Value::Array(manifestations));
            let severity = mapped("reaction-severity", &severity);
            seen.put("severity", severity.map(|found| json!(found.code)));
            allergy.push("reaction", Value::Object(seen));
        }
        let key = self.patient_bound_key("AllergyIntolerance", &[&coded_key(segment.first(3))]);
        self.add(allergy, Some(key));
    }

    fn diagnosis(&mut self, dg1: &Segment<'_>) {
        let mut code = self.reader.concept(dg1.first(3)).unwrap_or_else(|| json!({}));
        if let (Some(object), Some(text)) = (code.as_object_mut(), dg1.first(4).value()) {
            object.insert("text".to_owned(), json!(text));
        }
        if code.as_object().is_none_or(Object::is_empty) {
            let text = "a diagnosis without code or text was left out";
            self.issue(Issue::warning(Self::place(dg1, 3), text));
            return;
        }
        // DG1-2 names the coding system where DG1-3 does not (before 2.3).
        let kind = dg1.first(6).at(1).unwrap_or_default().to_ascii_uppercase();
        let deleted = dg1.first(21).at(1).as_deref() == Some("D");
        let mut condition = resource("Condition");
        let identifier = self.reader.entity(dg1.first(20), None);
        condition.push("identifier", identifier.clone());
        if deleted {
            let wrong = concept(VERIFIED, "entered-in-error", "Entered in Error");
            condition.put("verificationStatus", wrong);
        } else if let Some(found) = mapped("diagnosis-verification", &kind) {
            condition.put("verificationStatus", concept(VERIFIED, found.code, found.display));
        }
        let category = concept(CONDITION_CATEGORY, "encounter-diagnosis", "Encounter Diagnosis");
        condition.push("category", category);
        condition.put("code", code);
        condition.put("subject", Self::subject());
        condition.put("encounter", self.encounter.clone());
        condition.put("onsetDateTime", self.reader.date_time(dg1.first(5)));
        condition.put("recordedDate", self.reader.date_time(dg1.first(19)));
        condition.put("asserter", self.practitioner(dg1.field(16), false));
        let visit = self.visit_key.clone().unwrap_or_default();
        let key = match identifier {
            Some(identifier) => natural_key("Condition", &[&key_of(&identifier)]),
            None => {
                let name = coded_key(dg1.first(3));
                let text = dg1.first(4).value().unwrap_or_default();
                let name = if name.is_empty() { text } else { name };
                self.patient_bound_key("Condition", &[&visit, &name, &kind])
            }
        };
        let url = self.add(condition, Some(key));
        if !deleted {
            self.diagnosis_of_visit(dg1, &kind, &url);
        }
    }

    /// DG1 to Encounter.diagnosis.
    fn diagnosis_of_visit(&mut self, dg1: &Segment<'_>, kind: &str, condition: &str) {
        let visit = self.encounter.as_ref().and_then(|visit| visit.get("reference"));
        let Some(visit) = visit.and_then(Value::as_str).map(str::to_owned) else { return };
        let mut diagnosis = Object::new();
        diagnosis.put("condition", reference(condition));
        let found = mapped("diagnosis-use", kind);
        diagnosis.put("use", found.map(|found| concept(found.system, found.code, found.display)));
        let rank = dg1.first(15).at(1).and_then(|text| text.parse::<u32>().ok());
        diagnosis.put("rank", rank.filter(|rank| *rank > 0).map(|rank| json!(rank)));
        if let Some(encounter) = self.added(&visit) {
            encounter.push("diagnosis", Value::Object(diagnosis));
        }
    }

    fn problem(&mut self, prb: &Segment<'_>) {
        let Some(code) = self.reader.concept(prb.first(3)) else {
            let text = "a problem without a code or text was left out";
            self.issue(Issue::warning(Self::place(prb, 3), text));
            return;
        };
        let mut condition = resource("Condition");
        let identifier = self.reader.entity(prb.first(4), None);
        condition.push("identifier", identifier.clone());
        let resolved = self.reader.date_time(prb.first(9));
        if prb.first(1).at(1).as_deref() == Some("DE") {
            let wrong = concept(VERIFIED, "entered-in-error", "Entered in Error");
            condition.put("verificationStatus", wrong);
        } else {
            let (state, display) =
                if resolved.is_some() { ("resolved", "Resolved") } else { ("active", "Active") };
            condition.put("clinicalStatus", concept(CLINICAL, state, display));
        }
        condition.push(
            "category",
            concept(CONDITION_CATEGORY, "problem-list-item", "Problem List Item"),
        );
        condition.put("code", code);
        condition.put("subject", Self::subject());
        condition.put("onsetDateTime", self.reader.date_time(prb.first(16)));
        condition.put("abatementDateTime", resolved);
        condition.put("recordedDate", self.reader.date_time(prb.first(2)));
        let key = match identifier {
            Some(identifier) => natural_key("Condition", &[&key_of(&identifier)]),
            None => {
                let name = coded_key(prb.first(3));
                self.patient_bound_key("Condition", &["problem", &name])
            }
        };
        self.add(condition, Some(key));
    }

    fn procedure(&mut self, pr1: &Segment<'_>) {
        let code = self.reader.concept(pr1.first(3));
        let text = || pr1.first(4).value().map(|text| json!({"text": text}));
        let Some(code) = code.or_else(text) else {
            let text = "a procedure without code or text was left out";
            self.issue(Issue::warning(Self::place(pr1, 3), text));
            return;
        };
        let deleted = pr1.first(20).at(1).as_deref() == Some("D");
        let mut procedure = resource("Procedure");
        let identifier = self.reader.entity(pr1.first(19), None);
        procedure.push("identifier", identifier.clone());
        procedure.put("status", json!(if deleted { "entered-in-error" } else { "completed" }));
        procedure.put("code", code);
        procedure.put("subject", Self::subject());
        procedure.put("encounter", self.encounter.clone());
        let at = self.reader.moment(pr1.first(5)).map(|moment| moment.date_time());
        procedure.put_text("performedDateTime", at.clone());
        for field in [11, 12] {
            for actor in self.practitioners(pr1.field(field), false) {
                procedure.push("performer", json!({"actor": actor}));
            }
        }
        let key = match identifier {
            Some(identifier) => natural_key("Procedure", &[&key_of(&identifier)]),
            None => {
                let name = coded_key(pr1.first(3));
                self.patient_bound_key("Procedure", &[&name, &at.unwrap_or_default()])
            }
        };
        self.add(procedure, Some(key));
    }
}

/// Code and system of a coded field, or its text, for natural keys.
fn coded_key(part: Part<'_>) -> String {
    match part.at(1) {
        Some(code) => format!("{}^{}", code, part.at(3).unwrap_or_default()),
        None => part.at(2).or_else(|| part.at(9)).unwrap_or_default().to_lowercase(),
    }
}
