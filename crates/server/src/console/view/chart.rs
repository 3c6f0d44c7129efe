//! A chart: one record, and what other organizations keep of the same person,
//! merged by section; each row names its sources.

use std::collections::BTreeMap;

use holdfast_base::Purpose;
use holdfast_exchange::{Chart, ChartRecord, Relationship};
use serde_json::Value;

use super::moment::Moment;
use super::person::{PersonView, person_view};
use super::reports::{Report, reports};
use super::results::{Panel, Results, Series, results};
use super::rows::{Row, Section, rows};
use super::text::{codes, text};

/// Types that a section shows, or that only serve what it shows.
const SHOWN: [&str; 7] = [
    "Observation",
    "DiagnosticReport",
    "DocumentReference",
    "Composition",
    "Medication",
    "Provenance",
    "Patient",
];

/// A resource of the chart, and which record it is from.
#[derive(Clone, Copy)]
pub(crate) struct Item<'a> {
    /// Place of the record among the sources.
    pub source: usize,
    /// Logical id.
    pub id: &'a str,
    /// The resource.
    pub resource: &'a Value,
}

/// A record that the chart is made from.
pub(crate) struct Source {
    /// The organization that keeps it.
    pub name: String,
    /// How many resources are from there.
    pub resources_count: usize,
    /// How it names the person, when it does so otherwise than the first record.
    pub known_as: Option<String>,
    /// Its own numbers of the person.
    pub numbers: Vec<String>,
    /// Classes that the permit did not open.
    pub closed: Vec<&'static str>,
}

/// What the page of a chart shows.
pub(crate) struct ChartView {
    /// The head.
    pub person: PersonView,
    /// How the reader stands to the patient, and what for.
    pub standing: String,
    /// Whether that is nothing that a record documents.
    pub undocumented: bool,
    /// The records, the one that was asked for first.
    pub sources: Vec<Source>,
    /// Records of the same person that stay closed.
    pub withheld: usize,
    /// Allergies.
    pub allergies: Vec<Row>,
    /// Problems.
    pub problems: Vec<Row>,
    /// Medications.
    pub medications: Vec<Row>,
    /// Immunizations.
    pub immunizations: Vec<Row>,
    /// Procedures.
    pub procedures: Vec<Row>,
    /// Visits.
    pub visits: Vec<Row>,
    /// Laboratory results.
    pub panels: Vec<Panel>,
    /// Vital signs.
    pub vitals: Vec<Series>,
    /// Other observations.
    pub findings: Vec<Panel>,
    /// Documents.
    pub reports: Vec<Report>,
    /// Types that no section shows, and how many there are.
    pub unlisted: Vec<(String, usize)>,
    /// How many entries are marked as entered in error.
    pub struck: usize,
}

/// The view of `chart`, opened for `purpose`, on the day of `today`.
pub(crate) fn chart_view(
    chart: &Chart,
    purpose: Purpose,
    emergency: bool,
    today: &Moment,
) -> ChartView {
    let records: Vec<&ChartRecord> = std::iter::once(&chart.own).chain(&chart.linked).collect();
    let all = records.iter().enumerate().flat_map(|(source, record)| {
        let item = move |resource| Item { source, id: "", resource };
        record.resources.iter().map(move |d| Item { id: &d.id, ..item(&d.resource) })
    });
    let (struck, items): (Vec<Item<'_>>, Vec<Item<'_>>) =
        all.partition(|item| is_struck(item.resource));
    let person = person_view(&chart.own.patient, today);
    let source = |record: &&ChartRecord| source(record, &person, today);
    let sources = records.iter().map(source).collect();
    let Results { panels, vitals, other } = results(&items);
    let section = |section| rows(section, &items);
    ChartView {
        standing: standing(chart.relationship, purpose, emergency),
        undocumented: chart.relationship == Relationship::None || emergency,
        sources,
        withheld: chart.withheld,
        allergies: section(Section::Allergies),
        problems: section(Section::Problems),
        medications: section(Section::Medications),
        immunizations: section(Section::Immunizations),
        procedures: section(Section::Procedures),
        visits: section(Section::Visits),
        panels,
        vitals,
        findings: other,
        reports: reports(&items),
        unlisted: unlisted(&items),
        struck: struck.len(),
        person,
    }
}

/// Whether its author took it back.
fn is_struck(resource: &Value) -> bool {
    let wrong = "entered-in-error";
    text(resource, "status") == wrong
        || text(resource, "docStatus") == wrong
        || codes(&resource["verificationStatus"]).any(|code| code == wrong)
}

fn source(record: &ChartRecord, person: &PersonView, today: &Moment) -> Source {
    let own = person_view(&record.patient, today);
    let differs = own.name != person.name || own.born != person.born;
    let numbers = own.identifiers.iter().filter(|(label, _)| label == "MRN");
    let closed = holdfast_base::ElementClass::ALL.into_iter();
    Source {
        name: record.organization_name.clone(),
        resources_count: record.resources.len(),
        known_as: differs.then(|| format!("{}, born {}", own.name, own.born)),
        numbers: numbers.map(|(_, number)| number.clone()).collect(),
        closed: closed.filter(|class| !record.classes.contains(*class)).map(class_words).collect(),
    }
}

