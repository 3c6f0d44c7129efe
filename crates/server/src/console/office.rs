//! The privacy and security office at work.

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::response::{Html, Redirect};
use holdfast_base::{IncidentId, PrincipalId};
use holdfast_exchange::{Role, ScopeQuery};
use serde::Deserialize;

use super::charts::organization;
use super::guard::page;
use super::page::{self, Desk, IncidentView};
use super::viewer::{named, viewer};
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::AppState;

/// Longest reason of a step: a sentence or two; it stands in the ledger.
const REASON_BYTES_MAX: usize = 300;

/// Whom to suspend or to lift, and why.
#[derive(Deserialize)]
pub(super) struct Step {
    principal: String,
    reason: String,
}

/// What was just done; one of our own words, so that no text of others gets onto
/// the page by a link.
#[derive(Deserialize)]
pub(super) struct Told {
    done: Option<String>,
}

/// Whose record.
#[derive(Deserialize)]
pub(super) struct Whose {
    organization: String,
    patient: String,
}

/// `GET /office`.
pub(super) async fn desk(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Query(told): Query<Told>,
) -> Result<Html<String>, Failure> {
    let incidents = state.exchange.incidents(&ask).await?;
    let findings = state.exchange.findings(&ask).await?;
    let accounts = state.exchange.account_views(&ask);
    let ledger = state.exchange.ledger_state().await.ok();
    let told = match told.done.as_deref() {
        Some("suspended") => {
            Some("The account is suspended: its sessions are closed, and no key leaves for it.")
        }
        Some("lifted") => Some("The suspension is lifted: the account may sign in again."),
        _ => None,
    };
    let answers_for = ask.caller.role() == Role::PrivacyOfficer;
    let looks_of = answers_for.then(|| ask.caller.organization().to_string());
    let desk = Desk { incidents, findings, accounts, ledger, looks_of };
    Ok(page(page::office(&viewer(&state, &ask), &desk, told)))
}

/// `POST /office/contain`.
pub(super) async fn contain(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Form(step): Form<Step>,
) -> Result<Redirect, Failure> {
    let (principal, reason) = step.checked()?;
    state.exchange.contain(&ask, &principal, &reason).await?;
    Ok(Redirect::to("/office?done=suspended"))
}

/// `POST /office/lift`.
pub(super) async fn lift(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Form(step): Form<Step>,
) -> Result<Redirect, Failure> {
    let (principal, reason) = step.checked()?;
    state.exchange.lift(&ask, &principal, &reason).await?;
    Ok(Redirect::to("/office?done=lifted"))
}

impl Step {
    fn checked(&self) -> Result<(PrincipalId, String), Failure> {
        let principal = PrincipalId::new(self.principal.trim())
            .map_err(|_| Failure::incorrect("that is no account’s name"))?;
        let reason = self.reason.trim();
        if reason.is_empty() || reason.len() > REASON_BYTES_MAX {
            return Err(Failure::incorrect("a step needs a reason of a sentence or two"));
        }
        Ok((principal, reason.to_owned()))
    }
}

/// `GET /office/incidents/{number}`.
pub(super) async fn incident(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(number): Path<u64>,
) -> Result<Html<String>, Failure> {
    let incident = state.exchange.incident(&ask, IncidentId(number)).await?;
    let scope = match &incident.scope {
        Some(frozen) => frozen.scope.clone(),
        None => {
            let principal = Some(incident.principal.clone());
            state.exchange.scope(&ask, &ScopeQuery { principal, ..ScopeQuery::default() }).await?
        }
    };
    let accounts = state.exchange.account_views(&ask);
    let account = accounts.into_iter().find(|account| account.id == incident.principal);
    let view = IncidentView { incident, scope, account, now: state.clock.now() };
    Ok(page(page::incident(&viewer(&state, &ask), &view, &named(&state))))
}

/// `POST /office/incidents/{number}/freeze`.
pub(super) async fn freeze(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(number): Path<u64>,
) -> Result<Redirect, Failure> {
    state.exchange.freeze_scope(&ask, IncidentId(number)).await?;
    Ok(Redirect::to(&format!("/office/incidents/{number}")))
}

/// `GET /office/who`: who looked at a record.
pub(super) async fn who_looked(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Query(whose): Query<Whose>,
) -> Result<Html<String>, Failure> {
    let (keeping, patient) = (whose.organization.trim(), whose.patient.trim());
    let looks = state.exchange.who_looked(&ask, &organization(keeping)?, patient).await?;
    Ok(page(page::looks(&viewer(&state, &ask), keeping, patient, &looks, &named(&state))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_without_an_account_or_a_reason_is_no_step() {
        let step = |principal: &str, reason: &str| {
            Step { principal: principal.into(), reason: reason.into() }.checked().is_ok()
        };
        assert!(step(" dr.okafor ", "left the practice"));
        assert!(!step("dr.okafor", "  "));
        assert!(!step("Dr Okafor", "why"));
        assert!(!step("dr.okafor", &"x".repeat(REASON_BYTES_MAX + 1)));
    }
}
