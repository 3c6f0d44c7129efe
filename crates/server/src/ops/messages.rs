//! Kept payloads: which wait or were refused, one opened, some tried again.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use data_encoding::BASE64;
use holdfast_base::{MessageId, OrganizationId};
use holdfast_exchange::{KeptFilter, KeptView, Replayed};
use serde::Deserialize;
use serde_json::{Value, json};

use super::incidents::Reason;
use crate::body::{JsonBody, parse_pairs};
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::AppState;

/// Payloads of a page when nobody says.
const LIMIT_DEFAULT: usize = 50;

/// `GET /ops/messages?organization=…&category=…&after=…&limit=…`: newest first; nothing
/// of what they say.
pub(super) async fn list(
    State(state): State<AppState>,
    Asking(ask): Asking,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Failure> {
    let filter = filter_of(&query.unwrap_or_default())?;
    let page = state.exchange.kept_messages(&ask, &filter).await?;
    let messages: Vec<Value> = page.messages.iter().map(view).collect();
    Ok(Json(json!({ "messages": messages, "next": page.next })))
}

fn filter_of(query: &str) -> Result<KeptFilter, Failure> {
    let mut filter = KeptFilter { limit: LIMIT_DEFAULT, ..KeptFilter::default() };
    for (name, value) in parse_pairs(query.as_bytes())? {
        let fits = match name.as_str() {
            "organization" => {
                filter.organization = value.parse().ok();
                filter.organization.is_some()
            }
            "category" => {
                filter.category = Some(value);
                true
            }
            "after" => {
                filter.after = value.parse().ok().map(MessageId);
                filter.after.is_some()
            }
            "limit" => {
                filter.limit = value.parse().unwrap_or_default();
                filter.limit > 0
            }
            _ => return Err(Failure::incorrect("known are organization, category, after, limit")),
        };
        if !fits {
            return Err(Failure::incorrect(format!("{name} is not of the wanted form")));
        }
    }
    Ok(filter)
}

fn view(message: &KeptView) -> Value {
    let issues = message.issues.iter().map(|(place, text)| json!({ "place": place, "text": text }));
    json!({
        "message": message.message,
        "organization": message.organization,
        "sender": message.sender,
        "received": message.received,
        "format": message.format,
        "state": message.state,
        "category": message.category,
        "reason": message.reason,
        "issues": issues.collect::<Vec<_>>(),
    })
}

/// `GET /ops/messages/{number}`.
pub(super) async fn one(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(number): Path<String>,
) -> Result<Json<Value>, Failure> {
    let message = state.exchange.kept_message(&ask, numbered(&number)?).await?;
    Ok(Json(view(&message)))
}

/// `POST /ops/messages/{number}/show`: what it says, for the sender's privacy office.
pub(super) async fn show(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(number): Path<String>,
    JsonBody(reason): JsonBody<Reason>,
) -> Result<Json<Value>, Failure> {
    let number = numbered(&number)?;
    let shown = state.exchange.show_message(&ask, number, reason.checked()?).await?;
    let mut answer = view(&shown.view);
    answer["payload_base64"] = json!(BASE64.encode(shown.payload.expose()));
    answer["payload_text"] = json!(printable(shown.payload.expose()));
    Ok(Json(answer))
}

/// A payload as a terminal or page may show it: whatever a sender wrote, it does nothing
/// there.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    let shown = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

/// `POST /ops/messages/{number}/replay`.
pub(super) async fn replay(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(number): Path<String>,
) -> Result<Json<Value>, Failure> {
    let replayed = state.exchange.replay_message(&ask, numbered(&number)?).await?;
    Ok(Json(told(&replayed)))
}

/// Which are to be tried again.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Order {
    organization: Option<OrganizationId>,
    category: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
}

/// `POST /ops/messages/replay`: all of a category, the oldest first, page by page.
pub(super) async fn replay_all(
    State(state): State<AppState>,
    Asking(ask): Asking,
    JsonBody(order): JsonBody<Order>,
) -> Result<Json<Value>, Failure> {
    if order.category.is_none() {
        return Err(Failure::incorrect("say of which category; the list shows them"));
    }
    let filter = KeptFilter {
        organization: order.organization,
        category: order.category,
        after: order.after.map(MessageId),
        limit: order.limit.unwrap_or(LIMIT_DEFAULT),
    };
    Ok(Json(told(&state.exchange.replay_messages(&ask, &filter).await?)))
}

fn told(replayed: &Replayed) -> Value {
    let messages: Vec<Value> = replayed.messages.iter().map(view).collect();
    json!({ "messages": messages, "next": replayed.next, "stopped": replayed.stopped })
}

fn numbered(text: &str) -> Result<MessageId, Failure> {
    text.parse().map(MessageId).map_err(|_| Failure::not_found())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sender_wrote_does_nothing_to_the_terminal() {
        assert_eq!(printable(b"MSH|^~\\&|\rPID|1\r\n"), "MSH|^~\\&|\nPID|1\n");
        assert_eq!(printable(b"a\x1b[2Jb\xff"), "a\u{fffd}[2Jb\u{fffd}");
    }

    #[test]
    fn a_list_is_asked_for_by_known_names_only() {
        let filter = filter_of("organization=lakeside&category=missing&after=7&limit=3");
        let filter = filter.expect("readable");
        assert_eq!((filter.after, filter.limit), (Some(MessageId(7)), 3));
        assert_eq!(filter.category.as_deref(), Some("missing"));
        assert_eq!(filter_of("").expect("readable").limit, LIMIT_DEFAULT);
        for wrong in ["patient=1", "limit=0", "limit=x", "after=-1", "organization=A%20B"] {
            assert!(filter_of(wrong).is_err(), "{wrong}");
        }
    }
}
