//! Allergy concerns and observations to AllergyIntolerance.

use serde_json::{Value, json};

use super::people::Actors;
use super::xml::{Lookup, Node};
use super::{Conversion, concept_key, time_key};
use crate::converted::Refusal;
use crate::json::{Object, Put, concept, extension, resource, some};
use crate::vocabulary::mapped;

const CLINICAL: &str = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical";
const VERIFICATION: &str = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification";
const STATUS_CODE: &str = "33999-4";
const SEVERITY_CODE: &str = "SEV";
const CRITICALITY_CODE: &str = "82606-5";

impl<'d> Conversion<'d> {
    /// An act around allergy observations; each becomes a resource.
    pub(super) fn allergy_concern(&mut self, act: Node<'d>) -> Result<(), Refusal> {
        let observations: Vec<Node<'d>> = act
            .related("")
            .filter(|inner| {
                inner.tag_name().name() == "observation" && inner.code() != Some(STATUS_CODE)
            })
            .collect();
        if observations.is_empty() {
            self.warn(act, "a concern without an allergy was left out");
        }
        for observation in observations {
            self.check_bound()?;
            self.allergy(observation, Some(act));
        }
        Ok(())
    }

    pub(super) fn allergy(&mut self, node: Node<'d>, concern: Option<Node<'d>>) {
        let mut allergy = resource("AllergyIntolerance");
        for identifier in self.reader.identifiers(node) {
            allergy.push("identifier", identifier);
        }
        let value = node.child("value");
        let kind = value.and_then(|value| value.attr("code")).unwrap_or_default();
        let Some((code, is_refuted)) = self.allergy_code(node, kind) else {
            self.warn(node, "an allergy that says nothing of what it is was left out");
            return;
        };
        let status = concern.and_then(|act| act.child("statusCode")?.attr("code"));
        let own = node.child("statusCode").and_then(|it| it.attr("code"));
        let in_error = own == Some("nullified") || status == Some("nullified");
        if in_error {
            let code = concept(VERIFICATION, "entered-in-error", "Entered in Error");
            allergy.put("verificationStatus", code);
        } else {
            let (code, display) = self.allergy_status(node, concern);
            allergy.put("clinicalStatus", concept(CLINICAL, code, display));
            if is_refuted {
                allergy.put("verificationStatus", concept(VERIFICATION, "refuted", "Refuted"));
            }
        }
        let of_kind = |map: &str| mapped(map, kind).map(|found| json!(found.code));
        allergy.put("type", of_kind("ccda-allergy-type"));
        allergy.push("category", of_kind("ccda-allergy-category"));
        let criticality = node
            .related("")
            .find(|it| it.code() == Some(CRITICALITY_CODE))
            .and_then(|it| mapped("ccda-criticality", it.child("value")?.attr("code")?));
        allergy.put("criticality", criticality.map(|found| json!(found.code)));
        allergy.put("code", code);
        allergy.put("patient", Self::subject());
        let interval = self.reader.effective(node);
        allergy.put("onsetDateTime", interval.start());
        if let Some(end) = interval.end() {
            let url = "http://hl7.org/fhir/StructureDefinition/allergyintolerance-abatement";
            allergy.push("extension", extension(url, "valueDateTime", end));
        }
        allergy.put("recordedDate", self.recorded(node));
        let recorder = self.author(node, Actors::People);
        allergy.put("recorder", recorder);
        self.notes(node, &mut allergy);
        let reactions = self.reactions(node);
        for reaction in reactions {
            allergy.push("reaction", reaction);
        }
        let name = concept_key(allergy.get("code"));
        let onset = time_key(&allergy, &["onsetDateTime"]);
        self.add_statement("AllergyIntolerance", allergy, "", &[&name, &onset]);
    }

    /// The substance; for a negated one "no known …" where there is such a code.
    /// The second: the allergy is denied.
    fn allergy_code(&self, node: Node<'d>, kind: &str) -> Option<(Value, bool)> {
        let substance = node
            .all("participant")
            .filter_map(|participant| participant.path(&["participantRole", "playingEntity"]))
            .next();
        let code = substance.and_then(|entity| entity.child("code"));
        let name = || {
            let name = substance?.child("name")?;
            Some(json!({"text": self.reader.narrative.plain(name)?}))
        };
        let known = code.and_then(|code| self.reader.concept(code)).or_else(name);
        let is_coded = known.as_ref().is_some_and(|code| code.get("coding").is_some());
        if node.is_negated() {
            if !is_coded && let Some(found) = mapped("ccda-no-known-allergy", kind) {
                return Some((concept(found.system, found.code, found.display), false));
            }
            // The text of a denied allergy may hold the denial.
            return known.filter(|_| is_coded).map(|code| (code, true));
        }
        // Some name the kind of allergy ("allergy to penicillin") or a text.
        let value = || {
            let value = node.child("value")?;
            let is_kind = mapped("ccda-allergy-type", kind).is_some()
                || mapped("ccda-no-known-allergy", kind).is_some();
            self.reader.concept(value).filter(|_| !is_kind)
        };
        let text = || self.said(node).map(|text| json!({"text": text}));
        known.or_else(value).or_else(text).map(|code| (code, false))
    }

    fn allergy_status(
        &self,
        node: Node<'d>,
        concern: Option<Node<'d>>,
    ) -> (&'static str, &'static str) {
        let mut statuses = node.related("").filter(|it| it.code() == Some(STATUS_CODE));
        let said = statuses.find_map(|status| {
            let value = status.child("value")?;
            mapped("ccda-allergy-status", value.attr("code")?)
        });
        let own = || {
            let status = concern?.child("statusCode")?.attr("code")?;
            mapped("ccda-concern-status", status)
        };
        said.or_else(own).map_or(("active", "Active"), |found| (found.code, found.display))
    }

    /// Reactions; a severity of the allergy as a whole counts for those that
    /// have none of their own.
    fn reactions(&self, node: Node<'d>) -> Vec<Value> {
        let whole = self.severity(node);
        let mut reactions = Vec::new();
        for observation in node.related("").filter(|it| self.is_reaction(*it)) {
            let mut reaction = Object::new();
            let manifestation = self.reader.child_concept(observation, "value");
            let text = || self.said(observation).map(|text| json!({"text": text}));
            let Some(manifestation) = manifestation.or_else(text) else { continue };
            reaction.push("manifestation", manifestation);
            reaction.put("onset", self.reader.effective(observation).start());
            reaction.put("severity", self.severity(observation).or(whole).map(|code| json!(code)));
            reactions.extend(some(reaction));
        }
        if reactions.is_empty()
            && let Some(severity) = whole
        {
            // R4 wants a manifestation of every reaction.
            let unknown = self.reader.null_concept(None);
            reactions.push(json!({"manifestation": [unknown], "severity": severity}));
        }
        reactions
    }

    fn is_reaction(&self, node: Node<'d>) -> bool {
        node.is_template("2.16.840.1.113883.10.20.22.4.9")
            || node.parent_element().and_then(|link| link.attr("typeCode")) == Some("MFST")
    }

    fn severity(&self, node: Node<'d>) -> Option<&'static str> {
        let found = node.related("").find(|it| it.code() == Some(SEVERITY_CODE))?;
        mapped("ccda-severity", found.child("value")?.attr("code")?).map(|found| found.code)
    }
}
