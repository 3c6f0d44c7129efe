//! The ledger, for those who check it.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use holdfast_base::LedgerIndex;
use holdfast_exchange::{Proof, ReconcileState, Reconciled};
use serde::Deserialize;
use serde_json::{Value, json};

use super::question::Question;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::AppState;

/// Entries of one answer when `limit` does not say.
const ENTRIES_DEFAULT: usize = 1_000;
/// Most entries of one answer; more is what evidence bundles are for.
const ENTRIES_MAX: usize = 10_000;

/// `GET /ops/ledger/state`: size, root, checkpoint and the key that verifies it.
pub(super) async fn state(
    State(state): State<AppState>,
    _: Asking,
) -> Result<Json<Value>, Failure> {
    let ledger = state.exchange.ledger_state().await?;
    Ok(Json(json!({
        "size": ledger.size,
        "root": ledger.root,
        "checkpoint": ledger.checkpoint,
        "verifier_key": ledger.verifier_key,
        "second_key": ledger.second_key,
        "witnessed": ledger.witnessed,
    })))
}

/// `GET /ops/ledger/entries?…`: the latest that fit, in their order, and how many
/// fit in all. With `after` (-1 is the beginning): the page that follows that entry,
/// and in `next` the `after` of the page that follows.
pub(super) async fn entries(
    State(state): State<AppState>,
    Asking(ask): Asking,
    question: Question,
) -> Result<Json<Value>, Failure> {
    let limit = question.limit.unwrap_or(ENTRIES_DEFAULT).min(ENTRIES_MAX);
    if let Some(after) = question.after {
        let after = u64::try_from(after).ok().map(LedgerIndex);
        let entries = state.exchange.ledger_page(&ask, &question.filter(), after, limit).await?;
        let next = (entries.len() == limit).then(|| entries.last().map(|p| p.index)).flatten();
        return Ok(Json(json!({ "entries": entries, "next": next })));
    }
    let entries = state.exchange.ledger_entries(&ask, &question.filter()).await?;
    let total = entries.len();
    let latest = entries.get(total.saturating_sub(limit)..).unwrap_or_default();
    Ok(Json(json!({ "total": total, "entries": latest })))
}

/// `GET /ops/ledger/proof?entry=N[&size=S]`: that the entry is in the tree;
/// `?from=A[&size=B]`: that the tree only grew.
pub(super) async fn proof(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Query(asked): Query<AskedProof>,
) -> Result<Json<Proof>, Failure> {
    let proof = match asked {
        AskedProof { entry: Some(entry), from: None, size } => {
            state.exchange.prove_entry(&ask, entry, size).await
        }
        AskedProof { entry: None, from: Some(from), size } => {
            state.exchange.prove_growth(&ask, from, size).await
        }
        _ => {
            let text = "say `entry` (and `size`), or `from` (and `size`)";
            return Err(Failure::incorrect(text));
        }
    };
    Ok(Json(proof?))
}

/// Which proof is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskedProof {
    entry: Option<u64>,
    from: Option<u64>,
    size: Option<u64>,
}

/// `GET /ops/ledger/reconciliation`: how far the job that holds releases, details and the
/// store against each other is, and what it found since the server started.
pub(super) async fn reconciliation(
    State(state): State<AppState>,
    Asking(ask): Asking,
) -> Result<Json<ReconcileState>, Failure> {
    Ok(Json(state.exchange.reconciliation(&ask).await?))
}

/// `POST /ops/ledger/reconcile?from=&to=`: does it now, for what happened meanwhile.
pub(super) async fn reconcile(
    State(state): State<AppState>,
    Asking(ask): Asking,
    question: Question,
) -> Result<Json<Reconciled>, Failure> {
    let span = question.filter();
    Ok(Json(state.exchange.reconcile(&ask, span.from, span.to).await?))
}

/// `GET /ops/ledger/bundle?…&seen=`: an evidence bundle that verifies offline, also
/// for those who saw the ledger at the sizes `seen`.
pub(super) async fn bundle(
    State(state): State<AppState>,
    Asking(ask): Asking,
    question: Question,
) -> Result<impl IntoResponse, Failure> {
    let seen = question.seen.clone();
    let witnessed = question.witnessed.unwrap_or_default();
    let bundle = state.exchange.evidence(&ask, &question.filter(), &seen, witnessed).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"evidence.bundle\""),
    ];
    Ok((headers, bundle))
}
