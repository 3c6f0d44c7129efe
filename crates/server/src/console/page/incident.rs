//! One incident: what was found, whom it concerns, by when people have to be told.

use std::collections::BTreeMap;

use holdfast_base::{ElementClass, Timestamp};
use holdfast_exchange::{AccountView, Incident, Scope};
use maud::{Markup, html};

use super::super::view::Moment;
use super::frame::{Place, Viewer, framed};
use super::office::{detector, lift_form, patients, severity_tag, status_tag};
use super::parts::{date_time, grouped, nothing};

const DAY_MS: i64 = 86_400_000;
/// How a scope names the state of those whose state is not known.
const RESIDENCE_UNKNOWN: &str = "unknown";
/// Outer limit for notices of a breach. 45 CFR 164.404(b), 164.406(b), 164.410(b).
const NOTICE_DUE_DAYS: i64 = 60;
/// From so many residents of one state on, media have to be told. 45 CFR 164.406(a):
/// more than 500.
const MEDIA_RESIDENTS_OVER: u64 = 500;
/// From so many persons on, the Secretary has to be told at once. 45 CFR 164.408(b).
const SECRETARY_PERSONS_MIN: u64 = 500;

/// What the page shows.
pub(crate) struct IncidentView {
    /// The incident.
    pub incident: Incident,
    /// Its scope, frozen or as of now.
    pub scope: Scope,
    /// Its account, when it is a person's or system's here.
    pub account: Option<AccountView>,
    /// Now.
    pub now: Timestamp,
}

