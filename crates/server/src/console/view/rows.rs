//! Sections that are lists: problems, allergies, medications, immunizations,
//! procedures, visits.
//!
//! The same problem, allergy or medication in several records is one row that
//! names all its sources; nothing that any of them says is dropped.

use std::collections::BTreeMap;

use serde_json::Value;

use super::chart::Item;
use super::moment::{Moment, moment_of};
use super::text::{
    codes, concept, concept_key, first_concept, has_code, joined, list, named, number,
    quantity_line, text, words,
};

/// What a section lists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// AllergyIntolerance.
    Allergies,
    /// Condition.
    Problems,
    /// MedicationRequest, MedicationStatement, MedicationDispense.
    Medications,
    /// Immunization.
    Immunizations,
    /// Procedure.
    Procedures,
    /// Encounter.
    Visits,
}

impl Section {
    /// FHIR types that it lists.
    pub fn types(self) -> &'static [&'static str] {
        match self {
            Self::Allergies => &["AllergyIntolerance"],
            Self::Problems => &["Condition"],
            Self::Medications => {
                &["MedicationRequest", "MedicationStatement", "MedicationDispense"]
            }
            Self::Immunizations => &["Immunization"],
            Self::Procedures => &["Procedure"],
            Self::Visits => &["Encounter"],
        }
    }
}

/// One line of a list.
pub(crate) struct Row {
    /// What it is.
    pub title: String,
    /// What more there is to say, one line each.
    pub details: Vec<String>,
    /// Status as words; empty when nothing is to be said.
    pub state: String,
    /// Whether it holds now: what no longer holds is shown quieter, below.
    pub current: bool,
    /// Whether it calls for care: a severe allergy.
    pub grave: bool,
    /// Since when, or when.
    pub date: Option<Moment>,
    /// Until when.
    pub until: Option<Moment>,
    /// Places of the records that say so, among the chart's sources.
    pub sources: Vec<usize>,
}

/// The rows of `section`: what holds now first, then the newest first.
pub(crate) fn rows(section: Section, items: &[Item<'_>]) -> Vec<Row> {
    let own = |item: &&Item<'_>| section.types().contains(&text(item.resource, "resourceType"));
    let mut merged: BTreeMap<String, Row> = BTreeMap::new();
    for (place, item) in items.iter().filter(own).enumerate() {
        let (key, row) = row(section, item, items);
        // What cannot be told apart by a code or date stays on its own.
        let key = if row.title.is_empty() { format!("#{place}") } else { key };
        match merged.get_mut(&key) {
            Some(known) => known.absorb(row, section),
            None => drop(merged.insert(key, row)),
        }
    }
    let mut rows: Vec<Row> = merged.into_values().collect();
    for row in &mut rows {
        if row.title.is_empty() {
            row.title = "Not named".to_owned();
        }
    }
    rows.sort_by(|a, b| (b.current, b.grave, &b.date).cmp(&(a.current, a.grave, &a.date)));
    rows
}

impl Row {
    /// Takes in what another record, or an older entry, says of the same thing.
    fn absorb(&mut self, other: Row, section: Section) {
        let earlier_counts = matches!(section, Section::Problems | Section::Allergies);
        if earlier_counts && other.date.is_some() && (self.date.is_none() || other.date < self.date)
        {
            self.date = other.date;
        }
        if other.current && !self.current {
            self.state = other.state;
        }
        self.current |= other.current;
        self.grave |= other.grave;
        for line in other.details {
            if !self.details.contains(&line) {
                self.details.push(line);
            }
        }
        for source in other.sources {
            if !self.sources.contains(&source) {
                self.sources.push(source);
            }
        }
    }
}

fn row(section: Section, item: &Item<'_>, items: &[Item<'_>]) -> (String, Row) {
    let resource = item.resource;
    let (key, mut row) = match section {
        Section::Allergies => allergy(resource),
        Section::Problems => problem(resource),
        Section::Medications => medication(item, items),
        Section::Immunizations => immunization(resource),
        Section::Procedures => procedure(resource),
        Section::Visits => visit(resource, item),
    };
    row.sources = vec![item.source];
    row.details.extend(list(resource, "note").map(|note| text(note, "text").to_owned()));
    row.details.retain(|line| !line.is_empty());
    (key, row)
}

