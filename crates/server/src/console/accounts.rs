//! Organizations and accounts, as pages. What is wanted goes the way of the operator
//! API, so that both refuse alike.

use axum::Form;
use axum::extract::{Query, State};
use axum::response::{Html, Redirect};
use holdfast_exchange::NewOrganization;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::guard::page;
use super::page::{self, Handed, Staff};
use super::viewer::{role_words, viewer};
use crate::caller::Asking;
use crate::error::Failure;
use crate::ops::accounts::{Made, Wanted, make, renew};
use crate::state::AppState;

/// What was just done.
#[derive(Deserialize)]
pub(super) struct Told {
    done: Option<String>,
}

/// `GET /accounts`.
pub(super) async fn list(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Query(told): Query<Told>,
) -> Result<Html<String>, Failure> {
    let organizations = state.exchange.organization_views();
    let staff = Staff { organizations, accounts: state.exchange.account_views(&ask) };
    let told = match told.done.as_deref() {
        Some("added") => Some("The organization is on the exchange."),
        Some("closed") => Some("The account is closed; its name is never given again."),
        _ => None,
    };
    Ok(page(page::accounts(&viewer(&state, &ask), &staff, told, &role_words)))
}

/// An account as the form has it.
#[derive(Deserialize)]
pub(super) struct AccountForm {
    user: String,
    display_name: String,
    organization: String,
    role: String,
    npi: String,
    certificate_request: String,
}

/// Nothing, for a field that was left empty.
fn given(text: String) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// `POST /accounts`.
pub(super) async fn add(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Form(form): Form<AccountForm>,
) -> Result<Html<String>, Failure> {
    let wanted = Wanted {
        user: form.user.trim().to_owned(),
        organization: super::charts::organization(form.organization.trim())?,
        role: form.role,
        name: form.display_name,
        npi: given(form.npi),
        certificate_request: given(form.certificate_request),
    };
    let made = make(&state, &ask, wanted).await?;
    Ok(page(page::handed_over(&viewer(&state, &ask), made.user(), &handed(&made))))
}

fn handed(made: &Made) -> Handed {
    match made.certificate() {
        Some(pem) => Handed::Certificate(pem.to_owned()),
        None => Handed::Secrets {
            password: made.password().to_owned(),
            totp_secret: made.totp_secret().to_owned(),
            totp_url: made.totp_url(),
        },
    }
}

/// Whose account.
#[derive(Deserialize)]
pub(super) struct Whose {
    user: String,
    #[serde(default)]
    certificate_request: String,
}

/// `POST /accounts/reset`.
pub(super) async fn reset(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Form(whose): Form<Whose>,
) -> Result<Html<String>, Failure> {
    let request = given(whose.certificate_request);
    let made = renew(&state, &ask, whose.user.trim(), request.as_deref()).await?;
    Ok(page(page::handed_over(&viewer(&state, &ask), made.user(), &handed(&made))))
}

/// `POST /accounts/close`.
pub(super) async fn close(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Form(whose): Form<Whose>,
) -> Result<Redirect, Failure> {
    let principal = crate::ops::accounts::named(whose.user.trim())?;
    state.exchange.close_account(&ask, &principal).await?;
    Ok(Redirect::to("/accounts?done=closed"))
}

/// `POST /accounts/organizations`.
pub(super) async fn add_organization(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Redirect, Failure> {
    state.exchange.add_organization(&ask, settings(fields)?).await?;
    Ok(Redirect::to("/accounts?done=added"))
}

fn settings(fields: Vec<(String, String)>) -> Result<NewOrganization, Failure> {
    let mut settings = Map::new();
    let mut authorities = Map::new();
    let mut default = Value::Null;
    for (name, value) in fields {
        let value = value.trim();
        match (name.as_str(), value.split_once('=')) {
            ("authority", _) if value.is_empty() => {}
            ("authority", Some((name, system))) => {
                authorities.insert(name.to_owned(), json!(system));
                default = json!(name);
            }
            ("authority", None) => {
                let text = "an assigning authority is NAME=SYSTEM";
                return Err(Failure::incorrect(text));
            }
            _ => drop(settings.insert(name, json!(value))),
        }
    }
    settings.insert("authorities".to_owned(), Value::Object(authorities));
    settings.insert("default_authority".to_owned(), default);
    serde_json::from_value(Value::Object(settings))
        .map_err(|_| Failure::incorrect("something is missing or has a wrong form"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_is_read_from_its_form() {
        let form = |authority: &str| {
            [
                ("id", "lakeside"),
                ("name", "Lakeside"),
                ("module", "practice"),
                ("street", ""),
                ("city", ""),
                ("state", "IN"),
                ("postal_code", ""),
                ("phone", ""),
                ("authority", authority),
                ("time_zone", "UTC0"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
        };
        let read = settings(form("LAKE=urn:oid:2.999.1")).expect("settings");
        assert_eq!(read.default_authority.as_deref(), Some("LAKE"));
        assert_eq!(read.authorities["LAKE"], "urn:oid:2.999.1");
        assert_eq!(settings(form("")).expect("settings").default_authority, None);
        assert!(settings(form("LAKE")).is_err());
        assert!(settings(form("")[1..].to_vec()).is_err(), "it has a name");
    }
}
