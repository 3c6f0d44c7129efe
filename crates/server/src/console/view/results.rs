//! Observations as series over time, grouped by the panel they were reported in.
//!
//! A flag is what the laboratory said; none is inferred from a range.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::chart::Item;
use super::moment::{Moment, moment_of};
use super::reports::{Block, blocks};
use super::text::{
    codes, concept, concept_key, has_code, joined, joined_unit, list, number, quantity, text, words,
};

/// Longest value that fits a cell of a table, in characters; what is longer, or
/// has lines, is a narrative.
const CELL_CHARS_MAX: usize = 80;
/// The order of vital signs, by LOINC code.
const VITALS: [&str; 11] = [
    "85354-9", "8480-6", "8462-4", "8867-4", "9279-1", "59408-5", "2708-6", "8310-5", "29463-7",
    "8302-2", "39156-5",
];

/// Results that were reported together.
pub(crate) struct Panel {
    /// Name of the panel.
    pub name: String,
    /// When it was last reported.
    pub latest: Option<Moment>,
    /// One row a test.
    pub series: Vec<Series>,
    /// Results that are text.
    pub narratives: Vec<Narrative>,
}

/// One test over time.
pub(crate) struct Series {
    /// Name of the test.
    pub name: String,
    /// The readings, newest first; never empty.
    pub readings: Vec<Reading>,
}

/// One value.
pub(crate) struct Reading {
    /// As it was sent, comparator included.
    pub value: String,
    /// Unit; empty when there is none.
    pub unit: String,
    /// What the laboratory said about it.
    pub flag: Option<Flag>,
    /// Reference range as text; empty when there is none.
    pub range: String,
    /// Reference range as numbers.
    pub bounds: (Option<f64>, Option<f64>),
    /// The value as numbers to draw: one, or one for each component.
    pub numbers: Vec<f64>,
    /// When it was observed.
    pub at: Option<Moment>,
    /// Status, when it is not simply final.
    pub status: &'static str,
    /// Remarks.
    pub notes: Vec<String>,
    /// Records that have it.
    pub sources: Vec<usize>,
}

/// A result that is text.
pub(crate) struct Narrative {
    /// Name of the test.
    pub name: String,
    /// The text.
    pub text: Vec<Block>,
    /// When it was observed.
    pub at: Option<Moment>,
    /// Records that have it.
    pub sources: Vec<usize>,
}

/// How a value stands to what is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlagLevel {
    /// As expected.
    Normal,
    /// Out of range, or otherwise not as expected.
    Abnormal,
    /// Dangerously so.
    Critical,
}

/// What the laboratory said about a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flag {
    /// How grave.
    pub level: FlagLevel,
    /// In words: `High`, `Critical low`.
    pub text: String,
    /// `▲`, `▼` or nothing.
    pub sign: &'static str,
}

/// All observations of a chart.
pub(crate) struct Results {
    /// Laboratory panels, the newest first.
    pub panels: Vec<Panel>,
    /// Vital signs.
    pub vitals: Vec<Series>,
    /// Everything else that was observed.
    pub other: Vec<Panel>,
}

/// The panel that an observation was reported in.
#[derive(Clone)]
struct Parent {
    key: String,
    name: String,
    place: usize,
}

