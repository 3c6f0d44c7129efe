//! A page that is one sentence: what happened and what to do.

use maud::{Markup, html};

use super::frame::{Viewer, bare, framed, mark};

/// The page of `sentence`, for whoever is signed in or for nobody; `request` is
/// what the operator can find it by.
pub(crate) fn message(
    viewer: Option<&Viewer>,
    title: &str,
    sentence: &str,
    request: &str,
) -> Markup {
    let main = html! {
        div.message {
            @if viewer.is_none() { p.gate-brand { (mark()) "Holdfast" } }
            h1 { (title) }
            p.lead { (sentence) }
            p { a.button href="/" { "Back to the start" } }
            @if !request.is_empty() { p.hint { "Request " code { (request) } } }
        }
    };
    match viewer {
        Some(viewer) => framed(title, viewer, None, main),
        None => bare(title, main),
    }
}
