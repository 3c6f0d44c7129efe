//! Results, vital signs, social history and other observations.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::people::Actors;
use super::xml::{Lookup, Node};
use super::{Conversion, concept_key, time_key};
use crate::converted::Refusal;
use crate::json::{Object, Put, concept, reference, resource, some};
use crate::vocabulary::mapped;

const LOINC: &str = "http://loinc.org";
const SECTIONS: &str = "http://terminology.hl7.org/CodeSystem/v2-0074";
const TIMES: [&str; 2] = ["effectiveDateTime", "effectivePeriod"];
const SYSTOLIC: &str = "8480-6";
const DIASTOLIC: &str = "8462-4";
/// Observations whose code says only that something is asserted, by template.
const ASSERTIONS: [(&str, &str, &str); 4] = [
    ("2.16.840.1.113883.10.20.22.4.78", "72166-2", "Tobacco smoking status"),
    ("2.16.840.1.113883.10.22.4.78", "72166-2", "Tobacco smoking status"),
    ("2.16.840.1.113883.10.20.22.4.85", "11367-0", "History of Tobacco use"),
    ("2.16.840.1.113883.10.20.15.3.8", "82810-3", "Pregnancy status"),
];

impl<'d> Conversion<'d> {
    /// A result organizer: a DiagnosticReport and its Observations.
    pub(super) fn results(&mut self, organizer: Node<'d>, section: &str) -> Result<(), Refusal> {
        let mut urls = Vec::new();
        for observation in components(organizer) {
            self.check_bound()?;
            urls.extend(self.observation(observation, section, Some(organizer)));
        }
        let mut report = resource("DiagnosticReport");
        for identifier in self.reader.identifiers(organizer) {
            report.push("identifier", identifier);
        }
        let status = self.result_status(organizer);
        report.put("status", json!(status));
        if section != "18748-4" {
            report.push("category", concept(SECTIONS, "LAB", "Laboratory"));
        }
        let code = self.reader.child_concept(organizer, "code");
        let code = code.unwrap_or_else(|| self.reader.null_concept(organizer.child("code")));
        report.put("code", code);
        report.put("subject", Self::subject());
        self.put_effective(organizer, None, &mut report);
        if time_key(&report, &TIMES).is_empty() {
            // The results know when; one time of all of them is the report's.
            let times = self.times_of(&urls);
            if let Some((name, time)) =
                times.first().filter(|first| times.iter().all(|it| it == *first))
            {
                report.put(name, time.clone());
            }
        }
        for actor in self.performers(organizer, Actors::PeopleAndOrganizations) {
            report.push("performer", actor);
        }
        let specimen = organizer.path(&["specimen", "specimenRole"]);
        if let Some(specimen) = specimen.and_then(|role| self.specimen(role)) {
            report.push("contained", specimen);
            report.push("specimen", reference("#specimen-1"));
        }
        for url in urls {
            report.push("result", reference(&url));
        }
        if !report.contains_key("result")
            && organizer.child("code").and_then(|it| it.attr("code")).is_none()
        {
            self.inform(organizer, "a report that says nothing was left out");
            return Ok(());
        }
        let name = concept_key(report.get("code"));
        let at = time_key(&report, &TIMES);
        self.add_statement("DiagnosticReport", report, "", &[&name, &at]);
        Ok(())
    }

    fn times_of(&self, urls: &[String]) -> Vec<(&'static str, Value)> {
        let added = self.converted.resources.iter().rev().take(urls.len() * 2 + 8);
        let wanted: HashSet<&String> = urls.iter().collect();
        let of_these = added.filter(|added| wanted.contains(&added.full_url));
        let time = |resource: &Value| {
            TIMES.iter().find_map(|name| Some((*name, resource.get(*name)?.clone())))
        };
        of_these.filter_map(|added| time(&added.resource)).collect()
    }

