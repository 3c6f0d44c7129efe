//! The page of a chart.

use maud::{Markup, html};

use super::super::view::{Block, ChartView, Content, PersonView, Report, Row};
use super::frame::{Place, Viewer, framed};
use super::parts::{counted, date, nothing, tag};
use super::results::{panel, series_table};

/// Reports that are open when the page is; the others unfold.
const REPORTS_OPEN: usize = 1;

/// The names of the chart's sources.
pub(super) struct Names<'a>(&'a ChartView);

impl Names<'_> {
    /// The names of `sources`, one label each.
    pub fn of(&self, sources: &[usize]) -> Markup {
        let mut sources = sources.to_vec();
        sources.sort_unstable();
        let mut named: Vec<(usize, &str)> = Vec::new();
        for place in sources {
            // An organization may keep two records of one person.
            if let Some(source) = self.0.sources.get(place)
                && named.iter().all(|(_, name)| *name != source.name)
            {
                named.push((place, &source.name));
            }
        }
        html! {
            span.sources {
                @for (place, name) in named {
                    span class={ "source" @if place == 0 { " source-own" } } { (name) }
                }
            }
        }
    }
}

/// One section: its anchor, its name, how much it holds, its content.
struct Part {
    id: &'static str,
    name: &'static str,
    count: usize,
    body: Markup,
}

/// The chart's page. `who_looked` is the page that tells who looked at it, for those who may know.
pub(crate) fn chart(viewer: &Viewer, view: &ChartView, who_looked: Option<&str>) -> Markup {
    let parts = parts(view);
    let main = html! {
        (head(view, who_looked))
        div.chart {
            nav.contents aria-label="Sections of the chart" {
                ol {
                    @for part in &parts {
                        li class=[(part.count == 0).then_some("empty")] {
                            a href={ "#" (part.id) } { (part.name) " " span.count { (part.count) } }
                        }
                    }
                    li { a href="#sources" { "Sources " span.count { (view.sources.len()) } } }
                }
            }
            div.sections {
                @for part in &parts {
                    section.part id=(part.id) aria-labelledby={ (part.id) "-h" } {
                        h2 id={ (part.id) "-h" } { (part.name) }
                        (part.body)
                    }
                }
                (sources(view))
            }
        }
    };
    framed(&view.person.name, viewer, Some(Place::Patients), main)
}

fn head(view: &ChartView, who_looked: Option<&str>) -> Markup {
    let person = &view.person;
    html! {
        header.person {
            div.person-main {
                h1 { (person.name) }
                p.person-about {
                    @if let Some(deceased) = &person.deceased { (tag(deceased, "grave")) }
                    @for fact in [&person.age, &person.sex].into_iter().filter(|fact| !fact.is_empty()) {
                        span.fact { (fact) }
                    }
                    span.fact { span.faint { "born " } (person.born) }
                }
                (aka(person))
            }
            dl.person-numbers {
                @for (label, value) in &person.identifiers {
                    div { dt { (label) } dd.num { (value) } }
                }
                @if !person.contact.is_empty() {
                    div.wide { dt { "Contact" } dd { @for line in &person.contact { span.line { (line) } } } }
                }
                @if !person.practitioners.is_empty() {
                    div.wide { dt { "Usual clinician" } dd { (person.practitioners.join(", ")) } }
                }
            }
            (alerts(view))
            p class={ "standing" @if view.undocumented { " standing-loud" } } {
                span { (view.standing) " This look is in the ledger." }
                @if let Some(path) = who_looked { " " a href=(path) { "Who looked at this record" } }
            }
            @if view.withheld > 0 {
                p.withheld role="note" {
                    b { (counted(view.withheld, "record")) " withheld by policy." }
                    " Other organizations keep more about this person than you may see here; ask them, or the patient."
                }
            }
        }
    }
}

fn aka(person: &PersonView) -> Markup {
    html! { @if !person.former.is_empty() { p.aka { "Formerly " (person.former.join(", ")) } } }
}

/// Allergies stand where nobody can miss them.
fn alerts(view: &ChartView) -> Markup {
    let current: Vec<&Row> = view.allergies.iter().filter(|row| row.current).collect();
    html! {
        p class={ "allergies" @if current.is_empty() { " none" } } {
            span.allergies-label { "Allergies" }
            @if current.is_empty() {
                span { @if view.allergies.is_empty() { "None recorded" } @else { "None that is active" } }
            }
            @for row in current {
                a href="#allergies" class={ "allergy" @if row.grave { " allergy-grave" } } {
                    (row.title)
                    @if row.grave { span.sr { ", high risk" } }
                    @if let Some(seen) = row.details.first() { span.allergy-seen { (seen) } }
                }
            }
        }
    }
}