/// Groups the observations of `items`.
pub(crate) fn results(items: &[Item<'_>]) -> Results {
    let parents = parents(items);
    let mut vitals = Gathered::default();
    let mut laboratory: BTreeMap<String, (String, Gathered)> = BTreeMap::new();
    let mut other: BTreeMap<String, (String, Gathered)> = BTreeMap::new();
    for item in items.iter().filter(|item| text(item.resource, "resourceType") == "Observation") {
        let resource = item.resource;
        if list(resource, "hasMember").next().is_some() && !has_value(resource) {
            continue;
        }
        let parent = parents.get(&(item.source, item.id));
        if has_code(resource, "category", "vital-signs") {
            let place = codes(&resource["code"]).find_map(|c| VITALS.iter().position(|v| *v == c));
            vitals.add(item, place.unwrap_or(VITALS.len()));
            continue;
        }
        let is_laboratory = has_code(resource, "category", "laboratory")
            || (parent.is_some() && list(resource, "category").next().is_none());
        let (groups, fallback) =
            if is_laboratory { (&mut laboratory, "Other results") } else { (&mut other, "") };
        let (key, name, place) = match parent {
            Some(parent) => (parent.key.clone(), parent.name.clone(), parent.place),
            None => {
                let category = list(resource, "category").map(concept).next().unwrap_or_default();
                let name = match (fallback, category.as_str()) {
                    ("", "") => "Findings".to_owned(),
                    ("", category) => words(category),
                    (fallback, _) => fallback.to_owned(),
                };
                (name.clone(), name, usize::MAX)
            }
        };
        groups.entry(key).or_insert_with(|| (name, Gathered::default())).1.add(item, place);
    }
    Results {
        panels: newest_first(laboratory),
        vitals: vitals.panel(String::new()).series,
        other: newest_first(other),
    }
}

/// The groups as panels, the newest first.
fn newest_first(groups: BTreeMap<String, (String, Gathered)>) -> Vec<Panel> {
    let mut panels: Vec<_> = groups.into_values().map(|(name, found)| found.panel(name)).collect();
    panels.sort_by(|a, b| b.latest.cmp(&a.latest));
    panels
}

/// Which report, or which observation with members, an observation belongs to.
fn parents<'a>(items: &[Item<'a>]) -> HashMap<(usize, &'a str), Parent> {
    let mut parents = HashMap::new();
    for item in items {
        let members = match text(item.resource, "resourceType") {
            "DiagnosticReport" => "result",
            "Observation" => "hasMember",
            _ => continue,
        };
        let (key, name) = (concept_key(&item.resource["code"]), concept(&item.resource["code"]));
        if name.is_empty() {
            continue;
        }
        for (place, member) in list(item.resource, members).enumerate() {
            let Some(id) = text(member, "reference").strip_prefix("Observation/") else { continue };
            let parent = Parent { key: key.clone(), name: name.clone(), place };
            parents.entry((item.source, id)).or_insert(parent);
        }
    }
    parents
}

/// Readings by test, on the way to a panel.
#[derive(Default)]
struct Gathered {
    tests: BTreeMap<String, (usize, String, Vec<Reading>)>,
    narratives: Vec<Narrative>,
}

impl Gathered {
    fn add(&mut self, item: &Item<'_>, place: usize) {
        let resource = item.resource;
        let name = Some(concept(&resource["code"])).filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| "Not named".to_owned());
        let long = text(resource, "valueString");
        if long.contains('\n') || long.chars().count() > CELL_CHARS_MAX {
            let at = observed(resource);
            let text = blocks(long);
            self.narratives.push(Narrative { name, text, at, sources: vec![item.source] });
            return;
        }
        let reading = reading(item);
        let key = concept_key(&resource["code"]);
        let test = self.tests.entry(key).or_insert_with(|| (place, name, Vec::new()));
        test.0 = test.0.min(place);
        let same = |known: &&mut Reading| {
            known.at == reading.at && known.value == reading.value && known.unit == reading.unit
        };
        match test.2.iter_mut().find(same) {
            Some(known) if !known.sources.contains(&item.source) => {
                known.sources.push(item.source);
            }
            Some(known) if known.at.is_some() && !known.value.is_empty() => {}
            _ => test.2.push(reading),
        }
    }

    fn panel(self, name: String) -> Panel {
        let mut tests: Vec<_> = self.tests.into_values().collect();
        tests.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let mut series: Vec<Series> =
            tests.into_iter().map(|(_, name, readings)| Series { name, readings }).collect();
        for series in &mut series {
            series.readings.sort_by(|a, b| b.at.cmp(&a.at));
        }
        let mut narratives = self.narratives;
        narratives.sort_by(|a, b| b.at.cmp(&a.at));
        let dated = series.iter().flat_map(|s| s.readings.iter().filter_map(|r| r.at.as_ref()));
        let latest = dated.chain(narratives.iter().filter_map(|n| n.at.as_ref())).max().cloned();
        Panel { name, latest, series, narratives }
    }
}

fn observed(resource: &Value) -> Option<Moment> {
    moment_of(resource, &["effectiveDateTime", "effectivePeriod", "effectiveInstant", "issued"])
}

fn has_value(resource: &Value) -> bool {
    let of = |value: &Value| {
        value.as_object().is_some_and(|fields| fields.keys().any(|key| key.starts_with("value")))
    };
    of(resource) || list(resource, "component").any(of)
}

