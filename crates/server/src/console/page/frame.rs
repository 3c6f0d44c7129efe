//! What every page has: head, bar, main part, foot.

use maud::{DOCTYPE, Markup, html};

/// The style sheet.
pub(crate) const STYLE: &str = include_str!("../style.css");

/// FNV-1a of the style sheet: its address changes when it does, so browsers may
/// keep it for ever.
const STYLE_HASH: u64 = {
    let bytes = STYLE.as_bytes();
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
};

/// Where the style sheet is.
pub(crate) fn style_path() -> String {
    format!("/console-{STYLE_HASH:016x}.css")
}

/// The parts of the console.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Looking patients up, and their charts.
    Patients,
    /// News.
    Inbox,
    /// Records to be matched.
    Reviews,
    /// Incidents and containment.
    Office,
    /// Organizations and accounts.
    Accounts,
    /// Payloads that wait or were refused.
    Messages,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Patients => "Patients",
            Self::Inbox => "Inbox",
            Self::Reviews => "Reviews",
            Self::Office => "Office",
            Self::Accounts => "Accounts",
            Self::Messages => "Messages",
        }
    }

    /// Its page.
    pub fn path(self) -> &'static str {
        match self {
            Self::Patients => "/patients",
            Self::Inbox => "/inbox",
            Self::Reviews => "/reviews",
            Self::Office => "/office",
            Self::Accounts => "/accounts",
            Self::Messages => "/messages",
        }
    }
}

/// Who reads the page.
#[derive(Clone)]
pub(crate) struct Viewer {
    /// Name on screen.
    pub name: String,
    /// Organization, by name.
    pub organization: String,
    /// Role, in words.
    pub role: String,
    /// The parts of the console that the role has use for.
    pub places: Vec<Place>,
}

/// A page for whoever is signed in.
pub(super) fn framed(title: &str, viewer: &Viewer, here: Option<Place>, main: Markup) -> Markup {
    document(
        title,
        html! {
            a.skip href="#main" { "Skip to content" }
            header.bar {
                div.bar-in {
                    a.brand href="/" { (mark()) "Holdfast" }
                    nav aria-label="Console" {
                        @for place in &viewer.places {
                            a href=(place.path()) aria-current=[(here == Some(*place)).then_some("page")] {
                                (place.name())
                            }
                        }
                    }
                    div.who {
                        span.who-name { (viewer.name) }
                        span.who-role { (viewer.role) ", " (viewer.organization) }
                    }
                    form action="/sign-out" method="post" { button.quiet { "Sign out" } }
                }
            }
            main #main tabindex="-1" { (main) }
            footer.foot { p { "Every record that is opened is written to the ledger, with who and what for." } }
        },
    )
}

/// A page on its own.
pub(super) fn bare(title: &str, main: Markup) -> Markup {
    document(title, html! { main #main .bare { (main) } })
}

fn document(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta name="robots" content="noindex";
                title { (title) " · Holdfast" }
                link rel="icon" href=(ICON);
                link rel="stylesheet" href=(style_path());
            }
            body { (body) }
        }
    }
}

/// Two posts and the line made fast between them: an H.
pub(super) fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" focusable="false" {
            path d="M5.5 3.5v17M18.5 3.5v17M5.5 13.4c2.6-4.6 5-4.3 6.5-1.4s3.9 3.2 6.5-1.4"
                fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" {}
        }
    }
}

const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E%3Cpath d='M5.5 3.5v17M18.5 3.5v17M5.5 13.4c2.6-4.6 5-4.3 6.5-1.4s3.9 3.2 6.5-1.4' fill='none' stroke='%230b5d5e' stroke-width='2.4' stroke-linecap='round'/%3E%3C/svg%3E";
