//! Work lists: the inbox, records to be matched, who looked at a record.

use holdfast_exchange::{InboxItem, Look, ReviewItem};
use maud::{Markup, html};

use super::super::view::Moment;
use super::frame::{Place, Viewer, framed};
use super::parts::{counted, date_time, nothing, tag};

/// What the news of an [`InboxItem`] is.
fn news(what: &str) -> &str {
    match what {
        "admission" => "Admitted",
        "discharge" => "Discharged",
        "transfer" => "Transferred",
        "registration" => "Registered",
        "result" => "New result",
        "report" => "New report",
        other => other,
    }
}

/// The inbox. `name_of` knows organizations by name.
pub(crate) fn inbox(
    viewer: &Viewer,
    items: &[InboxItem],
    name_of: &dyn Fn(&str) -> String,
) -> Markup {
    let main = html! {
        h1 { "Inbox" }
        p.lead { "News about your organization’s patients. A name appears when you open the chart, because to show it is to open the record." }
        @if items.is_empty() { (nothing("Nothing is waiting. Results, reports and admissions appear here when they arrive.")) }
        @else {
            table.sheet.stack {
                thead { tr { th { "News" } th { "From" } th { "Arrived" } th { span.sr { "Open" } } } }
                tbody {
                    @for item in items {
                        tr {
                            td data-label="News" {
                                span.strong { (news(&item.what)) }
                                @if !item.resources.is_empty() { span.line.detail { (counted(item.resources.len(), "document")) } }
                            }
                            td data-label="From" { (name_of(item.organization.as_str())) }
                            td data-label="Arrived" { (date_time(&Moment::of(item.at))) }
                            td.act { a.button href={ "/patients/" (item.organization) "/" (item.patient) } { "Open chart" } }
                        }
                    }
                }
            }
        }
    };
    framed("Inbox", viewer, Some(Place::Inbox), main)
}

/// Records that may belong to a person already known.
pub(crate) fn reviews(
    viewer: &Viewer,
    items: &[ReviewItem],
    name_of: &dyn Fn(&str) -> String,
) -> Markup {
    let main = html! {
        h1 { "Reviews" }
        p.lead { "New records that may belong to somebody already known. Until somebody decides, they stay apart." }
        @if items.is_empty() { (nothing("Nothing is waiting: every record was matched without doubt.")) }
        @else {
            table.sheet.stack {
                thead { tr { th { "Record" } th { "Kept by" } th { "Arrived" } th { span.sr { "Open" } } } }
                tbody {
                    @for item in items {
                        tr {
                            td.num data-label="Record" { (item.patient) }
                            td data-label="Kept by" { (name_of(item.organization.as_str())) }
                            td data-label="Arrived" { (date_time(&Moment::of(item.at))) }
                            td.act { a.button href={ "/patients/" (item.organization) "/" (item.patient) } { "Open chart" } }
                        }
                    }
                }
            }
        }
    };
    framed("Reviews", viewer, Some(Place::Reviews), main)
}

/// The form that asks whose record of `organization` it is.
pub(super) fn who_form(organization: &str) -> Markup {
    html! {
        form.inline action="/office/who" method="get" {
            input type="hidden" name="organization" value=(organization);
            div.field.wide { label for="w-patient" { "Patient id" }
                input #w-patient name="patient" required maxlength="64" spellcheck="false"
                    aria-describedby="w-hint";
                p.hint #w-hint { "The last part of the chart’s address. It says nothing about the person." }
            }
            div.field.act { button { "Show who looked" } }
        }
    }
}

/// Who looked at one record.
pub(crate) fn looks(
    viewer: &Viewer,
    organization: &str,
    patient: &str,
    looks: &[Look],
    name_of: &dyn Fn(&str) -> String,
) -> Markup {
    let main = html! {
        h1 { "Who looked" }
        p.lead {
            "Every look at the record " code { (patient) } " of " (name_of(organization)) ", from the ledger, newest first. "
            a href={ "/patients/" (organization) "/" (patient) } { "Open the chart" }
        }
        @if looks.is_empty() { (nothing("Nobody has looked at this record.")) }
        @else {
            table.sheet.stack {
                thead { tr { th { "When (UTC)" } th { "Who" } th { "What for" } th { "Relationship" } th { "What" } } }
                tbody {
                    @for look in looks {
                        tr {
                            td data-label="When" { (date_time(&Moment::of(look.at))) }
                            td data-label="Who" {
                                span.strong { (look.principal) }
                                @if let Some(organization) = &look.organization { span.line.detail { (name_of(organization.as_str())) } }
                            }
                            td data-label="What for" { (purpose(&look.purpose)) }
                            td data-label="Relationship" { (relationship(&look.relationship)) }
                            td.detail data-label="What" {
                                @for (place, (kind, count)) in look.resources.iter().enumerate() {
                                    @if place > 0 { ", " } (count) " " (kind)
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    framed("Who looked", viewer, Some(Place::Office), main)
}

fn purpose(code: &str) -> Markup {
    match code {
        "TREAT" => html! { "Treatment" },
        "ETREAT" => tag("Emergency", "grave"),
        "PATRQT" => html! { "The patient’s own request" },
        "HOPERAT" => html! { "Operations" },
        "HSYSADMIN" => html! { "Administration" },
        "CLINTRCH" => html! { "Research" },
        "PUBHLTH" => html! { "Public health" },
        "HCOMPL" => html! { "Compliance" },
        other => html! { (other) },
    }
}

fn relationship(code: &str) -> Markup {
    match code {
        "self" => html! { "The patient" },
        "care-team" => html! { "Care team" },
        "organization" => html! { "Same organization" },
        "linked-organization" => html! { "Linked organization" },
        "intake" => html! { "Intake" },
        "none" => tag("None documented", "grave"),
        other => html! { (other) },
    }
}
