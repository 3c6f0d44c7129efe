//! Messages that wait or were refused, as pages.

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::response::{Html, Redirect};
use holdfast_base::MessageId;
use holdfast_exchange::{KeptFilter, Replayed, Role};
use serde::Deserialize;

use super::guard::page;
use super::page::{self, Kept};
use super::viewer::{named, viewer};
use crate::caller::Asking;
use crate::error::Failure;
use crate::ops::messages::printable;
use crate::state::AppState;

/// Messages of one page.
const PAGE_COUNT: usize = 50;
/// Longest reason to open one; it stands in the ledger.
const REASON_BYTES_MAX: usize = 300;

/// What is looked at, and what was just done.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Looked {
    category: Option<String>,
    after: Option<u64>,
    total: Option<usize>,
    finished: Option<usize>,
}

/// `GET /messages`.
pub(super) async fn list(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Query(looked): Query<Looked>,
) -> Result<Html<String>, Failure> {
    // A category is a word of ours; nothing else of a link gets onto the page.
    let plain = |text: &String| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let category = looked.category.filter(plain);
    let filter = KeptFilter {
        category: category.clone(),
        after: looked.after.map(MessageId),
        limit: PAGE_COUNT,
        ..KeptFilter::default()
    };
    let found = state.exchange.kept_messages(&ask, &filter).await?;
    let next = found.next.map(|next| match &category {
        Some(category) => format!("/messages?category={category}&after={next}"),
        None => format!("/messages?after={next}"),
    });
    let told = looked.total.zip(looked.finished).map(|(total, finished)| match (total, finished) {
        (1, 1) => "It is part of a record now.".to_owned(),
        (1, _) => "It was refused again, or waits.".to_owned(),
        (total, finished) => {
            format!("{total} were tried again; {finished} of them are part of a record now.")
        }
    });
    let opens = ask.caller.role() == Role::PrivacyOfficer;
    let kept = Kept { messages: found.messages, next, category, opens };
    Ok(page(page::kept(&viewer(&state, &ask), &kept, told.as_deref(), &named(&state))))
}

/// `POST /messages/{number}/replay`.
pub(super) async fn replay(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(number): Path<u64>,
) -> Result<Redirect, Failure> {
    let replayed = state.exchange.replay_message(&ask, MessageId(number)).await?;
    Ok(told(&[replayed]))
}

/// A category.
#[derive(Deserialize)]
pub(super) struct Category {
    category: String,
}

/// `POST /messages/replay`: all of a category, page by page.
pub(super) async fn replay_all(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Form(given): Form<Category>,
) -> Result<Redirect, Failure> {
    let category = Some(given.category);
    let mut filter = KeptFilter { category, limit: PAGE_COUNT, ..KeptFilter::default() };
    let mut all = Vec::new();
    loop {
        let replayed = state.exchange.replay_messages(&ask, &filter).await?;
        filter.after = replayed.next;
        all.push(replayed);
        if filter.after.is_none() {
            return Ok(told(&all));
        }
    }
}

fn told(replayed: &[Replayed]) -> Redirect {
    let all = || replayed.iter().flat_map(|replayed| &replayed.messages);
    let finished = all().filter(|message| matches!(message.state, "accepted" | "duplicate"));
    let (total, finished) = (all().count(), finished.count());
    Redirect::to(&format!("/messages?total={total}&finished={finished}"))
}

/// Why one is opened.
#[derive(Deserialize)]
pub(super) struct Why {
    reason: String,
}

/// `POST /messages/{number}/show`.
pub(super) async fn show(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(number): Path<u64>,
    Form(why): Form<Why>,
) -> Result<Html<String>, Failure> {
    let reason = why.reason.trim();
    if reason.is_empty() || reason.len() > REASON_BYTES_MAX {
        return Err(Failure::incorrect("say why, in a sentence or two"));
    }
    let shown = state.exchange.show_message(&ask, MessageId(number), reason).await?;
    let text = printable(shown.payload.expose());
    Ok(page(page::shown(&viewer(&state, &ask), &shown.view, &text, &named(&state))))
}