fn parts(view: &ChartView) -> Vec<Part> {
    let names = Names(view);
    let listed = |id, name, rows: &[Row], labels, empty| Part {
        id,
        name,
        count: rows.len(),
        body: if rows.is_empty() { nothing(empty) } else { row_table(rows, &names, labels) },
    };
    let vitals = Part {
        id: "vitals",
        name: "Vital signs",
        count: view.vitals.len(),
        body: match view.vitals.as_slice() {
            [] => nothing("No vital signs are recorded."),
            vitals => series_table(vitals, &names, "Sign"),
        },
    };
    let panels = |id, name, panels: &[_], empty| Part {
        id,
        name,
        count: panels.len(),
        body: html! {
            @if panels.is_empty() { (nothing(empty)) }
            @for one in panels { (panel(one, &names)) }
        },
    };
    let mut parts = vec![
        listed(
            "problems",
            "Problems",
            &view.problems,
            ["Problem", "Since"],
            "No problems are recorded.",
        ),
        listed(
            "medications",
            "Medications",
            &view.medications,
            ["Medication", "From"],
            "No medications are recorded.",
        ),
        listed(
            "allergies",
            "Allergies",
            &view.allergies,
            ["Substance", "Since"],
            "No allergies are recorded. That is not the same as none: ask the patient.",
        ),
        panels("labs", "Laboratory", &view.panels, "No laboratory results are recorded."),
        vitals,
        Part {
            id: "reports",
            name: "Reports",
            count: view.reports.len(),
            body: report_list(&view.reports, &names),
        },
        listed("visits", "Visits", &view.visits, ["Visit", "When"], "No visits are recorded."),
        listed(
            "immunizations",
            "Immunizations",
            &view.immunizations,
            ["Vaccine", "Given"],
            "No immunizations are recorded.",
        ),
    ];
    if !view.procedures.is_empty() {
        parts.push(listed("procedures", "Procedures", &view.procedures, ["Procedure", "When"], ""));
    }
    if !view.findings.is_empty() {
        parts.push(panels("findings", "Other findings", &view.findings, ""));
    }
    parts
}

fn row_table(rows: &[Row], names: &Names<'_>, labels: [&str; 2]) -> Markup {
    let has_state = rows.iter().any(|row| !row.state.is_empty());
    html! {
        table.sheet.stack.list {
            thead {
                tr {
                    th.c-what { (labels[0]) }
                    @if has_state { th.c-state { "Status" } }
                    th.c-date { (labels[1]) }
                    th.c-source { "Source" }
                }
            }
            tbody {
                @for row in rows {
                    tr class=[(!row.current).then_some("past")] {
                        td data-label=(labels[0]) {
                            span.strong { (row.title) }
                            @for line in &row.details { span.line.detail { (line) } }
                        }
                        @if has_state {
                            td data-label="Status" { (tag(&row.state, if row.grave && row.current { "grave" } else if row.current { "live" } else { "soft" })) }
                        }
                        td data-label=(labels[1]) {
                            (date(row.date.as_ref()))
                            @if let Some(until) = row.until.as_ref().filter(|until| row.date.as_ref().map(|from| from.date()) != Some(until.date())) {
                                span.faint { " to " } (date(Some(until)))
                            }
                        }
                        td data-label="Source" { (names.of(&row.sources)) }
                    }
                }
            }
        }
    }
}

fn report_list(reports: &[Report], names: &Names<'_>) -> Markup {
    html! {
        @if reports.is_empty() { (nothing("No reports are recorded.")) }
        @for (place, report) in reports.iter().enumerate() {
            details.report open[place < REPORTS_OPEN] {
                summary {
                    span.report-title { (report.title) }
                    (tag(&report.state, if report.settled { "soft" } else { "loud" }))
                    span.report-about {
                        (date(report.at.as_ref()))
                        @if !report.author.is_empty() { span { (report.author) } }
                        (names.of(&report.sources))
                    }
                }
                div.prose {
                    @if report.content.is_empty() { (nothing("It has no content.")) }
                    @for content in &report.content {
                        @match content {
                            Content::Text(text) => (text_blocks(text)),
                            Content::Other(sentence) => p.note { (sentence) },
                        }
                    }
                    @if !report.signed_by.is_empty() { p.signed { "Signed by " (report.signed_by) } }
                }
            }
        }
    }
}

