//! Accounts: people, with a password and a code, and systems, with a certificate.

use axum::Json;
use axum::extract::{Path, State};
use holdfast_base::{OrganizationId, PrincipalId};
use holdfast_exchange::{AccountView, Ask, Enrollment, NewAccount, Role, totp};
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) use super::incidents::principal_named as named;
use crate::body::JsonBody;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::AppState;
use crate::tls::IssuedCertificate;

/// Longest name on screens.
const NAME_BYTES_MAX: usize = 120;

/// `GET /ops/accounts`.
pub(super) async fn list(State(state): State<AppState>, Asking(ask): Asking) -> Json<Value> {
    let accounts = state.exchange.account_views(&ask);
    Json(json!({ "accounts": accounts.iter().map(view).collect::<Vec<_>>() }))
}

/// `GET /ops/accounts/{principal}`.
pub(super) async fn one(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(principal): Path<String>,
) -> Result<Json<Value>, Failure> {
    let principal = named(&principal)?;
    let accounts = state.exchange.account_views(&ask);
    let account = accounts.iter().find(|account| account.id == principal);
    account.map(|account| Json(view(account))).ok_or_else(Failure::not_found)
}

fn view(account: &AccountView) -> Value {
    let certificate = account.certificate.map(|sha256| data_encoding::HEXLOWER.encode(&sha256));
    json!({
        "user": account.id,
        "name": account.display_name,
        "organization": account.organization,
        "role": account.role.as_str(),
        "npi": account.npi,
        "certificate_sha256": certificate,
        "created": account.created,
        "suspended": account.suspended,
        "closed": account.closed,
    })
}

/// An account that is to be made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    pub user: String,
    pub organization: OrganizationId,
    pub role: String,
    pub name: String,
    pub npi: Option<String>,
    /// Of systems: a PKCS#10 request, PEM.
    pub certificate_request: Option<String>,
}

/// An account that was made or reset, with what is shown once.
pub(crate) struct Made {
    enrolled: Enrollment,
    certificate: Option<IssuedCertificate>,
}

impl Made {
    pub fn user(&self) -> &str {
        self.enrolled.id.as_str()
    }

    pub fn password(&self) -> &str {
        self.enrolled.password.expose()
    }

    pub fn totp_secret(&self) -> &str {
        self.enrolled.totp_secret.expose()
    }

    pub fn totp_url(&self) -> String {
        totp::url(self.totp_secret(), self.user())
    }

    /// The certificate of a system, PEM.
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_ref().map(|issued| issued.certificate_pem.as_str())
    }

    fn json(&self) -> Value {
        match self.certificate() {
            Some(pem) => json!({ "user": self.user(), "certificate": pem }),
            None => json!({
                "user": self.user(),
                "password": self.password(),
                "totp_secret": self.totp_secret(),
                "totp_url": self.totp_url(),
            }),
        }
    }
}

/// `POST /ops/accounts`: the secrets are shown once.
pub(super) async fn add(
    State(state): State<AppState>,
    Asking(ask): Asking,
    JsonBody(wanted): JsonBody<Wanted>,
) -> Result<Json<Value>, Failure> {
    Ok(Json(make(&state, &ask, wanted).await?.json()))
}

/// Makes an account.
pub(crate) async fn make(state: &AppState, ask: &Ask, wanted: Wanted) -> Result<Made, Failure> {
    let id = PrincipalId::new(&wanted.user).map_err(|_| {
        let text = "a sign-in name has lower-case letters, digits and . _ - @ :, such as jo.moss";
        Failure::incorrect(text)
    })?;
    let role = Role::from_name(&wanted.role).filter(|role| *role != Role::Patient);
    let role = role.ok_or_else(|| {
        let known = Role::ALL.iter().filter(|role| **role != Role::Patient);
        let known: Vec<&str> = known.map(|role| role.as_str()).collect();
        Failure::incorrect(format!("a role is one of {}", known.join(", ")))
    })?;
    let name = wanted.name.trim().to_owned();
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(Failure::incorrect("give the person's or system's name, on one line"));
    }
    if let Some(npi) = &wanted.npi
        && (npi.len() != 10 || !npi.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Err(Failure::incorrect("an NPI has ten digits"));
    }
    let certificate = certificate_of(state, &id, wanted.certificate_request.as_deref())?;
    let new = NewAccount {
        id,
        display_name: name,
        organization: wanted.organization,
        role,
        npi: wanted.npi,
        certificate: certificate.as_ref().map(|issued| issued.fingerprint),
        patient: None,
    };
    Ok(Made { enrolled: state.exchange.create_account(ask, new).await?, certificate })
}

/// The certificate of a system's request.
fn certificate_of(
    state: &AppState,
    principal: &PrincipalId,
    request: Option<&str>,
) -> Result<Option<IssuedCertificate>, Failure> {
    let Some(request) = request else { return Ok(None) };
    let unsupported = || Failure::unsupported("this server makes no certificates");
    let issuer = state.issuer.as_ref().ok_or_else(unsupported)?;
    issuer.issue(principal, request).map(Some).map_err(Failure::incorrect)
}

/// What a system shows for another certificate; a person nothing.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Renewal {
    certificate_request: Option<String>,
}

/// `POST /ops/accounts/{principal}/reset`: new secrets of a person, or another
/// certificate of a system; shown once.
pub(super) async fn reset(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(principal): Path<String>,
    JsonBody(renewal): JsonBody<Renewal>,
) -> Result<Json<Value>, Failure> {
    let request = renewal.certificate_request.as_deref();
    Ok(Json(renew(&state, &ask, &principal, request).await?.json()))
}

/// Gives an account new secrets or another certificate.
pub(crate) async fn renew(
    state: &AppState,
    ask: &Ask,
    user: &str,
    request: Option<&str>,
) -> Result<Made, Failure> {
    let principal = named(user)?;
    let certificate = certificate_of(state, &principal, request)?;
    let fingerprint = certificate.as_ref().map(|issued| issued.fingerprint);
    let enrolled = state.exchange.reset_secrets(ask, &principal, fingerprint).await?;
    Ok(Made { enrolled, certificate })
}

/// `POST /ops/accounts/{principal}/close`.
pub(super) async fn close(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(principal): Path<String>,
) -> Result<Json<Value>, Failure> {
    let principal = named(&principal)?;
    state.exchange.close_account(&ask, &principal).await?;
    Ok(Json(json!({ "user": principal, "closed": true })))
}