/// A class of elements, for people.
fn class_words(class: holdfast_base::ElementClass) -> &'static str {
    use holdfast_base::ElementClass;
    match class {
        ElementClass::Identity => "names and addresses",
        ElementClass::GovernmentId => "government numbers",
        ElementClass::Clinical => "clinical entries",
        ElementClass::Document => "documents",
        ElementClass::Restricted => "specially protected entries",
    }
}

/// How the reader stands to the patient, in a sentence.
fn standing(relationship: Relationship, purpose: Purpose, emergency: bool) -> String {
    let stands = match relationship {
        Relationship::SelfRecord => "This is your own record.",
        Relationship::CareTeam => "You are on this patient’s care team.",
        Relationship::Organization => {
            "A patient of your organization; no visit or order names you yet."
        }
        Relationship::LinkedOrganization => {
            "Your organization knows this patient; another one keeps this record."
        }
        Relationship::None => "No relationship to this patient is documented.",
    };
    if emergency {
        return format!("{stands} Opened as an emergency; your privacy office reviews it.");
    }
    let what_for = match purpose {
        Purpose::Treatment => "treatment",
        Purpose::EmergencyTreatment => "emergency treatment",
        Purpose::PatientRequest => "yourself",
        Purpose::Operations => "operations",
        Purpose::SystemAdministration => "administration",
        Purpose::Research => "research",
        Purpose::PublicHealth => "public health",
        Purpose::Compliance => "compliance",
    };
    format!("{stands} Opened for {what_for}.")
}

/// What the record holds besides what the sections show.
fn unlisted(items: &[Item<'_>]) -> Vec<(String, usize)> {
    let sections = [
        Section::Allergies,
        Section::Problems,
        Section::Medications,
        Section::Immunizations,
        Section::Procedures,
        Section::Visits,
    ];
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for item in items {
        let kind = text(item.resource, "resourceType");
        let listed = sections.iter().any(|section| section.types().contains(&kind));
        if !listed && !SHOWN.contains(&kind) {
            *counts.entry(kind).or_default() += 1;
        }
    }
    counts.into_iter().map(|(kind, count)| (kind_words(kind), count)).collect()
}

/// `ServiceRequest` as `service request`.
fn kind_words(kind: &str) -> String {
    let mut words = String::new();
    for (place, letter) in kind.chars().enumerate() {
        if letter.is_uppercase() && place > 0 {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use holdfast_base::{ClassSet, ElementClass, OrganizationId, Timestamp};
    use holdfast_exchange::Disclosed;
    use serde_json::json;

    use super::*;

    fn disclosed(id: &str, resource: Value) -> Disclosed {
        let resource_type = text(&resource, "resourceType").to_owned();
        let last_updated = Timestamp::from_millis(0);
        Disclosed {
            resource,
            resource_type,
            id: id.into(),
            version: 1,
            last_updated,
            classes: ClassSet::ALL,
        }
    }

    fn record(name: &str, family: &str, resources: Vec<Value>) -> ChartRecord {
        let patient = json!({"resourceType": "Patient", "name": [{"family": family}],
            "identifier": [{"type": {"coding": [{"code": "MR"}]}, "value": format!("{name}-1")}]});
        let resources = resources.into_iter().enumerate();
        ChartRecord {
            organization: OrganizationId::new("lakeside").expect("a name"),
            organization_name: name.into(),
            patient: disclosed("p", patient),
            resources: resources.map(|(at, r)| disclosed(&format!("r{at}"), r)).collect(),
            classes: ClassSet::ALL.without(ElementClass::Restricted),
        }
    }

    fn view() -> ChartView {
        let struck = json!({"resourceType": "Observation", "status": "entered-in-error"});
        let order = json!({"resourceType": "ServiceRequest", "status": "active"});
        let shot = json!({"resourceType": "Immunization", "status": "completed",
            "vaccineCode": {"text": "Influenza"}, "occurrenceDateTime": "2024-10-02"});
        let chart = Chart {
            own: record("Lakeside", "Okafor", vec![struck, order.clone(), shot.clone()]),
            linked: vec![record("Mercy", "Okafor-Lindqvist", vec![order, shot])],
            withheld: 2,
            relationship: Relationship::CareTeam,
        };
        chart_view(&chart, Purpose::Treatment, false, &Moment::parse("2026-01-01").expect("a day"))
    }

    #[test]
    fn records_of_one_person_are_merged_by_section_and_name_their_sources() {
        let view = view();
        assert_eq!(view.immunizations.len(), 1);
        assert_eq!(view.immunizations[0].sources, [0, 1]);
        assert_eq!(view.unlisted, [("service request".to_owned(), 2)]);
        assert_eq!((view.withheld, view.struck), (2, 1));
    }

    #[test]
    fn a_source_says_how_it_names_the_person_and_what_stayed_closed() {
        let view = view();
        assert_eq!(view.sources[0].known_as, None);
        assert_eq!(
            view.sources[1].known_as.as_deref(),
            Some("Okafor-Lindqvist, born not recorded")
        );
        assert_eq!(view.sources[1].closed, ["specially protected entries"]);
        assert_eq!(view.sources[1].numbers, ["Mercy-1"]);
    }

    #[test]
    fn the_head_says_how_the_reader_stands_to_the_patient() {
        assert_eq!(view().standing, "You are on this patient’s care team. Opened for treatment.");
        let broken = standing(Relationship::None, Purpose::Treatment, true);
        assert!(broken.contains("emergency") && broken.contains("privacy office"));
    }
}
