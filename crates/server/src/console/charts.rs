//! Looking patients up and opening charts.

use axum::Form;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use holdfast_base::OrganizationId;
use holdfast_exchange::{Ask, ExchangeError, Handling, Relationship, Role};
use serde::Deserialize;

use super::guard::{page, sentence};
use super::page::{self, Asked, Finding};
use super::view::{Moment, chart_view, found_row, look_up_pairs};
use super::viewer::viewer;
use crate::caller::{Asking, EMERGENCY_REASON_BYTES_MAX};
use crate::error::Failure;
use crate::state::AppState;

/// What the look-up form holds.
#[derive(Deserialize)]
pub(super) struct Typed {
    #[serde(default)]
    name: String,
    #[serde(default)]
    born: String,
    #[serde(default)]
    number: String,
    #[serde(default)]
    organization: String,
    #[serde(default)]
    emergency: String,
}

/// Why a chart is opened in an emergency.
#[derive(Deserialize)]
pub(super) struct Emergency {
    emergency: String,
}

/// `GET /patients`: the empty form.
pub(super) async fn ask(State(state): State<AppState>, Asking(ask): Asking) -> Html<String> {
    let asked = Asked { organization: ask.caller.organization().to_string(), ..Asked::default() };
    form(&state, &ask, &asked, &Finding::NotAsked)
}

/// `POST /patients`: who fits. The answer to a form stays out of URLs and histories.
pub(super) async fn look_up(
    State(state): State<AppState>,
    Asking(mut ask): Asking,
    Form(typed): Form<Typed>,
) -> Result<Response, Failure> {
    let asked = Asked {
        name: typed.name,
        born: typed.born,
        number: typed.number,
        organization: typed.organization,
        emergency: typed.emergency.trim().to_owned(),
    };
    let show = |finding| Ok(form(&state, &ask, &asked, &finding).into_response());
    let pairs = look_up_pairs(&asked.name, &asked.born, &asked.number);
    if pairs.is_empty() {
        let problem = "Enter a name, a birth date or a record number.";
        return show(Finding::Problem(problem.to_owned()));
    }
    let organization = organization(&asked.organization)?;
    if !asked.emergency.is_empty() {
        ask.emergency = Some(emergency_reason(&asked.emergency)?);
    }
    let found = state.exchange.search(&ask, &organization, "Patient", &pairs, Handling::Strict);
    let page = match found.await {
        Ok(page) => page,
        Err(ExchangeError::Invalid(_)) => {
            let problem = "Write the birth date as year, month and day, and names in letters.";
            let finding = Finding::Problem(problem.to_owned());
            return Ok(form(&state, &ask, &asked, &finding).into_response());
        }
        Err(error @ ExchangeError::OverBudget { .. }) => {
            let finding = Finding::Problem(sentence(&error.to_string()));
            return Ok(form(&state, &ask, &asked, &finding).into_response());
        }
        Err(error) => return Err(error.into()),
    };
    let today = Moment::of(state.clock.now());
    let rows = page.matches.iter().map(|patient| found_row(patient, &today)).collect();
    Ok(form(&state, &ask, &asked, &Finding::Rows(rows, page.total)).into_response())
}

fn form(state: &AppState, ask: &Ask, asked: &Asked, finding: &Finding) -> Html<String> {
    let own = ask.caller.organization();
    let views = state.exchange.organization_views();
    let mut organizations: Vec<(String, String)> =
        views.into_iter().map(|view| (view.id.to_string(), view.name)).collect();
    organizations.sort_by_key(|(id, name)| (id != own.as_str(), name.clone()));
    if ask.caller.role() == Role::Patient {
        organizations.truncate(1);
    }
    let may_break = ask.caller.role().treats();
    page(page::look_up(&viewer(state, ask), &organizations, asked, finding, may_break))
}

/// `GET /patients/{organization}/{id}`: a chart.
pub(super) async fn open(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((keeping, id)): Path<(String, String)>,
) -> Result<Html<String>, Failure> {
    chart(&state, &ask, &keeping, &id).await
}

/// `POST /patients/{organization}/{id}`: a chart, in an emergency.
pub(super) async fn open_in_emergency(
    State(state): State<AppState>,
    Asking(mut ask): Asking,
    Path((keeping, id)): Path<(String, String)>,
    Form(given): Form<Emergency>,
) -> Result<Html<String>, Failure> {
    ask.emergency = Some(emergency_reason(&given.emergency)?);
    chart(&state, &ask, &keeping, &id).await
}

async fn chart(
    state: &AppState,
    ask: &Ask,
    keeping: &str,
    id: &str,
) -> Result<Html<String>, Failure> {
    let keeping = organization(keeping)?;
    let chart = state.exchange.chart(ask, &keeping, id).await?;
    let today = Moment::of(state.clock.now());
    let view = chart_view(&chart, ask.purpose, ask.emergency.is_some(), &today);
    let may_know = chart.relationship == Relationship::SelfRecord
        || (ask.caller.role() == Role::PrivacyOfficer && *ask.caller.organization() == keeping);
    let who = may_know.then(|| format!("/office/who?organization={keeping}&patient={id}"));
    Ok(page(page::chart(&viewer(state, ask), &view, who.as_deref())))
}

/// An organization by what stands in a URL or form; a wrong name is as unknown as
/// a name that nobody has.
pub(super) fn organization(name: &str) -> Result<OrganizationId, Failure> {
    OrganizationId::new(name).map_err(|_| Failure::not_found())
}

fn emergency_reason(given: &str) -> Result<String, Failure> {
    let reason = given.trim();
    if reason.is_empty() || reason.len() > EMERGENCY_REASON_BYTES_MAX {
        return Err(Failure::incorrect("an emergency needs a reason of a sentence or two"));
    }
    Ok(reason.to_owned())
}
