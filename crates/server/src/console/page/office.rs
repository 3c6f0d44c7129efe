//! The privacy and security office: what was found, what is contained.

use holdfast_exchange::{AccountView, FindingView, Incident, LedgerState};
use maud::{Markup, html};

use super::super::view::Moment;
use super::frame::{Place, Viewer, framed};
use super::lists::who_form;
use super::parts::{counted, date_time, grouped, nothing, tag};

/// What lies on the office's desk.
pub(crate) struct Desk {
    /// Incidents, newest first.
    pub incidents: Vec<Incident>,
    /// Findings, newest first.
    pub findings: Vec<FindingView>,
    /// Accounts.
    pub accounts: Vec<AccountView>,
    /// Where the ledger stands; `None` while the keeper does not answer.
    pub ledger: Option<LedgerState>,
    /// Of whose records the reader may ask who looked: an organization's id.
    pub looks_of: Option<String>,
}

/// The office's page; `told` says what was just done.
pub(crate) fn office(viewer: &Viewer, desk: &Desk, told: Option<&str>) -> Markup {
    let suspended: Vec<&AccountView> =
        desk.accounts.iter().filter(|a| a.suspended.is_some()).collect();
    let open =
        desk.incidents.iter().filter(|incident| incident.status.as_str() != "closed").count();
    let main = html! {
        h1 { "Privacy and security office" }
        @if let Some(told) = told { p.told-done role="status" { (told) } }
        dl.tiles {
            div { dt { "Open incidents" } dd { (open) } }
            div { dt { "Findings" } dd { (desk.findings.len()) } }
            div { dt { "Suspended" } dd { (suspended.len()) } }
            div { dt { "Ledger entries" } dd {
                @match &desk.ledger { Some(ledger) => (grouped(ledger.size)), None => "–" }
            } }
        }
        section.part aria-labelledby="incidents-h" {
            h2 #incidents-h { "Incidents" }
            (incidents(&desk.incidents))
        }
        section.part aria-labelledby="findings-h" {
            h2 #findings-h { "Findings" }
            (findings(&desk.findings))
        }
        section.part aria-labelledby="contain-h" {
            h2 #contain-h { "Containment" }
            p.detail { "A suspended account gets no key and no session, from this moment on. Every step is reversible and in the ledger." }
            (suspend_form(&desk.accounts))
            @for account in suspended { (lift_form(account)) }
        }
        @if let Some(organization) = &desk.looks_of {
            section.part aria-labelledby="who-h" {
                h2 #who-h { "Who looked at a patient" }
                (who_form(organization))
            }
        }
        @if let Some(ledger) = &desk.ledger {
            section.part aria-labelledby="ledger-h" {
                h2 #ledger-h { "Ledger" }
                dl.facts {
                    dt { "Root" } dd { code.hash { (ledger.root) } }
                    dt { "Checkpoint" } dd { pre tabindex="0" { (ledger.checkpoint) } }
                    dt { "Verifier key" } dd { code.hash { (ledger.verifier_key) } }
                }
            }
        }
    };
    framed("Office", viewer, Some(Place::Office), main)
}

fn incidents(incidents: &[Incident]) -> Markup {
    html! {
        @if incidents.is_empty() { (nothing("No incident was ever opened.")) }
        @else {
            table.sheet.stack {
                thead { tr { th { "Incident" } th { "Account" } th { "Status" } th { "Discovered (UTC)" } th { "Findings" } } }
                tbody {
                    @for incident in incidents {
                        tr {
                            td data-label="Incident" { a.strong href={ "/office/incidents/" (incident.id) } { (incident.reference()) } }
                            td data-label="Account" { (incident.principal) }
                            td data-label="Status" { (status_tag(incident.status.as_str())) }
                            td data-label="Discovered" { (date_time(&Moment::of(incident.discovered))) }
                            td.num data-label="Findings" { (incident.findings.len()) }
                        }
                    }
                }
            }
        }
    }
}

fn findings(findings: &[FindingView]) -> Markup {
    html! {
        @if findings.is_empty() { (nothing("The watch has found nothing.")) }
        @else {
            table.sheet.stack {
                thead { tr { th { "Finding" } th { "Account" } th { "Patients" } th { "When (UTC)" } th { "Incident" } } }
                tbody {
                    @for finding in findings {
                        tr {
                            td data-label="Finding" {
                                (severity_tag(&finding.severity)) " " span.strong { (detector(&finding.detector)) }
                                span.line.detail { (finding.summary) }
                            }
                            td data-label="Account" { (finding.principal) }
                            td.num data-label="Patients" { (grouped(finding.patients_count)) }
                            td data-label="When" { (date_time(&Moment::of(finding.at))) }
                            td data-label="Incident" { a href={ "/office/incidents/" (finding.incident) } { "HF-" (format!("{:06}", finding.incident.0)) } }
                        }
                    }
                }
            }
        }
    }
}

/// Where an incident stands.
pub(super) fn status_tag(status: &str) -> Markup {
    match status {
        "open" => tag("Open", "grave"),
        "contained" => tag("Contained", "loud"),
        "scope-frozen" => tag("Scope frozen", "live"),
        "notices-drafted" => tag("Notices drafted", "live"),
        "closed" => tag("Closed", "soft"),
        other => tag(other, "soft"),
    }
}

/// How grave a finding is.
pub(super) fn severity_tag(severity: &str) -> Markup {
    match severity {
        "critical" => tag("Critical", "grave"),
        "serious" => tag("Serious", "loud"),
        "notice" => tag("Notice", "soft"),
        other => tag(other, "soft"),
    }
}

/// A detector's name as words.
pub(super) fn detector(name: &str) -> String {
    let spaced = name.replace('-', " ");
    let mut chars = spaced.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn suspend_form(accounts: &[AccountView]) -> Markup {
    html! {
        form.inline action="/office/contain" method="post" {
            div.field { label for="principal" { "Account" }
                input #principal name="principal" list="accounts" required maxlength="80" spellcheck="false" autocapitalize="none"; }
            datalist #accounts {
                @for account in accounts.iter().filter(|account| account.suspended.is_none()) {
                    option value=(account.id) { (account.display_name) }
                }
            }
            div.field.wide { label for="reason" { "Reason" }
                input #reason name="reason" required maxlength="200" placeholder="No patient’s name: it goes into the ledger"; }
            div.field.act { button.grave { "Suspend" } }
        }
    }
}

/// Lifts one suspension.
pub(super) fn lift_form(account: &AccountView) -> Markup {
    let field = format!("lift-{}", account.id);
    html! {
        form.inline.suspended action="/office/lift" method="post" {
            div.suspended-who {
                span.strong { (account.id) } " " (tag("Suspended", "grave"))
                span.line.detail { (account.display_name) ", " (account.organization) @if let Some(why) = &account.suspended { " · " (why) } }
            }
            input type="hidden" name="principal" value=(account.id);
            div.field.wide { label for=(field) { "Reason to lift" }
                input id=(field) name="reason" required maxlength="200"; }
            div.field.act { button { "Lift" } }
        }
    }
}

/// `3 patients`.
pub(super) fn patients(count: u64) -> String {
    counted(usize::try_from(count).unwrap_or(usize::MAX), "patient")
}