fn blank(title: String, date: Option<Moment>) -> Row {
    Row {
        title,
        details: Vec::new(),
        state: String::new(),
        current: true,
        grave: false,
        date,
        until: None,
        sources: Vec::new(),
    }
}

fn clinical_status(resource: &Value) -> String {
    codes(&resource["clinicalStatus"]).next().unwrap_or_default().to_owned()
}

fn is_over(status: &str) -> bool {
    matches!(status, "inactive" | "remission" | "resolved")
}

fn allergy(resource: &Value) -> (String, Row) {
    let mut row =
        blank(concept(&resource["code"]), moment_of(resource, &["onsetDateTime", "recordedDate"]));
    for reaction in list(resource, "reaction") {
        let seen = joined(list(reaction, "manifestation").map(concept), ", ");
        let severity = text(reaction, "severity");
        row.grave |= severity == "severe";
        let severity = if severity.is_empty() { String::new() } else { format!("({severity})") };
        row.details.push(joined([seen, severity], " "));
    }
    let status = clinical_status(resource);
    row.current = !is_over(&status);
    row.grave |= text(resource, "criticality") == "high";
    row.state = if row.current && row.grave { "High risk".to_owned() } else { words(&status) };
    (concept_key(&resource["code"]), row)
}

fn problem(resource: &Value) -> (String, Row) {
    let date = moment_of(resource, &["onsetDateTime", "onsetPeriod", "recordedDate"]);
    let mut row = blank(concept(&resource["code"]), date);
    row.until = moment_of(resource, &["abatementDateTime", "abatementPeriod"]);
    let status = clinical_status(resource);
    let verified = codes(&resource["verificationStatus"]).next().unwrap_or_default().to_owned();
    row.current = !is_over(&status) && row.until.is_none() && verified != "refuted";
    row.state = match (status.as_str(), verified.as_str()) {
        (_, "provisional" | "differential" | "unconfirmed" | "refuted") => words(&verified),
        ("", _) if has_code(resource, "category", "encounter-diagnosis") => {
            "Visit diagnosis".into()
        }
        (status, _) => words(status),
    };
    let severity = concept(&resource["severity"]);
    row.details.push(joined([severity, first_concept(resource, "bodySite")], ", "));
    (concept_key(&resource["code"]), row)
}

fn medication(item: &Item<'_>, items: &[Item<'_>]) -> (String, Row) {
    let resource = item.resource;
    let drug = drug(item, items);
    let date = moment_of(
        resource,
        &["authoredOn", "effectivePeriod", "effectiveDateTime", "whenHandedOver", "dateAsserted"],
    );
    let mut row = blank(concept(drug), date);
    let dosage = ["dosageInstruction", "dosage"].into_iter().flat_map(|name| list(resource, name));
    row.details = dosage.map(directions).collect();
    let status = text(resource, "status");
    row.current =
        matches!(status, "active" | "intended" | "on-hold" | "draft" | "in-progress" | "");
    row.state = words(status);
    let asked_by = named(&resource["requester"]);
    if !asked_by.is_empty() {
        row.details.push(format!("Prescribed by {asked_by}"));
    }
    row.until = moment_of(&resource["effectivePeriod"], &["end"]);
    let key = format!("{} {} {}", concept_key(drug), status, row.details.join("|"));
    (key, row)
}

