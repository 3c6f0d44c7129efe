//! Incidents: looking, freezing, drafting; containing and lifting by hand.

use axum::Json;
use axum::extract::{Path, State};
use data_encoding::BASE64;
use holdfast_base::{IncidentId, OrganizationId, PrincipalId, Timestamp};
use holdfast_exchange::{Contact, ExchangeError, Incident, Letterhead, Monitoring};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::AppState;

/// Longest reason of a suspension: a sentence or two; it stands in the ledger.
const REASON_BYTES_MAX: usize = 300;
/// Who sends letters when the caller does not say.
const EXCHANGE_NAME: &str = "Holdfast Health Information Exchange";

/// `GET /ops/incidents`: newest first; scopes as totals.
pub(super) async fn list(
    State(state): State<AppState>,
    Asking(ask): Asking,
) -> Result<Json<Value>, Failure> {
    let incidents = state.exchange.incidents(&ask).await?;
    Ok(Json(json!({ "incidents": incidents.iter().map(brief).collect::<Vec<_>>() })))
}

/// `GET /ops/incidents/{number}`: one, with its frozen scope row by row.
pub(super) async fn one(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(number): Path<String>,
) -> Result<Json<Value>, Failure> {
    let incident = state.exchange.incident(&ask, numbered(&number)?).await?;
    whole(&incident)
}

/// `POST /ops/incidents/{number}/freeze`.
pub(super) async fn freeze(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(number): Path<String>,
) -> Result<Json<Value>, Failure> {
    let incident = state.exchange.freeze_scope(&ask, numbered(&number)?).await?;
    whole(&incident)
}

/// `POST /ops/incidents/{number}/draft`: every notice as a file.
pub(super) async fn draft(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(number): Path<String>,
    JsonBody(given): JsonBody<GivenLetterhead>,
) -> Result<Json<Value>, Failure> {
    let letterhead = given.letterhead(state.clock.now());
    let files = state.exchange.draft_notices(&ask, numbered(&number)?, &letterhead).await?;
    let files =
        files.iter().map(|file| json!({ "path": file.path, "base64": BASE64.encode(&file.bytes) }));
    Ok(Json(json!({ "files": files.collect::<Vec<_>>() })))
}

/// Why somebody is suspended, or no longer.
#[derive(Deserialize)]
pub(super) struct Reason {
    pub(super) reason: String,
}

impl Reason {
    pub(super) fn new(reason: String) -> Self {
        Self { reason }
    }

    pub(super) fn checked(&self) -> Result<&str, Failure> {
        let reason = self.reason.trim();
        if reason.is_empty() || reason.len() > REASON_BYTES_MAX {
            let text = format!("give a reason of at most {REASON_BYTES_MAX} characters");
            return Err(Failure::incorrect(text));
        }
        Ok(reason)
    }
}

/// `POST /ops/principals/{principal}/suspend`.
pub(super) async fn suspend(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(principal): Path<String>,
    JsonBody(reason): JsonBody<Reason>,
) -> Result<Json<Value>, Failure> {
    let principal = principal_named(&principal)?;
    state.exchange.contain(&ask, &principal, reason.checked()?).await?;
    Ok(Json(json!({ "principal": principal, "suspended": true })))
}

/// `POST /ops/principals/{principal}/lift`.
pub(super) async fn lift(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(principal): Path<String>,
    JsonBody(reason): JsonBody<Reason>,
) -> Result<Json<Value>, Failure> {
    let principal = principal_named(&principal)?;
    state.exchange.lift(&ask, &principal, reason.checked()?).await?;
    Ok(Json(json!({ "principal": principal, "suspended": false })))
}

/// A record that nobody has a reason to open.
#[derive(Deserialize)]
pub(super) struct Honey {
    organization: OrganizationId,
    patient: String,
}

/// `POST /ops/honey`.
pub(super) async fn honey(
    State(state): State<AppState>,
    Asking(ask): Asking,
    JsonBody(honey): JsonBody<Honey>,
) -> Result<Json<Value>, Failure> {
    state.exchange.mark_honey(&ask, &honey.organization, &honey.patient).await?;
    Ok(Json(json!({ "organization": honey.organization, "patient": honey.patient, "honey": true })))
}

/// What a letterhead is made of; all of it may be left out of a first draft.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct GivenLetterhead {
    exchange: Option<String>,
    exchange_address: Vec<String>,
    contact: Contact,
    signatory: Option<String>,
    date: Option<Timestamp>,
    monitoring: Option<Monitoring>,
    what_happened: Option<String>,
    delayed_by_law_enforcement: bool,
}

impl GivenLetterhead {
    /// The letterhead, dated `now` when it is not dated.
    fn letterhead(self, now: Timestamp) -> Letterhead {
        Letterhead {
            exchange: self.exchange.unwrap_or_else(|| EXCHANGE_NAME.to_owned()),
            exchange_address: self.exchange_address,
            contact: self.contact,
            signatory: self.signatory,
            date: self.date.unwrap_or(now),
            monitoring: self.monitoring,
            what_happened: self.what_happened,
            delayed_by_law_enforcement: self.delayed_by_law_enforcement,
        }
    }
}

fn brief(incident: &Incident) -> Value {
    json!({
        "id": incident.id,
        "reference": incident.reference(),
        "opened": incident.opened,
        "discovered": incident.discovered,
        "principal": incident.principal,
        "status": incident.status.as_str(),
        "findings": incident.findings,
        "totals": incident.scope.as_ref().map(|frozen| &frozen.scope.totals),
    })
}

fn whole(incident: &Incident) -> Result<Json<Value>, Failure> {
    let mut body = serde_json::to_value(incident)
        .map_err(|_| ExchangeError::Internal("an incident does not serialise"))?;
    body["reference"] = json!(incident.reference());
    Ok(Json(body))
}

fn numbered(text: &str) -> Result<IncidentId, Failure> {
    text.parse().map(IncidentId).map_err(|_| Failure::not_found())
}

pub(crate) fn principal_named(text: &str) -> Result<PrincipalId, Failure> {
    PrincipalId::new(text).map_err(|_| Failure::not_found())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letterhead_may_be_left_out_and_a_misspelt_one_is_refused() {
        let now = Timestamp::from_millis(7);
        let given: GivenLetterhead = serde_json::from_str("{}").expect("empty");
        let letterhead = given.letterhead(now);
        assert_eq!((letterhead.date, letterhead.exchange.as_str()), (now, EXCHANGE_NAME));
        assert!(serde_json::from_str::<GivenLetterhead>(r#"{"signature":"x"}"#).is_err());
    }

    #[test]
    fn a_reason_is_wanted() {
        let check = |reason: &str| Reason { reason: reason.into() }.checked().is_ok();
        assert!(check("reading charts of strangers"));
        assert!(!check("  "));
        assert!(!check(&"x".repeat(REASON_BYTES_MAX + 1)));
    }
}
