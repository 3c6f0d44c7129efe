//! Problem concerns and observations to Condition.

use serde_json::{Value, json};

use super::people::Actors;
use super::xml::{Lookup, Node};
use super::{Conversion, concept_key, time_key};
use crate::converted::Refusal;
use crate::json::{Object, Put, concept, extension, reference, resource};
use crate::vocabulary::mapped;

const CLINICAL: &str = "http://terminology.hl7.org/CodeSystem/condition-clinical";
const VERIFICATION: &str = "http://terminology.hl7.org/CodeSystem/condition-ver-status";
const ASSERTED: &str = "http://hl7.org/fhir/StructureDefinition/condition-assertedDate";
const SNOMED: &str = "http://snomed.info/sct";
/// "Problem", "disease", "condition": what is negated when there is none.
const ANY_PROBLEM: [&str; 3] = ["55607006", "64572001", "404684003"];
const PROBLEM_OBSERVATION: &str = "2.16.840.1.113883.10.20.22.4.4";
const STATUS_CODE: &str = "33999-4";
const COMMENT_CODE: &str = "48767-8";

impl<'d> Conversion<'d> {
    /// An act around problem observations; each becomes a Condition.
    pub(super) fn problem_concern(&mut self, act: Node<'d>, section: &str) -> Result<(), Refusal> {
        let problems: Vec<Node<'d>> = act
            .related("")
            .filter(|inner| {
                let is_status = inner.code() == Some(STATUS_CODE);
                inner.tag_name().name() == "observation"
                    && (inner.is_template(PROBLEM_OBSERVATION)
                        || (inner.child("value").is_some() && !is_status))
            })
            .collect();
        if problems.is_empty() {
            self.warn(act, "a concern without a problem was left out");
        }
        for problem in problems {
            self.check_bound()?;
            self.problem(problem, Some(act), section);
        }
        Ok(())
    }

    /// Adds a Condition and gives its URL.
    pub(super) fn problem(
        &mut self,
        node: Node<'d>,
        concern: Option<Node<'d>>,
        section: &str,
    ) -> Option<String> {
        let mut condition = resource("Condition");
        for identifier in self.reader.identifiers(node) {
            condition.push("identifier", identifier);
        }
        let value = node.child("value");
        let code = value.and_then(|value| self.reader.concept(value));
        let code = code.or_else(|| self.said(node).map(|text| json!({"text": text})));
        let Some(mut code) = code else {
            self.warn(node, "a problem that says nothing of what it is was left out");
            return None;
        };
        let mut verification = None;
        if node.is_negated() {
            let negated = value.and_then(|value| value.attr("code")).unwrap_or_default();
            if ANY_PROBLEM.contains(&negated) {
                code = concept(SNOMED, "160245001", "No current problems or disability");
            } else if self.is_nothing(node, &code) {
                return None;
            } else {
                verification = Some(concept(VERIFICATION, "refuted", "Refuted"));
            }
        }
        let interval = self.reader.effective(node);
        let status = node.child("statusCode").and_then(|status| status.attr("code"));
        let in_error = status == Some("nullified")
            || concern.and_then(|act| act.child("statusCode")?.attr("code")) == Some("nullified");
        if in_error {
            verification = Some(concept(VERIFICATION, "entered-in-error", "Entered in Error"));
        } else {
            // R4 con-4: what has ended is not active.
            let (code, display) = match self.problem_status(node, concern) {
                ("active" | "recurrence" | "relapse", _)
                    if interval.ended && !interval.is_point =>
                {
                    ("inactive", "Inactive")
                }
                found => found,
            };
            condition.put("clinicalStatus", concept(CLINICAL, code, display));
        }
        condition.put("verificationStatus", verification);
        let category =
            mapped("ccda-category", section).or_else(|| mapped("ccda-category", "11450-4"));
        if let Some(found) = category {
            condition.push("category", concept(found.system, found.code, found.display));
        }
        condition.put("severity", self.related_value(node, "SEV"));
        condition.put("code", code);
        for site in node.all("targetSiteCode") {
            condition.push("bodySite", self.reader.concept(site));
        }
        condition.put("subject", Self::subject());
        condition.put("encounter", self.encounter_here(section));
        condition.put("onsetDateTime", interval.start());
        if !condition.contains_key("onsetDateTime") {
            condition.put("onsetAge", self.age_at_onset(node));
        }
        match interval.end() {
            Some(end) => condition.put("abatementDateTime", end),
            None if interval.ended && !interval.is_point => {
                condition.put("_abatementDateTime", super::datatypes::data_absent("unknown"));
            }
            None => {}
        }
        condition.put("recordedDate", self.recorded(node));
        let recorder = self.author(node, Actors::People);
        condition.put("recorder", recorder);
        self.notes(node, &mut condition);
        let diagnosed = node.related("").find(|act| act.code() == Some("77975-1"));
        let diagnosed = diagnosed.and_then(|act| self.reader.effective(act).start());
        condition.push("extension", diagnosed.map(|at| extension(ASSERTED, "valueDateTime", at)));
        let name = concept_key(condition.get("code"));
        let onset = time_key(&condition, &["onsetDateTime"]);
        Some(self.add_statement("Condition", condition, "", &[&name, &onset]))
    }