/// Dictated text.
pub(super) fn text_blocks(blocks: &[Block]) -> Markup {
    html! {
        @for block in blocks {
            @match block {
                Block::Heading(text) => h4 { (text) },
                Block::Text(text) => p { (text) },
                Block::Columns(text) => pre tabindex="0" { (text) },
            }
        }
    }
}

fn sources(view: &ChartView) -> Markup {
    html! {
        section.part #sources aria-labelledby="sources-h" {
            h2 #sources-h { "Sources" }
            ul.source-list {
                @for (place, source) in view.sources.iter().enumerate() {
                    li {
                        span.strong { (source.name) }
                        @if place == 0 { " " (tag("the record you opened", "live")) }
                        span.line.detail {
                            (counted(source.resources_count, "entry").replace("entrys", "entries"))
                            @if !source.numbers.is_empty() { " · MRN " (source.numbers.join(", ")) }
                        }
                        @if let Some(name) = &source.known_as {
                            span.line.differs { "Registered there as " (name) "." }
                        }
                        @if !source.closed.is_empty() {
                            span.line.detail { "Not opened by your permit: " (source.closed.join(", ")) "." }
                        }
                    }
                }
            }
            @if !view.unlisted.is_empty() {
                p.detail {
                    "Also in these records: "
                    @for (place, (kind, count)) in view.unlisted.iter().enumerate() {
                        @if place > 0 { ", " } (counted(*count, kind))
                    }
                    "."
                }
            }
            @if view.struck > 0 {
                p.detail { (counted(view.struck, "entry").replace("entrys", "entries")) " marked as entered in error and not shown." }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_base::{ClassSet, OrganizationId, Purpose, Timestamp};
    use holdfast_exchange::{Chart, ChartRecord, Disclosed, Relationship};
    use serde_json::{Value, json};

    use super::super::super::view::{Moment, chart_view};
    use super::*;

    fn disclosed(resource: Value) -> Disclosed {
        Disclosed {
            resource_type: resource["resourceType"].as_str().unwrap_or_default().into(),
            resource,
            id: "r".into(),
            version: 1,
            last_updated: Timestamp::from_millis(0),
            classes: ClassSet::ALL,
        }
    }

    /// The page of a record whose every text tries to be markup.
    fn hostile(withheld: usize) -> String {
        let text = "\"><script>alert(1)</script><b style='x' onclick=y>";
        let concept = json!({"text": text});
        let resources = [
            json!({"resourceType": "Condition", "code": concept}),
            json!({"resourceType": "AllergyIntolerance", "code": concept, "criticality": "high"}),
            json!({"resourceType": "MedicationRequest", "medicationCodeableConcept": concept}),
            json!({"resourceType": "Observation", "code": concept, "valueString": text, "interpretation": [concept]}),
            json!({"resourceType": "DiagnosticReport", "code": concept, "conclusion": text}),
            json!({"resourceType": "Encounter", "class": {"display": text}, "reasonCode": [concept]}),
        ];
        let own = ChartRecord {
            organization: OrganizationId::new("lakeside").expect("a name"),
            organization_name: text.into(),
            patient: disclosed(json!({"resourceType": "Patient", "name": [{"text": text}]})),
            resources: resources.into_iter().map(disclosed).collect(),
            classes: ClassSet::ALL,
        };
        let chart =
            Chart { own, linked: Vec::new(), withheld, relationship: Relationship::CareTeam };
        let today = Moment::parse("2026-03-08").expect("a day");
        let view = chart_view(&chart, Purpose::Treatment, false, &today);
        let reader = Viewer {
            name: text.into(),
            organization: text.into(),
            role: "Clinician".into(),
            places: vec![Place::Patients],
        };
        super::chart(&reader, &view, None).into_string()
    }

    #[test]
    fn what_a_record_says_never_becomes_markup() {
        let page = hostile(0);
        assert!(page.contains("&lt;script&gt;alert(1)"), "the text itself is shown");
        for forbidden in ["<script", "<b style", "javascript:"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn a_page_needs_nothing_that_the_policy_forbids() {
        let page = hostile(0);
        let own = page.replace("&lt;b style='x' onclick=y&gt;", "");
        assert!(
            !own.contains(" style=") && !own.contains(" onclick="),
            "no inline style or script"
        );
    }

    #[test]
    fn what_is_withheld_is_said_in_numbers_and_only_then() {
        assert!(hostile(2).contains("2 records withheld by policy."));
        assert!(!hostile(0).contains("withheld by policy"));
    }
}
