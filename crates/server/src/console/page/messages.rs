//! Messages that wait or were refused: a list without a word of what they say, and one
//! of them opened.

use holdfast_exchange::KeptView;
use maud::{Markup, html};

use super::super::view::Moment;
use super::frame::{Place, Viewer, framed};
use super::parts::{date_time, nothing, tag};

/// A page of kept messages.
pub(crate) struct Kept {
    /// The messages, newest first.
    pub messages: Vec<KeptView>,
    /// Where the next page goes on.
    pub next: Option<String>,
    /// The category that is looked at.
    pub category: Option<String>,
    /// Whether the reader may open one.
    pub opens: bool,
}

/// The list; `told` says what was just done.
pub(crate) fn kept(
    viewer: &Viewer,
    kept: &Kept,
    told: Option<&str>,
    name_of: &dyn Fn(&str) -> String,
) -> Markup {
    let main = html! {
        h1 { "Messages" }
        p.lead { "What waits or was refused. The list says nothing of what a message says; once its cause is mended it can be tried again." }
        @if let Some(told) = told { p.told-done role="status" { (told) } }
        @if let Some(category) = &kept.category {
            form.inline action="/messages/replay" method="post" {
                input type="hidden" name="category" value=(category);
                div.field.wide { span.strong { "Refused: " (words(category)) } " " a href="/messages" { "Show all" } }
                div.field.act { button { "Try all of these again" } }
            }
        }
        @if kept.messages.is_empty() { (nothing("Nothing waits, and nothing was refused.")) }
        @else {
            table.sheet.stack {
                thead { tr { th { "Message" } th { "From" } th { "Why" } th { "Arrived (UTC)" } th { span.sr { "Steps" } } } }
                tbody { @for message in &kept.messages { (row(message, kept.opens, name_of)) } }
            }
        }
        @if let Some(next) = &kept.next { p { a.button href=(next) { "Older ones" } } }
    };
    framed("Messages", viewer, Some(Place::Messages), main)
}

fn row(message: &KeptView, opens: bool, name_of: &dyn Fn(&str) -> String) -> Markup {
    html! {
        tr {
            td data-label="Message" {
                span.strong.num { (message.message) } " " (state_tag(message.state))
                span.line.detail { (format_name(message.format)) }
            }
            td data-label="From" {
                (name_of(message.organization.as_str()))
                span.line.detail { (message.sender) }
            }
            td data-label="Why" {
                @if let Some(category) = &message.category {
                    a href={ "/messages?category=" (category) } { (words(category)) }
                }
                @if let Some(reason) = &message.reason { span.line.detail { (reason) } }
                @for (place, text) in message.issues.iter().filter(|(_, text)| Some(text) != message.reason.as_ref()) {
                    span.line.detail { (place) ": " (text) }
                }
            }
            td data-label="Arrived" { (date_time(&Moment::of(message.received))) }
            td.act {
                form action={ "/messages/" (message.message) "/replay" } method="post" { button { "Try again" } }
                @if opens { (open_form(message)) }
            }
        }
    }
}

fn open_form(message: &KeptView) -> Markup {
    let field = format!("reason-{}", message.message);
    html! {
        details.more {
            summary { "Open" }
            form action={ "/messages/" (message.message) "/show" } method="post" {
                label for=(field) { "Reason" }
                input id=(field) name="reason" required maxlength="200" placeholder="No patient’s name: it goes into the ledger";
                button { "Open and note it" }
            }
        }
    }
}

/// One message, opened.
pub(crate) fn shown(
    viewer: &Viewer,
    message: &KeptView,
    text: &str,
    name_of: &dyn Fn(&str) -> String,
) -> Markup {
    let main = html! {
        h1 { "Message " (message.message) }
        p.lead {
            (format_name(message.format)) " from " (name_of(message.organization.as_str()))
            ". That you opened it is in the ledger."
        }
        @if let Some(reason) = &message.reason { p { span.strong { "Refused: " } (reason) } }
        @for (place, text) in &message.issues { p.detail { (place) ": " (text) } }
        pre tabindex="0" { (text) }
        p { a.button href="/messages" { "Back to the list" } }
    };
    framed("Message", viewer, Some(Place::Messages), main)
}

fn state_tag(state: &str) -> Markup {
    match state {
        "waiting" => tag("Waiting", "live"),
        "refused" => tag("Refused", "loud"),
        "review" => tag("To be decided", "live"),
        other => tag(other, "soft"),
    }
}

fn format_name(format: &str) -> &str {
    match format {
        "hl7v2" => "HL7 v2",
        "ccda" => "C-CDA",
        "fhir" => "FHIR",
        other => other,
    }
}

/// A category as words.
fn words(category: &str) -> String {
    category.replace('-', " ")
}