fn reading(item: &Item<'_>) -> Reading {
    let resource = item.resource;
    let parts: Vec<&Value> = list(resource, "component").collect();
    let (mut value, mut unit, mut numbers) = value_of(resource);
    if value.is_empty() && !parts.is_empty() {
        let found: Vec<_> = parts.iter().map(|part| value_of(part)).collect();
        let same_unit = found.iter().all(|(_, unit, _)| *unit == found[0].1);
        numbers = found.iter().flat_map(|(_, _, numbers)| numbers.clone()).collect();
        if same_unit && numbers.len() == found.len() {
            value = joined(found.iter().map(|(value, ..)| value.clone()), "/");
            unit = found[0].1.clone();
        } else {
            let line = |(part, (value, unit, _)): (&&Value, &(String, String, Vec<f64>))| {
                format!("{} {}", concept(&part["code"]), joined_unit(value, unit))
            };
            value = joined(parts.iter().zip(&found).map(line), "; ");
            numbers.clear();
        }
    }
    if value.is_empty() {
        value = concept(&resource["dataAbsentReason"]);
    }
    let range = list(resource, "referenceRange").next().unwrap_or(&Value::Null);
    let bound = |name: &str| range[name]["value"].as_f64();
    Reading {
        value,
        unit,
        flag: list(resource, "interpretation").find_map(flag),
        range: range_text(range),
        bounds: (bound("low"), bound("high")),
        numbers,
        at: observed(resource),
        status: match text(resource, "status") {
            "preliminary" => "preliminary",
            "corrected" => "corrected",
            "amended" => "amended",
            "cancelled" => "cancelled",
            "registered" => "expected",
            _ => "",
        },
        notes: list(resource, "note").map(|note| text(note, "text").to_owned()).collect(),
        sources: vec![item.source],
    }
}

/// `value[x]` as text, unit, and numbers to draw.
fn value_of(holder: &Value) -> (String, String, Vec<f64>) {
    if let Some((amount, unit)) = quantity(&holder["valueQuantity"]) {
        let numbers = holder["valueQuantity"]["value"].as_f64().into_iter().collect();
        return (amount, unit, numbers);
    }
    let range = &holder["valueRange"];
    let ratio = &holder["valueRatio"];
    let plain = if let Some(whole) = number(&holder["valueInteger"]) {
        whole
    } else if let Some(truth) = holder["valueBoolean"].as_bool() {
        if truth { "Yes" } else { "No" }.to_owned()
    } else if range.is_object() {
        range_text(range)
    } else if ratio.is_object() {
        let of = |name: &str| number(&ratio[name]["value"]).unwrap_or_default();
        format!("{}:{}", of("numerator"), of("denominator"))
    } else if let Some(moment) = moment_of(holder, &["valueDateTime", "valuePeriod"]) {
        moment.full()
    } else {
        let coded = concept(&holder["valueCodeableConcept"]);
        let told = [text(holder, "valueString"), text(holder, "valueTime")];
        joined([coded].into_iter().chain(told.map(str::to_owned)), " ")
    };
    (plain, String::new(), Vec::new())
}

/// A range as its text, or from its bounds.
fn range_text(range: &Value) -> String {
    let own = text(range, "text");
    if !own.is_empty() {
        return own.to_owned();
    }
    match (number(&range["low"]["value"]), number(&range["high"]["value"])) {
        (Some(low), Some(high)) => format!("{low}\u{a0}–\u{a0}{high}"),
        (Some(low), None) => format!("≥\u{a0}{low}"),
        (None, Some(high)) => format!("≤\u{a0}{high}"),
        (None, None) => String::new(),
    }
}

