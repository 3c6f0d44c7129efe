//! The encounter of the header and those of the Encounters section.

use serde_json::{Value, json};

use super::people::Actors;
use super::xml::{Lookup, Node};
use super::{Conversion, concept_key, time_key};
use crate::json::{Object, Put, coding, concept, reference, resource, some};
use crate::vocabulary::mapped;

const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
const CPT: &str = "http://www.ama-assn.org/go/cpt";
const NULL_FLAVOR: &str = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const DIAGNOSIS: &str = "2.16.840.1.113883.10.20.22.4.80";
const DIAGNOSIS_CODE: &str = "29308-4";
/// Encounter classes of v3-ActCode.
const CLASSES: [&str; 10] =
    ["AMB", "EMER", "FLD", "HH", "IMP", "ACUTE", "NONAC", "OBSENC", "SS", "VR"];

impl<'d> Conversion<'d> {
    /// Adds an encounter and gives its URL. `section`: where its entry stands;
    /// none for the header's.
    pub(super) fn encounter_of(&mut self, node: Node<'d>, section: Option<&str>) -> Option<String> {
        if node.is_negated() {
            self.warn(node, "an encounter that did not take place was left out");
            return None;
        }
        let identifiers = self.reader.identifiers(node);
        let interval = self.reader.effective(node);
        let code = self.reader.child_concept(node, "code");
        if identifiers.is_empty() && code.is_none() && interval.start.is_none() {
            self.inform(node, "an encounter that says nothing was left out");
            return None;
        }
        let mut encounter = resource("Encounter");
        for identifier in identifiers {
            encounter.push("identifier", identifier);
        }
        encounter.put("status", json!(self.encounter_status(node, section.is_none())));
        encounter.put("class", class_of(code.as_ref()));
        encounter.push("type", code.and_then(without_class));
        encounter.put("subject", Self::subject());
        self.encounter_people(node, &mut encounter);
        let start = interval.start();
        encounter.put("period", self.reader.period_of(start, interval.end()));
        let reasons = node.related("RSON").collect::<Vec<_>>();
        for reason in reasons {
            match self.statement("Condition", reason) {
                Some(url) => encounter.push("reasonReference", reference(&url)),
                None => encounter.push("reasonCode", self.reader.child_concept(reason, "value")),
            }
        }
        self.encounter_diagnoses(node, &mut encounter);
        let mut stay = Object::new();
        let disposition = node
            .extensions("dischargeDispositionCode")
            .chain(node.all("dischargeDispositionCode"))
            .find_map(|code| self.reader.concept(code));
        stay.put("dischargeDisposition", disposition);
        encounter.put("hospitalization", some(stay));
        self.encounter_places(node, &mut encounter);
        if let Some(known) = self.same_visit(node, &encounter) {
            return Some(known);
        }
        let name = concept_key(encounter.get("type").and_then(|types| types.get(0)));
        let at = time_key(&encounter, &["period"]);
        Some(self.add_statement("Encounter", encounter, "", &[&name, &at]))
    }

    /// The header's encounter and one of the section are the same visit when
    /// number and day of arrival are: what the second adds goes into the first.
    fn same_visit(&mut self, node: Node<'d>, encounter: &Object) -> Option<String> {
        let place = self.place_of("Encounter", node)?;
        let day = |encounter: &Object| {
            let start = encounter.get("period")?.get("start")?.as_str()?;
            Some(start.get(..10).unwrap_or(start).to_owned())
        };
        let added = self.converted.resources.get_mut(place)?;
        let url = added.full_url.clone();
        let known = added.resource.as_object_mut()?;
        // What is restricted does not go into what is not.
        let is_labelled = known.contains_key("meta");
        if day(known) != day(encounter) || is_labelled != self.label.is_some() {
            return None;
        }
        let unknown = |class: Option<&Value>| {
            class.and_then(|class| class.get("system")) == Some(&json!(NULL_FLAVOR))
        };
        if unknown(known.get("class")) {
            known.put("class", encounter.get("class").cloned());
        }
        for (name, value) in encounter {
            if !known.contains_key(name) {
                known.insert(name.clone(), value.clone());
            }
        }
        Some(url)
    }