    /// A vital signs organizer: a panel and its Observations; systolic and
    /// diastolic pressures of one time are one Observation.
    pub(super) fn vitals(&mut self, organizer: Node<'d>) -> Result<(), Refusal> {
        let observations = components(organizer);
        let is = |node: &Node<'d>, code: &str| node.code() == Some(code) && !node.is_negated();
        let at = |node: Node<'d>| self.reader.effective(node).start();
        let mut lower: Vec<(Node<'d>, Option<Value>)> = observations
            .iter()
            .filter(|node| is(node, DIASTOLIC))
            .map(|node| (*node, at(*node)))
            .collect();
        let mut pressures: Vec<(Option<Node<'d>>, Option<Node<'d>>)> = Vec::new();
        for upper in observations.iter().filter(|node| is(node, SYSTOLIC)) {
            let time = at(*upper);
            let found = lower.iter().position(|(_, other)| *other == time);
            pressures.push((Some(*upper), found.map(|place| lower.swap_remove(place).0)));
        }
        pressures.extend(lower.into_iter().map(|(node, _)| (None, Some(node))));
        let mut urls = Vec::new();
        for (upper, lower) in pressures {
            self.check_bound()?;
            urls.extend(self.blood_pressure(upper, lower, organizer));
        }
        for observation in observations {
            if !is(&observation, SYSTOLIC) && !is(&observation, DIASTOLIC) {
                self.check_bound()?;
                urls.extend(self.observation(observation, "8716-3", Some(organizer)));
            }
        }
        if urls.is_empty() {
            self.inform(organizer, "a panel that says nothing was left out");
            return Ok(());
        }
        let mut panel = resource("Observation");
        for identifier in self.reader.identifiers(organizer) {
            panel.push("identifier", identifier);
        }
        panel.put("status", json!("final"));
        self.put_category("8716-3", &mut panel);
        let name =
            "Vital signs, weight, height, head circumference, oxygen saturation and BMI panel";
        panel.put("code", concept(LOINC, "85353-1", name));
        panel.put("subject", Self::subject());
        self.put_effective(organizer, None, &mut panel);
        if time_key(&panel, &TIMES).is_empty()
            && let Some((name, time)) = self.times_of(&urls).first()
        {
            panel.put(name, time.clone());
        }
        for url in urls {
            panel.push("hasMember", reference(&url));
        }
        let at = time_key(&panel, &TIMES);
        self.add_statement("Observation", panel, "85353-1", &["85353-1", &at]);
        Ok(())
    }

    fn blood_pressure(
        &mut self,
        upper: Option<Node<'d>>,
        lower: Option<Node<'d>>,
        organizer: Node<'d>,
    ) -> Option<String> {
        let first = upper.or(lower)?;
        let mut pressure = resource("Observation");
        for node in [upper, lower].into_iter().flatten() {
            for identifier in self.reader.identifiers(node) {
                pressure.push("identifier", identifier);
            }
        }
        pressure.put("status", json!(self.result_status(first)));
        self.put_category("8716-3", &mut pressure);
        pressure.put(
            "code",
            concept(LOINC, "85354-9", "Blood pressure panel with all children optional"),
        );
        pressure.put("subject", Self::subject());
        self.put_effective(first, Some(organizer), &mut pressure);
        let performer = self.author(first, Actors::PeopleAndOrganizations);
        pressure.push("performer", performer);
        pressure.put("bodySite", self.reader.child_concept(first, "targetSiteCode"));
        pressure.put("method", self.reader.child_concept(first, "methodCode"));
        self.notes(first, &mut pressure);
        for node in [upper, lower].into_iter().flatten() {
            let mut component = Object::new();
            component.put("code", self.reader.child_concept(node, "code"));
            self.put_value(node, &mut component);
            for code in node.all("interpretationCode") {
                component.push("interpretation", self.reader.concept(code));
            }
            self.put_ranges(node, &mut component);
            pressure.push("component", some(component));
        }
        let at = time_key(&pressure, &TIMES);
        Some(self.add_statement("Observation", pressure, "85354-9", &["85354-9", &at]))
    }

    /// An organizer whose observations stand for themselves.
    pub(super) fn measurements(
        &mut self,
        organizer: Node<'d>,
        section: &str,
    ) -> Result<(), Refusal> {
        for observation in components(organizer) {
            self.check_bound()?;
            self.observation(observation, section, Some(organizer));
        }
        Ok(())
    }

    /// Adds an Observation and gives its URL.
    pub(super) fn observation(
        &mut self,
        node: Node<'d>,
        section: &str,
        organizer: Option<Node<'d>>,
    ) -> Option<String> {
        if node.is_negated() {
            self.warn(node, "an observation that is denied was left out");
            return None;
        }
        let code = match (self.asserted(node), self.reader.child_concept(node, "code")) {
            (Some(code), _) | (None, Some(code)) => code,
            (None, None) => {
                let Some(text) = self.said(node) else {
                    self.warn(node, "an observation that says nothing of what it is was left out");
                    return None;
                };
                json!({"text": text})
            }
        };
        let mut observation = resource("Observation");
        for identifier in self.reader.identifiers(node) {
            observation.push("identifier", identifier);
        }
        observation.put("status", json!(self.result_status(node)));
        self.put_category(section, &mut observation);
        observation.put("code", code);
        observation.put("subject", Self::subject());
        self.put_effective(node, organizer, &mut observation);
        for actor in self.performers(node, Actors::PeopleAndOrganizations) {
            observation.push("performer", actor);
        }
        if !observation.contains_key("performer") {
            let author = self.author(node, Actors::PeopleAndOrganizations);
            observation.push("performer", author);
        }
        self.put_value(node, &mut observation);
        for code in node.all("interpretationCode") {
            observation.push("interpretation", self.reader.concept(code));
        }
        self.notes(node, &mut observation);
        observation.put("bodySite", self.reader.child_concept(node, "targetSiteCode"));
        observation.put("method", self.reader.child_concept(node, "methodCode"));
        let specimen = node.path(&["specimen", "specimenRole"]);
        if let Some(specimen) = specimen.and_then(|role| self.specimen(role)) {
            observation.push("contained", specimen);
            observation.put("specimen", reference("#specimen-1"));
        }
        self.put_ranges(node, &mut observation);
        let name = concept_key(observation.get("code"));
        let at = time_key(&observation, &TIMES);
        // Senders give all results of a panel one number: the code counts too.
        let url = self.add_statement("Observation", observation, &name, &[section, &name, &at]);
        Some(url)
    }

    /// The code that a template stands for where the document writes ASSERTION.
    fn asserted(&self, node: Node<'d>) -> Option<Value> {
        if node.code() != Some("ASSERTION") {
            return None;
        }
        let (_, code, display) = ASSERTIONS.iter().find(|(root, ..)| node.is_template(root))?;
        Some(concept(LOINC, code, display))
    }

    fn result_status(&self, node: Node<'d>) -> &'static str {
        let status = node.child("statusCode").and_then(|status| status.attr("code"));
        let found = status.and_then(|status| mapped("ccda-result-status", status));
        found.map_or("unknown", |found| found.code)
    }

    fn put_category(&self, section: &str, object: &mut Object) {
        if let Some(found) = mapped("ccda-observation-category", section) {
            object.push("category", concept(found.system, found.code, found.display));
        }
    }

    fn put_effective(&self, node: Node<'d>, organizer: Option<Node<'d>>, object: &mut Object) {
        let own = self.reader.effective(node);
        self.reader.put_time(object, "effective", &own);
        if let Some(organizer) = organizer.filter(|_| time_key(object, &TIMES).is_empty()) {
            self.reader.put_time(object, "effective", &self.reader.effective(organizer));
        }
    }

    fn specimen(&self, role: Node<'d>) -> Option<Value> {
        let entity = role.child("specimenPlayingEntity");
        let kind = entity.and_then(|entity| self.reader.child_concept(entity, "code"));
        let name = || {
            let name = entity?.child("name")?;
            Some(json!({"text": self.reader.narrative.plain(name)?}))
        };
        let identifiers = self.reader.identifiers(role);
        let kind = kind.or_else(name);
        if kind.is_none() && identifiers.is_empty() {
            return None;
        }
        let mut specimen = resource("Specimen");
        specimen.put("id", json!("specimen-1"));
        for identifier in identifiers {
            specimen.push("identifier", identifier);
        }
        specimen.put("type", kind);
        specimen.put("subject", Self::subject());
        some(specimen)
    }
}

/// The observations of an organizer.
fn components<'d>(organizer: Node<'d>) -> Vec<Node<'d>> {
    let parts = organizer.all("component").filter_map(|part| part.child("observation"));
    parts.collect()
}