/// The incident's page.
pub(crate) fn incident(
    viewer: &Viewer,
    view: &IncidentView,
    name_of: &dyn Fn(&str) -> String,
) -> Markup {
    let IncidentView { incident, scope, account, now } = view;
    let title = format!("Incident {}", incident.reference());
    let main = html! {
        p.crumb { a href="/office" { "Office" } }
        h1 { (title) " " (status_tag(incident.status.as_str())) }
        p.lead {
            "Acts of " b { (incident.principal) } ". Discovered " (date_time(&Moment::of(incident.discovered)))
            " UTC, opened " (date_time(&Moment::of(incident.opened))) " UTC."
        }
        (deadline(incident.discovered, *now, scope))
        section.part aria-labelledby="scope-h" {
            h2 #scope-h { "Scope" }
            (totals(incident, scope, name_of))
        }
        section.part aria-labelledby="found-h" {
            h2 #found-h { "What was found" }
            @if incident.findings.is_empty() { (nothing("No finding is noted.")) }
            ol.steps {
                @for finding in &incident.findings {
                    li {
                        (severity_tag(&finding.severity)) " " span.strong { (detector(&finding.detector)) }
                        span.line.detail { (date_time(&Moment::of(finding.at))) " UTC · " (patients(finding.patients_count)) }
                        span.line { (finding.summary) }
                    }
                }
            }
        }
        section.part aria-labelledby="act-h" {
            h2 #act-h { "Containment" }
            @match account {
                Some(account) if account.suspended.is_some() => (lift_form(account)),
                Some(_) => {
                    form.inline action="/office/contain" method="post" {
                        input type="hidden" name="principal" value=(incident.principal);
                        div.field.wide { label for="reason" { "Reason" }
                            input #reason name="reason" required maxlength="200" value={ "incident " (incident.reference()) }; }
                        div.field.act { button.grave { "Suspend " (incident.principal) } }
                    }
                }
                None => p.detail { "The account is not one of this exchange’s; nothing is left to suspend." },
            }
        }
    };
    framed(&title, viewer, Some(Place::Office), main)
}

/// The federal outer limit: the states' own, which are often earlier, come with
/// the drafted notices.
fn deadline(discovered: Timestamp, now: Timestamp, scope: &Scope) -> Markup {
    let due = discovered.plus_millis(NOTICE_DUE_DAYS * DAY_MS);
    let days = due.millis_since(now).div_euclid(DAY_MS);
    let left = match days {
        ..0 => "passed".to_owned(),
        0 => "today is the last day".to_owned(),
        1 => "1 day left".to_owned(),
        days => format!("{days} days left"),
    };
    let totals = &scope.totals;
    let media: Vec<&str> = totals
        .states
        .iter()
        .filter(|(state, _)| *state != RESIDENCE_UNKNOWN)
        .filter(|(_, count)| count.persons > MEDIA_RESIDENTS_OVER)
        .map(|(state, _)| state.as_str())
        .collect();
    html! {
        div class={ "deadline" @if days < 0 { " overdue" } } {
            p {
                b { "If this is a breach, persons have to be told by " (Moment::of(due).date()) } ", " (left) ". "
                "That is HIPAA’s outer limit (45 CFR 164.404); states and contracts often ask for less, and the drafted notices list each one."
            }
            @if totals.persons >= SECRETARY_PERSONS_MIN {
                p { (grouped(totals.persons)) " persons: then the Secretary of HHS has to be told by the same day, too (45 CFR 164.408(b))." }
            }
            @if !media.is_empty() {
                p { "Media have to be told in these states: " (media.join(", ")) " (45 CFR 164.406)." }
            }
        }
    }
}

fn totals(incident: &Incident, scope: &Scope, name_of: &dyn Fn(&str) -> String) -> Markup {
    let totals = &scope.totals;
    let query = format!("/ops/scope?principal={}&format=csv", incident.principal);
    html! {
        @match &incident.scope {
            Some(frozen) => {
                p.detail {
                    "Frozen " (date_time(&Moment::of(frozen.at))) " UTC from " (grouped(frozen.ledger_size))
                    " ledger entries with root " code.hash { (frozen.ledger_root) } "."
                }
            }
            None => {
                p.detail { "As the ledger stands now. Freeze it when the account is contained: then it no longer moves, and carries its proof." }
            }
        }
        dl.tiles {
            div { dt { "Persons" } dd { (grouped(totals.persons)) } }
            div { dt { "Records" } dd { (grouped(totals.patients)) } }
            div { dt { "Organizations" } dd { (totals.organizations.len()) } }
            div { dt { "States" } dd { (totals.states.keys().filter(|state| *state != RESIDENCE_UNKNOWN).count()) } }
        }
        div.columns {
            div {
                h3 { "By organization" }
                (count_table("Organization", totals.organizations.iter().map(|(id, c)| (name_of(id.as_str()), c.persons, c.patients))))
            }
            div {
                h3 { "By state" }
                (count_table("State", totals.states.iter().map(|(state, c)| (state_name(state), c.persons, c.patients))))
            }
            div {
                h3 { "By class" }
                (class_table(scope))
            }
        }
        div.actions {
            @if incident.scope.is_none() {
                form action={ "/office/incidents/" (incident.id) "/freeze" } method="post" { button.primary { "Freeze the scope" } }
            }
            a.button href=(query) { "Download the rows (CSV)" }
        }
    }
}

fn state_name(state: &str) -> String {
    if state == RESIDENCE_UNKNOWN { "Not known".to_owned() } else { state.to_owned() }
}

fn count_table(what: &str, rows: impl Iterator<Item = (String, u64, u64)>) -> Markup {
    html! {
        table.sheet.small {
            thead { tr { th { (what) } th.right { "Persons" } th.right { "Records" } } }
            tbody {
                @for (name, persons, records) in rows {
                    tr { td { (name) } td.num.right { (grouped(persons)) } td.num.right { (grouped(records)) } }
                }
            }
        }
    }
}

/// For each class: of how many records its key left, and of how many its content did.
fn class_table(scope: &Scope) -> Markup {
    let mut counts: BTreeMap<ElementClass, (u64, u64)> = BTreeMap::new();
    for row in &scope.rows {
        for class in row.released.iter() {
            counts.entry(class).or_default().0 += 1;
        }
        for class in row.returned.iter() {
            counts.entry(class).or_default().1 += 1;
        }
    }
    html! {
        table.sheet.small {
            thead { tr { th { "Class" } th.right { "Could be seen" } th.right { "Was returned" } } }
            tbody {
                @for (class, (released, returned)) in counts {
                    tr { td { (detector(class.as_str())) } td.num.right { (grouped(released)) } td.num.right { (grouped(returned)) } }
                }
            }
        }
    }
}