    fn encounter_status(&self, node: Node<'d>, is_header: bool) -> &'static str {
        let status = node.child("statusCode").and_then(|status| status.attr("code"));
        let found = status.and_then(|status| mapped("ccda-encounter-status", status));
        let interval = self.reader.effective(node);
        match (status, found) {
            (Some(status), Some(found)) if !matches!(status, "completed" | "active") => found.code,
            _ if interval.ended => "finished",
            (Some("completed"), _) => "finished",
            (Some("active"), _) => "in-progress",
            _ if is_header && interval.start.is_some() => "in-progress",
            _ => "unknown",
        }
    }

    fn encounter_people(&mut self, node: Node<'d>, encounter: &mut Object) {
        for performer in node.all("performer").collect::<Vec<_>>() {
            let Some(role) = performer.child("assignedEntity") else { continue };
            let Some(individual) = self.actor(role, Actors::People, false) else { continue };
            let function =
                performer.extensions("functionCode").find_map(|it| self.reader.concept(it));
            let mut participant = Object::new();
            participant.push("type", function);
            participant.put("individual", individual);
            encounter.push("participant", some(participant));
        }
        for one in node.all("encounterParticipant").collect::<Vec<_>>() {
            let Some(role) = one.child("assignedEntity") else { continue };
            let Some(individual) = self.actor(role, Actors::People, false) else { continue };
            let code = one.attr("typeCode").unwrap_or("PART");
            let kind = concept(PARTICIPATION, &crate::fhir_type::code_text(code), "");
            encounter.push("participant", json!({"type": [kind], "individual": individual}));
        }
        let responsible = node.path(&["responsibleParty", "assignedEntity"]);
        if let Some(individual) =
            responsible.and_then(|role| self.actor(role, Actors::People, false))
        {
            encounter.push("participant", json!({"individual": individual}));
        }
    }

    fn encounter_diagnoses(&mut self, node: Node<'d>, encounter: &mut Object) {
        let acts: Vec<Node<'d>> = node
            .related("")
            .filter(|act| act.is_template(DIAGNOSIS) || act.code() == Some(DIAGNOSIS_CODE))
            .collect();
        for problem in acts.iter().flat_map(|act| act.related("").collect::<Vec<_>>()) {
            if problem.tag_name().name() != "observation" || self.check_bound().is_err() {
                continue;
            }
            let around = problem.parent_element().and_then(|link| link.parent_element());
            if let Some(url) = self.problem(problem, around, "46240-8") {
                encounter.push("diagnosis", json!({"condition": reference(&url)}));
            }
        }
    }

    fn encounter_places(&mut self, node: Node<'d>, encounter: &mut Object) {
        let mut places = self.contain_locations(node, encounter);
        let facility = node.path(&["location", "healthCareFacility"]);
        if let Some(facility) = facility {
            let id = format!("location-{}", places.len() + 1);
            if let Some(location) = self.location(facility, &id) {
                encounter.push("contained", location);
                places.push(reference(&format!("#{id}")));
            }
            let provider = facility.child("serviceProviderOrganization");
            let provider = provider.and_then(|it| self.reader.organization(it));
            encounter.put("serviceProvider", provider);
        }
        for place in places {
            encounter.push("location", json!({"location": place}));
        }
    }
}

fn codings(code: Option<&Value>) -> impl Iterator<Item = &Value> {
    code.and_then(|code| code.get("coding")).and_then(Value::as_array).into_iter().flatten()
}

fn text<'v>(coding: &'v Value, name: &str) -> &'v str {
    coding.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The class among the codes, or what the kind of visit implies.
fn class_of(code: Option<&Value>) -> Value {
    let class = codings(code).find(|coding| {
        let named = text(coding, "code");
        CLASSES.contains(&named) && text(coding, "system") == ACT_CODE
    });
    if let Some(class) = class {
        return coding(ACT_CODE, text(class, "code"), text(class, "display"));
    }
    let visits = codings(code).filter(|coding| text(coding, "system") == CPT);
    let implied =
        visits.filter_map(|coding| text(coding, "code").parse::<u32>().ok()).find_map(|number| {
            match number {
                99202..=99215 | 99381..=99397 => Some(("AMB", "ambulatory")),
                99221..=99239 => Some(("IMP", "inpatient encounter")),
                99281..=99285 => Some(("EMER", "emergency")),
                _ => None,
            }
        });
    match implied {
        Some((code, display)) => coding(ACT_CODE, code, display),
        None => coding(NULL_FLAVOR, "UNK", "unknown"),
    }
}

/// The codes that are no class.
fn without_class(mut code: Value) -> Option<Value> {
    let object = code.as_object_mut()?;
    if let Some(list) = object.get_mut("coding").and_then(Value::as_array_mut) {
        list.retain(|coding| {
            !(text(coding, "system") == ACT_CODE && CLASSES.contains(&text(coding, "code")))
        });
        if list.is_empty() {
            return None;
        }
    }
    Some(code)
}
