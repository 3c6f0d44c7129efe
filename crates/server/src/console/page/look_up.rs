//! Looking patients up. What is typed travels in the body of a form, never in a
//! URL; results link by random ids.

use maud::{Markup, html};

use super::super::view::FoundRow;
use super::frame::{Place, Viewer, framed};
use super::parts::{counted, nothing};

/// What was asked for, to be shown again.
#[derive(Default, Clone)]
pub(crate) struct Asked {
    /// Name.
    pub name: String,
    /// Birth date.
    pub born: String,
    /// Medical record number.
    pub number: String,
    /// Where to look: an organization's id.
    pub organization: String,
    /// Why it is an emergency; empty when it is none.
    pub emergency: String,
}

/// What a look-up came to.
pub(crate) enum Finding {
    /// Nobody looked yet.
    NotAsked,
    /// It could not be done; a sentence that says what to do.
    Problem(String),
    /// These, of so many.
    Rows(Vec<FoundRow>, usize),
}

/// The look-up page. `organizations` are id and name, the reader's own first;
/// `may_break` offers to declare an emergency.
pub(crate) fn look_up(
    viewer: &Viewer,
    organizations: &[(String, String)],
    asked: &Asked,
    finding: &Finding,
    may_break: bool,
) -> Markup {
    let chosen = |id: &str| id == asked.organization;
    let untouched = matches!(finding, Finding::NotAsked);
    let main = html! {
        h1 { "Find a patient" }
        form.look-up action="/patients" method="post" autocomplete="off" {
            div.fields {
                div.field.wide {
                    label for="name" { "Name" }
                    input #name name="name" type="search" value=(asked.name) maxlength="120"
                        autofocus[untouched] spellcheck="false" placeholder="Family name, given name";
                }
                div.field {
                    label for="born" { "Birth date" }
                    input #born name="born" type="date" value=(asked.born) max="2199-12-31";
                }
                div.field {
                    label for="number" { "Record number" }
                    input #number name="number" type="search" value=(asked.number) maxlength="80"
                        spellcheck="false" placeholder="MRN";
                }
                @if organizations.len() > 1 {
                    div.field.wide {
                        label for="organization" { "Where" }
                        select #organization name="organization" {
                            @for (id, name) in organizations {
                                option value=(id) selected[chosen(id)] { (name) }
                            }
                        }
                    }
                } @else if let Some((id, _)) = organizations.first() {
                    input type="hidden" name="organization" value=(id);
                }
                div.field.act { button.primary { "Look up" } }
            }
            @if may_break {
                details.glass open[!asked.emergency.is_empty()] {
                    summary { "This is an emergency" }
                    label for="emergency" { "Why the record has to be opened now" }
                    textarea #emergency name="emergency" rows="2" maxlength="300" { (asked.emergency) }
                    p.hint { "Opens records that you are not otherwise permitted to see. Your privacy office reads the reason." }
                }
            }
        }
        section.results aria-live="polite" {
            @match finding {
                Finding::NotAsked => {
                    p.nothing { "Enter a name, a birth date or a record number; the beginning of a name is enough." }
                }
                Finding::Problem(problem) => p.problem role="alert" { (problem) },
                Finding::Rows(rows, total) => (found(rows, *total, asked)),
            }
        }
    };
    framed("Find a patient", viewer, Some(Place::Patients), main)
}

fn found(rows: &[FoundRow], total: usize, asked: &Asked) -> Markup {
    if rows.is_empty() {
        return nothing(
            "Nobody fits. Check the spelling, or try the birth date or record number alone.",
        );
    }
    html! {
        h2 {
            (counted(total, "match"))
            @if total > rows.len() { small { " – the first " (rows.len()) ". Add a birth date to narrow it down." } }
        }
        table.sheet.stack {
            thead { tr { th { "Name" } th { "Born" } th { "Record number" } th { "Home" } th { span.sr { "Open" } } } }
            tbody {
                @for row in rows {
                    tr {
                        td.strong data-label="Name" { (row.name) }
                        td data-label="Born" { span.date { (row.born) } " " span.faint { (row.about) } }
                        td.num data-label="Record number" { (row.numbers) }
                        td data-label="Home" { (row.place) }
                        td.act { (open(row, asked)) }
                    }
                }
            }
        }
    }
}

/// A link to the chart; in an emergency a form, so that the reason goes with it.
fn open(row: &FoundRow, asked: &Asked) -> Markup {
    let path = format!("/patients/{}/{}", asked.organization, row.id);
    html! {
        @if asked.emergency.is_empty() {
            a.button href=(path) { "Open chart" span.sr { " of " (row.name) } }
        } @else {
            form action=(path) method="post" {
                input type="hidden" name="emergency" value=(asked.emergency);
                button.button.grave { "Open as emergency" span.sr { ": " (row.name) } }
            }
        }
    }
}