/// The medication: said in place, contained, or a resource of the same record.
fn drug<'a>(item: &Item<'a>, items: &[Item<'a>]) -> &'a Value {
    let resource = item.resource;
    let reference = text(&resource["medicationReference"], "reference");
    if let Some(local) = reference.strip_prefix('#') {
        let contained = list(resource, "contained").find(|inner| text(inner, "id") == local);
        return contained.map_or(&Value::Null, |drug| &drug["code"]);
    }
    let id = reference.strip_prefix("Medication/");
    let found = items.iter().find(|other| {
        Some(other.id) == id
            && other.source == item.source
            && text(other.resource, "resourceType") == "Medication"
    });
    found.map_or(&resource["medicationCodeableConcept"], |drug| &drug.resource["code"])
}

/// A Dosage on one line: its text, else dose, route and how often.
fn directions(dosage: &Value) -> String {
    let own = text(dosage, "text");
    if !own.is_empty() {
        return own.to_owned();
    }
    let dose = list(dosage, "doseAndRate").map(|dose| quantity_line(&dose["doseQuantity"])).next();
    let repeat = &dosage["timing"]["repeat"];
    let every = match (number(&repeat["frequency"]), number(&repeat["period"])) {
        (Some(times), Some(period)) => {
            let unit = match text(repeat, "periodUnit") {
                "h" => "hours",
                "d" => "days",
                "wk" => "weeks",
                "mo" => "months",
                other => other,
            };
            format!("{times}× every {period} {unit}")
        }
        _ => concept(&dosage["timing"]["code"]),
    };
    let as_needed =
        if dosage["asNeededBoolean"].as_bool() == Some(true) { "as needed" } else { "" };
    joined([dose.unwrap_or_default(), concept(&dosage["route"]), every, as_needed.to_owned()], ", ")
}

fn immunization(resource: &Value) -> (String, Row) {
    let date = moment_of(resource, &["occurrenceDateTime", "recorded"]);
    let mut row = blank(concept(&resource["vaccineCode"]), date);
    let status = text(resource, "status");
    row.current = status != "not-done";
    row.state = if status == "not-done" { "Not given".to_owned() } else { String::new() };
    let dose = list(resource, "protocolApplied").find_map(|p| number(&p["doseNumberPositiveInt"]));
    let lot = text(resource, "lotNumber");
    row.details.push(joined(
        [
            dose.map_or_else(String::new, |dose| format!("Dose {dose}")),
            concept(&resource["site"]),
            named(&resource["manufacturer"]).to_owned(),
            if lot.is_empty() { String::new() } else { format!("lot {lot}") },
            concept(&resource["statusReason"]),
        ],
        " · ",
    ));
    if resource["primarySource"].as_bool() == Some(false) {
        row.details.push("Reported, not given here".to_owned());
    }
    let day = row.date.as_ref().map_or("", Moment::date).to_owned();
    (format!("{} {day} {status}", concept_key(&resource["vaccineCode"])), row)
}

fn procedure(resource: &Value) -> (String, Row) {
    let date = moment_of(resource, &["performedDateTime", "performedPeriod"]);
    let mut row = blank(concept(&resource["code"]), date);
    let status = text(resource, "status");
    row.current = status != "not-done";
    row.state = if status == "completed" { String::new() } else { words(status) };
    let by = list(resource, "performer").map(|performer| named(&performer["actor"]).to_owned());
    row.details.push(joined(by, ", "));
    let day = row.date.as_ref().map_or("", Moment::date).to_owned();
    (format!("{} {day} {status}", concept_key(&resource["code"])), row)
}

fn visit(resource: &Value, item: &Item<'_>) -> (String, Row) {
    let kind = match text(&resource["class"], "display") {
        "" => text(&resource["class"], "code"),
        display => display,
    };
    let mut row = blank(
        joined([words(kind), first_concept(resource, "type")], " · "),
        moment_of(resource, &["period"]),
    );
    row.until = moment_of(&resource["period"], &["end"]);
    let status = text(resource, "status");
    row.current = true;
    row.state = match status {
        "in-progress" | "arrived" | "triaged" | "onleave" => "Here now".to_owned(),
        "finished" | "unknown" => String::new(),
        other => words(other),
    };
    let reasons = joined(list(resource, "reasonCode").map(concept), ", ");
    let people = joined(
        list(resource, "participant").map(|someone| named(&someone["individual"]).to_owned()),
        ", ",
    );
    let places =
        joined(list(resource, "location").map(|place| named(&place["location"]).to_owned()), ", ");
    row.details = vec![reasons, people, places];
    (format!("{}/{}", item.source, item.id), row)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn items(resources: &[(usize, Value)]) -> Vec<Item<'_>> {
        let all = resources.iter();
        all.map(|(source, resource)| Item { source: *source, id: text(resource, "id"), resource })
            .collect()
    }

    fn condition(status: &str, onset: &str) -> Value {
        json!({"resourceType": "Condition", "onsetDateTime": onset,
            "code": {"coding": [{"system": "sct", "code": "44054006"}], "text": "Type 2 diabetes"},
            "clinicalStatus": {"coding": [{"code": status}]}})
    }

    #[test]
    fn the_same_problem_of_two_records_is_one_row_with_two_sources() {
        let resources =
            [(0, condition("resolved", "2019-05-01")), (1, condition("active", "2015-01-20"))];
        let rows = rows(Section::Problems, &items(&resources));
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].sources.as_slice(), rows[0].state.as_str()),
            ([0, 1].as_slice(), "Active")
        );
        assert_eq!(rows[0].date.as_ref().map(Moment::date), Some("Jan 20, 2015"));
    }

    #[test]
    fn what_holds_now_comes_first_and_a_severe_allergy_before_it() {
        let allergy = |name: &str, status: &str, criticality: &str| {
            json!({"resourceType": "AllergyIntolerance", "code": {"text": name},
                "criticality": criticality, "clinicalStatus": {"coding": [{"code": status}]},
                "reaction": [{"manifestation": [{"text": "Hives"}], "severity": "mild"}]})
        };
        let resources = [
            (0, allergy("Latex", "resolved", "high")),
            (0, allergy("Codeine", "active", "low")),
            (0, allergy("Penicillin", "active", "high")),
        ];
        let rows = rows(Section::Allergies, &items(&resources));
        let titles: Vec<_> = rows.iter().map(|row| row.title.as_str()).collect();
        assert_eq!(titles, ["Penicillin", "Codeine", "Latex"]);
        assert_eq!(
            (rows[0].state.as_str(), rows[0].details.as_slice()),
            ("High risk", ["Hives (mild)".to_owned()].as_slice())
        );
    }

    #[test]
    fn a_medication_is_found_wherever_it_is_named() {
        let resources = [
            (
                0,
                json!({"resourceType": "Medication", "id": "m", "code": {"text": "Metformin 500 mg"}}),
            ),
            (
                0,
                json!({"resourceType": "MedicationRequest", "status": "active",
                "medicationReference": {"reference": "Medication/m"}, "requester": {"display": "Dr. Lee"},
                "dosageInstruction": [{"doseAndRate": [{"doseQuantity": {"value": 1, "unit": "tablet"}}],
                    "timing": {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}}}]}),
            ),
            (
                0,
                json!({"resourceType": "MedicationStatement", "status": "completed",
                "contained": [{"id": "c", "code": {"text": "Amoxicillin"}}],
                "medicationReference": {"reference": "#c"}}),
            ),
        ];
        let rows = rows(Section::Medications, &items(&resources));
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (rows[0].title.as_str(), rows[1].title.as_str()),
            ("Metformin 500 mg", "Amoxicillin")
        );
        assert_eq!(rows[0].details, ["1 tablet, 2× every 1 days", "Prescribed by Dr. Lee"]);
        assert!(rows[0].current && !rows[1].current);
    }

    #[test]
    fn a_malformed_resource_leaves_a_row_with_gaps() {
        let odd =
            (0, json!({"resourceType": "Immunization", "vaccineCode": 7, "protocolApplied": "x"}));
        let resources = [odd.clone(), odd];
        let rows = rows(Section::Immunizations, &items(&resources));
        assert_eq!(rows.len(), 2, "rows that cannot be told apart stay apart");
        assert_eq!(rows[0].title, "Not named");
    }
}
