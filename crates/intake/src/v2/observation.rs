//! OBX: results.

use serde_json::{Value, json};

use super::Conversion;
use super::group::Finding;
use super::order::{OBSERVATION_CATEGORY, Results, Scope, notes_of};
use super::value::{put_value, reference_range};
use crate::converted::{Issue, Refusal};
use crate::hl7v2::Segment;
use crate::json::{Object, Put, concept, reference, resource, some};
use crate::natural_key;
use crate::vocabulary::mapped;

const ABSENT: &str = "http://terminology.hl7.org/CodeSystem/data-absent-reason";

impl Conversion<'_> {
    /// Converts findings in order. Successive text lines of the same
    /// observation are one value.
    pub(super) fn findings(
        &mut self,
        findings: &[Finding<'_>],
        scope: &Scope,
    ) -> Result<Results, Refusal> {
        let mut results = Results::default();
        let mut rest = findings;
        while let Some((first, after)) = rest.split_first() {
            self.check_bound()?;
            let kind = first.obx.first(2).at(1).unwrap_or_default().to_ascii_uppercase();
            if matches!(kind.as_str(), "ED" | "RP") {
                self.file(&first.obx, scope, &mut results);
                rest = after;
                continue;
            }
            let more = after.iter().take_while(|next| goes_on(first, next)).count();
            let lines = rest.get(..=more).unwrap_or_default();
            self.finding(lines, &kind, scope, &mut results);
            rest = after.get(more..).unwrap_or_default();
        }
        Ok(results)
    }

    fn finding(&mut self, lines: &[Finding<'_>], kind: &str, scope: &Scope, results: &mut Results) {
        let Some(first) = lines.first() else { return };
        let obx = &first.obx;
        let Some(code) = self.reader.concept(obx.first(3)) else {
            let has_value = !obx.field(5).is_empty();
            let text = "a result that does not say what was observed was left out";
            let place = Self::place(obx, 3);
            self.issue(if has_value {
                Issue::error(place, text)
            } else {
                Issue::information(place, text)
            });
            return;
        };
        let mut observation = resource("Observation");
        if let Some(identifier) = self.reader.entity(obx.first(21), Some("FILL")) {
            observation.push("identifier", identifier);
        }
        observation.push("basedOn", scope.request.clone());
        let status = self.finding_status(obx, scope);
        observation.put("status", json!(status));
        let name = obx.first(3).at(1).unwrap_or_default();
        let category = mapped("observation-category", &name).filter(|_| name.contains('-'));
        if let Some(category) = category.map(|found| found.code).or(scope.category) {
            let display = match category {
                "laboratory" => "Laboratory",
                "vital-signs" => "Vital Signs",
                "imaging" => "Imaging",
                "procedure" => "Procedure",
                _ => "Social History",
            };
            observation.push("category", concept(OBSERVATION_CATEGORY, category, display));
        }
        observation.put("code", code.clone());
        observation.put("subject", Self::subject());
        observation.put("encounter", self.encounter.clone());
        let at = self.reader.date_time(obx.first(14)).or_else(|| scope.effective.clone());
        observation.put("effectiveDateTime", at);
        observation.put("issued", scope.issued.clone());
        for performer in self.practitioners(obx.field(16), false) {
            observation.push("performer", performer);
        }
        observation.push("performer", self.performing_organization(obx));
        let texts: Vec<Segment<'_>> = lines.iter().map(|line| line.obx).collect();
        let put = put_value(&self.reader, &mut observation, &texts, kind, &code);
        if let Err(text) = put {
            self.issue(Issue::warning(Self::place(obx, 5), text));
        }
        let has_value = observation.keys().any(|key| key.starts_with("value"));
        if !has_value {
            let reason = match obx.first(11).at(1).as_deref() {
                Some("N") => Some(("not-asked", "Not Asked")),
                _ if matches!(status, "final" | "corrected" | "amended") => {
                    Some(("unknown", "Unknown"))
                }
                _ => None,
            };
            let reason = reason.map(|(code, display)| concept(ABSENT, code, display));
            observation.put("dataAbsentReason", reason);
        }
        for part in obx.field(8).repetitions() {
            let flag = self.reader.table_concept(part, "interpretation", "0078");
            // HL7's own code beside the mapped one says nothing more.
            observation.push("interpretation", flag);
        }
        let notes: Vec<Segment<'_>> = lines.iter().flat_map(|line| line.notes.clone()).collect();
        observation.push("note", notes_of(&notes));
        observation.put("bodySite", self.reader.concept(obx.first(20)));
        observation.put("method", self.reader.concept(obx.first(17)));
        observation.put("specimen", scope.specimen.clone());
        if let Some(range) = obx.field(7).value() {
            let unit = obx.first(6);
            observation.push("referenceRange", reference_range(&self.reader, &range, unit));
        }
        let key = self.finding_key(obx, scope);
        results.statuses.push(status);
        let url = self.add(observation, Some(key));
        results.references.push(reference(&url));
    }

    fn finding_status(&mut self, obx: &Segment<'_>, scope: &Scope) -> &'static str {
        let sent = obx.first(11).at(1).unwrap_or_default();
        if let Some(found) = mapped("observation-status", &sent) {
            return found.code;
        }
        let text = "the result has no known status";
        self.issue(Issue::warning(Self::place(obx, 11), text));
        scope.status.unwrap_or("unknown")
    }

    /// Order, OBX-3 and OBX-4; the time as well where there is no order.
    fn finding_key(&self, obx: &Segment<'_>, scope: &Scope) -> String {
        let name = obx.first(3);
        let code = name.at(1).or_else(|| name.at(2)).unwrap_or_default();
        let system = name.at(3).unwrap_or_default();
        let sub_id = obx.field(4).value().unwrap_or_default();
        if scope.has_report || scope.request.is_some() {
            return natural_key("Observation", &[&scope.key, &code, &system, &sub_id]);
        }
        let at = self.reader.moment(obx.first(14)).map(|moment| moment.date_time());
        let at = at.or_else(|| scope.effective.as_ref()?.as_str().map(str::to_owned));
        let at = at.unwrap_or_default();
        natural_key("Observation", &[&scope.key, &code, &system, &sub_id, &at])
    }

    /// OBX-23, or OBX-15 in older messages.
    fn performing_organization(&self, obx: &Segment<'_>) -> Option<Value> {
        self.reader.organization(obx.first(23)).or_else(|| {
            let producer = obx.first(15);
            let mut found = Object::new();
            if let Some(id) = producer.at(1) {
                let system = producer.at(3).unwrap_or_else(|| "producer".to_owned());
                let system = match system.to_ascii_uppercase().as_str() {
                    "CLIA" => "urn:oid:2.16.840.1.113883.4.7".to_owned(),
                    _ => self.reader.settings.system_of(&system),
                };
                found.put("identifier", json!({"system": system, "value": id}));
            }
            found.put_text("display", producer.at(2));
            let mut found = some(found)?;
            found.as_object_mut()?.insert("type".to_owned(), json!("Organization"));
            Some(found)
        })
    }
}

/// Whether `next` is a further line of the text that `first` began.
fn goes_on(first: &Finding<'_>, next: &Finding<'_>) -> bool {
    let is_text =
        |finding: &Finding<'_>| matches!(finding.obx.first(2).raw().trim_ascii(), b"TX" | b"FT");
    let same = |field: usize| first.obx.field(field).raw() == next.obx.field(field).raw();
    is_text(first) && is_text(next) && same(3) && same(4) && same(11)
}