    /// What the status observation says, or the concern's own status.
    fn problem_status(
        &self,
        node: Node<'d>,
        concern: Option<Node<'d>>,
    ) -> (&'static str, &'static str) {
        let around = concern.into_iter().flat_map(|act| act.related("").collect::<Vec<_>>());
        let mut statuses =
            node.related("").chain(around).filter(|it| it.code() == Some(STATUS_CODE));
        let said = statuses.find_map(|status| {
            let value = status.child("value")?;
            mapped("ccda-problem-status", value.attr("code")?)
        });
        let own = || {
            let status = concern?.child("statusCode")?.attr("code")?;
            mapped("ccda-concern-status", status)
        };
        said.or_else(own).map_or(("active", "Active"), |found| (found.code, found.display))
    }

    fn age_at_onset(&self, node: Node<'d>) -> Option<Value> {
        let age = node.related("").find(|it| it.code() == Some("445518008"))?;
        let age = self.reader.quantity(age.child("value")?)?;
        // R4 age-1: a UCUM code.
        age.get("code").is_some().then_some(age)
    }

    /// The encounter of the document, for what is told of it.
    fn encounter_here(&self, section: &str) -> Option<Value> {
        let told_of = matches!(section, "46241-6" | "11535-2");
        self.encounter.clone().filter(|_| told_of)
    }

    /// The value of a related observation with this code, as a concept.
    pub(super) fn related_value(&self, node: Node<'d>, code: &str) -> Option<Value> {
        let found = node.related("").find(|it| it.code() == Some(code))?;
        self.reader.child_concept(found, "value")
    }

    /// Comment Activities, as notes.
    pub(super) fn notes(&self, node: Node<'d>, object: &mut Object) {
        let comments = node.related("").filter(|it| it.code() == Some(COMMENT_CODE));
        for comment in comments {
            let text = comment.child("text").and_then(|text| self.reader.narrative.text(text));
            let Some(text) = text else { continue };
            let mut note = Object::new();
            let time = comment.child("author").and_then(|author| author.child("time"));
            note.put("time", time.and_then(|time| self.reader.date_time(time)));
            note.put("text", json!(text));
            object.push("note", Value::Object(note));
        }
    }

    /// The text of a statement, where its code says nothing.
    pub(super) fn said(&self, node: Node<'d>) -> Option<String> {
        self.reader.narrative.text(node.child("text")?)
    }

    /// Indications: a problem of the document by reference, others by code.
    pub(super) fn reasons(&self, node: Node<'d>, object: &mut Object) {
        for reason in node.related("RSON") {
            match self.statement("Condition", reason) {
                Some(url) => object.push("reasonReference", reference(&url)),
                None => object.push("reasonCode", self.reader.child_concept(reason, "value")),
            }
        }
    }
}