/// A flag by its code (HL7 v3 ObservationInterpretation).
fn flag(interpretation: &Value) -> Option<Flag> {
    use FlagLevel::{Abnormal, Critical, Normal};
    let code = codes(interpretation).next();
    let (level, known, sign) = match code {
        Some("HH") => (Critical, "Critical high", "▲"),
        Some("LL") => (Critical, "Critical low", "▼"),
        Some("AA") => (Critical, "Critical", ""),
        Some("H" | "HU" | ">") => (Abnormal, "High", "▲"),
        Some("L" | "LU" | "<") => (Abnormal, "Low", "▼"),
        Some("A") => (Abnormal, "Abnormal", ""),
        Some("POS" | "DET" | "RR" | "WR") => (Abnormal, "Positive", ""),
        Some("R") => (Abnormal, "Resistant", ""),
        Some("N") => (Normal, "Normal", ""),
        Some("NEG" | "NR") => (Normal, "Negative", ""),
        Some("ND") => (Normal, "Not detected", ""),
        Some("S") => (Normal, "Susceptible", ""),
        _ => (Normal, "", ""),
    };
    let text = if known.is_empty() { concept(interpretation) } else { known.to_owned() };
    (!text.is_empty()).then_some(Flag { level, text, sign })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn a1c(id: &str, at: &str, value: f64, flag: &str) -> Value {
        json!({"resourceType": "Observation", "id": id, "status": "final",
            "category": [{"coding": [{"code": "laboratory"}]}],
            "code": {"coding": [{"system": "loinc", "code": "4548-4"}], "text": "Hemoglobin A1c"},
            "effectiveDateTime": at, "valueQuantity": {"value": value, "unit": "%"},
            "interpretation": [{"coding": [{"code": flag}]}],
            "referenceRange": [{"low": {"value": 4.0}, "high": {"value": 5.6}}]})
    }

    fn report(ids: &[&str]) -> Value {
        let results: Vec<_> =
            ids.iter().map(|id| json!({"reference": format!("Observation/{id}")})).collect();
        json!({"resourceType": "DiagnosticReport", "code": {"text": "Diabetes panel"}, "result": results})
    }

    fn items<'a>(resources: &'a [(usize, Value)]) -> Vec<Item<'a>> {
        let item = |(source, resource): &'a (usize, Value)| Item {
            source: *source,
            id: text(resource, "id"),
            resource,
        };
        resources.iter().map(item).collect()
    }

    #[test]
    fn a_test_reported_by_two_organizations_is_one_series_of_its_panel() {
        let resources = [
            (0, a1c("a", "2024-01-02", 7.1, "H")),
            (1, a1c("b", "2025-01-02", 6.4, "H")),
            (0, report(&["a"])),
            (1, report(&["b"])),
        ];
        let found = results(&items(&resources));
        assert_eq!((found.panels.len(), found.vitals.len(), found.other.len()), (1, 0, 0));
        let panel = &found.panels[0];
        assert_eq!((panel.name.as_str(), panel.series.len()), ("Diabetes panel", 1));
        let values: Vec<_> = panel.series[0].readings.iter().map(|r| r.value.as_str()).collect();
        assert_eq!(values, ["6.4", "7.1"], "the newest comes first");
    }

    #[test]
    fn a_result_that_was_sent_to_two_records_is_one_reading_with_two_sources() {
        let resources =
            [(0, a1c("a", "2024-01-02", 7.1, "H")), (2, a1c("z", "2024-01-02", 7.1, "H"))];
        let found = results(&items(&resources));
        let readings = &found.panels[0].series[0].readings;
        assert_eq!((readings.len(), readings[0].sources.as_slice()), (1, [0, 2].as_slice()));
        assert_eq!(found.panels[0].name, "Other results");
    }

    #[test]
    fn flags_and_ranges_are_the_laboratorys() {
        let resources = [(0, a1c("a", "2024-01-02", 7.1, "HH"))];
        let found = results(&items(&resources));
        let reading = &found.panels[0].series[0].readings[0];
        assert_eq!(reading.range, "4.0\u{a0}–\u{a0}5.6");
        assert_eq!(
            reading.flag.as_ref().map(|f| (f.level, f.text.as_str(), f.sign)),
            Some((FlagLevel::Critical, "Critical high", "▲"))
        );
        let mut silent = a1c("a", "2024-01-02", 9.9, "H");
        silent["interpretation"] = json!([]);
        let resources = [(0, silent)];
        assert!(results(&items(&resources)).panels[0].series[0].readings[0].flag.is_none());
    }

    #[test]
    fn a_blood_pressure_reads_as_one_value_of_two_numbers() {
        let part = |value: u32| json!({"valueQuantity": {"value": value, "unit": "mmHg"}});
        let pressure = json!({"resourceType": "Observation", "code": {"coding": [{"code": "85354-9"}]},
            "category": [{"coding": [{"code": "vital-signs"}]}], "component": [part(142), part(88)]});
        let pulse = json!({"resourceType": "Observation", "code": {"coding": [{"code": "8867-4"}], "text": "Heart rate"},
            "category": [{"coding": [{"code": "vital-signs"}]}], "valueQuantity": {"value": 72, "unit": "/min"}});
        let resources = [(0, pulse), (0, pressure)];
        let vitals = results(&items(&resources)).vitals;
        let first = &vitals[0].readings[0];
        assert_eq!(
            (first.value.as_str(), first.unit.as_str(), first.numbers.as_slice()),
            ("142/88", "mmHg", [142.0, 88.0].as_slice())
        );
        assert_eq!(vitals[1].name, "Heart rate");
    }

    #[test]
    fn long_text_is_a_narrative_and_a_missing_value_says_why() {
        let culture = json!({"resourceType": "Observation", "code": {"text": "Culture"},
            "category": [{"coding": [{"code": "laboratory"}]}], "valueString": "No growth\nafter 48 hours"});
        let absent = json!({"resourceType": "Observation", "code": {"text": "Potassium"},
            "category": [{"coding": [{"code": "laboratory"}]}], "dataAbsentReason": {"text": "Specimen hemolyzed"}});
        let resources = [(0, culture), (0, absent)];
        let found = results(&items(&resources));
        let panel = &found.panels[0];
        assert_eq!((panel.narratives.len(), panel.series.len()), (1, 1));
        assert_eq!(panel.series[0].readings[0].value, "Specimen hemolyzed");
    }
}
