//! Results as tables: the latest value, its range, the line over time, what was
//! before, and where it is from.

use maud::{Markup, html};

use super::super::view::{Flag, FlagLevel, Narrative, Panel, Reading, Series};
use super::chart::{Names, text_blocks};
use super::parts::{date, tag};
use super::spark::spark;

/// Former values in a row; the rest is one click away.
const EARLIER_SHOWN: usize = 2;

/// A panel under its name.
pub(super) fn panel(panel: &Panel, names: &Names<'_>) -> Markup {
    html! {
        section.panel {
            h3 { (panel.name) @if let Some(latest) = &panel.latest { small { " " (latest.date()) } } }
            @if !panel.series.is_empty() { (series_table(&panel.series, names, "Test")) }
            @for narrative in &panel.narratives { (told(narrative, names)) }
        }
    }
}

/// A table of tests.
pub(super) fn series_table(all: &[Series], names: &Names<'_>, what: &str) -> Markup {
    let has_range = all.iter().any(|series| series.readings.iter().any(|r| !r.range.is_empty()));
    html! {
        table.sheet.stack.labs {
            thead {
                tr {
                    th.c-test { (what) }
                    th.c-value { "Latest" }
                    @if has_range { th.c-range { "Reference" } }
                    th.c-trend { "Trend" }
                    th.c-earlier { "Earlier" }
                    th.c-source { "Date, source" }
                }
            }
            tbody { @for series in all { (row(series, names, has_range, what)) } }
        }
    }
}

fn row(series: &Series, names: &Names<'_>, has_range: bool, what: &str) -> Markup {
    let Some(latest) = series.readings.first() else { return html! {} };
    let earlier = &series.readings[1..];
    html! {
        tr class=[level_class(latest.flag.as_ref())] {
            td data-label=(what) { (test_name(&series.name)) }
            td data-label="Latest" {
                (value(latest))
                (flag(latest.flag.as_ref()))
                (tag(latest.status, "soft"))
                @for note in &latest.notes { p.note { (note) } }
            }
            @if has_range { td.num.faint data-label="Reference" { (latest.range) } }
            td data-label="Trend" { (spark(series)) }
            td.num data-label="Earlier" { (former(earlier)) }
            td data-label="Date, source" { (date(latest.at.as_ref())) (names.of(&latest.sources)) }
        }
    }
}

fn value(reading: &Reading) -> Markup {
    html! {
        span.value {
            b { (reading.value) }
            @if !reading.unit.is_empty() { @if reading.unit != "%" { " " } span.unit { (shown_unit(&reading.unit)) } }
        }
    }
}

/// `Glucose [Mass/volume] in Serum` (a LOINC long name) as its analyte, with the
/// rest below it.
fn test_name(name: &str) -> Markup {
    match name.split_once(" [") {
        Some((analyte, rest)) if !analyte.is_empty() => html! {
            span.strong { (analyte) } span.line.detail { (rest.replacen(']', "", 1)) }
        },
        _ => html! { span.strong { (name) } },
    }
}

/// A UCUM unit as people write it; what is not known stays as it is.
fn shown_unit(unit: &str) -> String {
    match unit {
        "{ratio}" | "1" => String::new(),
        _ => unit
            .replace("10*3", "10³")
            .replace("10*6", "10⁶")
            .replace("{1.73_m2}", "1.73 m²")
            .replace("mm[Hg]", "mmHg")
            .replace("Cel", "°C"),
    }
}

/// A flag says what it means; its colour only repeats that.
fn flag(flag: Option<&Flag>) -> Markup {
    html! {
        @if let Some(flag) = flag.filter(|flag| flag.level != FlagLevel::Normal || flag.text != "Normal") {
            @let class = match flag.level {
                FlagLevel::Normal => "flag quiet-flag",
                FlagLevel::Abnormal => "flag",
                FlagLevel::Critical => "flag critical",
            };
            " " span class=(class) {
                @if !flag.sign.is_empty() { span aria-hidden="true" { (flag.sign) } " " }
                (flag.text)
            }
        }
    }
}

fn level_class(flag: Option<&Flag>) -> Option<&'static str> {
    (flag?.level == FlagLevel::Critical).then_some("row-critical")
}

fn former(earlier: &[Reading]) -> Markup {
    let (shown, rest) = earlier.split_at(earlier.len().min(EARLIER_SHOWN));
    html! {
        @for reading in shown { (former_line(reading)) }
        @if !rest.is_empty() {
            details.more {
                summary { (rest.len()) " more" }
                @for reading in rest { (former_line(reading)) }
            }
        }
    }
}

fn former_line(reading: &Reading) -> Markup {
    let flagged = reading.flag.as_ref().filter(|flag| flag.level != FlagLevel::Normal);
    html! {
        span.former {
            span.former-value {
                (reading.value)
                @if let Some(flag) = flagged {
                    @if flag.sign.is_empty() { span.flagged title=(flag.text) { "*" } }
                    @else { span.flagged aria-hidden="true" { (flag.sign) } }
                    span.sr { " " (flag.text) }
                }
            }
            " " span.faint { (date(reading.at.as_ref())) }
        }
    }
}

fn told(narrative: &Narrative, names: &Names<'_>) -> Markup {
    html! {
        article.told {
            h4 { (narrative.name) }
            p.told-about { (date(narrative.at.as_ref())) (names.of(&narrative.sources)) }
            div.prose { (text_blocks(&narrative.text)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_and_units_read_as_people_write_them() {
        let name = test_name("Glucose [Mass/volume] in Serum or Plasma").into_string();
        assert!(
            name.contains(">Glucose<") && name.contains(">Mass/volume in Serum or Plasma<"),
            "{name}"
        );
        assert!(test_name("Anion gap").into_string().contains(">Anion gap<"));
        assert_eq!(shown_unit("10*3/uL"), "10³/uL");
        assert_eq!(shown_unit("mL/min/{1.73_m2}"), "mL/min/1.73 m²");
        assert_eq!((shown_unit("{ratio}"), shown_unit("mg/dL")), (String::new(), "mg/dL".into()));
    }
}
