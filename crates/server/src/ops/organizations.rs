//! Organizations on the exchange.

use axum::Json;
use axum::extract::{Path, State};
use holdfast_exchange::{Ask, NewOrganization, OrganizationView};
use serde_json::{Map, Value, json};

use super::incidents::Reason;
use crate::body::JsonBody;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

/// `GET /ops/organizations`.
pub(super) async fn list(State(state): State<AppState>, _: Asking) -> Json<Value> {
    let organizations = state.exchange.organization_views();
    let organizations = organizations.iter().map(|organization| view(&state, organization));
    Json(json!({ "organizations": organizations.collect::<Vec<_>>() }))
}

fn view(state: &AppState, organization: &OrganizationView) -> Value {
    json!({
        "id": organization.id,
        "name": organization.name,
        "module": organization.module,
        "place": organization.place,
        "suspended": organization.suspended,
        "fhir_base": state.fhir_base(&organization.id),
    })
}

/// `POST /ops/organizations`: puts one on the exchange; one that is there with the same
/// settings stays as it is.
pub(super) async fn add(
    State(state): State<AppState>,
    Asking(ask): Asking,
    JsonBody(facts): JsonBody<NewOrganization>,
) -> Result<Json<Value>, Failure> {
    let id = facts.id.clone();
    let new = state.exchange.add_organization(&ask, facts).await?;
    Ok(Json(json!({ "id": id, "new": new, "fhir_base": state.fhir_base(&id) })))
}

/// `GET /ops/organizations/{organization}`: its settings.
pub(super) async fn one(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
) -> Result<Json<Value>, Failure> {
    let id = organization_named(&organization)?;
    let (facts, suspended) = state.exchange.organization_settings(&ask, &id).await?;
    Ok(Json(json!({
        "settings": facts,
        "suspended": suspended,
        "fhir_base": state.fhir_base(&id),
    })))
}

/// `POST /ops/organizations/{organization}`: the settings that are named change.
pub(super) async fn change(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    JsonBody(changes): JsonBody<Map<String, Value>>,
) -> Result<Json<Value>, Failure> {
    let id = organization_named(&organization)?;
    let (facts, _) = state.exchange.organization_settings(&ask, &id).await?;
    let facts = changed(&facts, changes)?;
    state.exchange.create_organization(&ask, facts).await?;
    Ok(Json(json!({ "id": id, "changed": true })))
}

fn changed(
    facts: &NewOrganization,
    changes: Map<String, Value>,
) -> Result<NewOrganization, Failure> {
    let mut settings = json!(facts);
    for (name, value) in changes {
        match settings.get_mut(&name) {
            Some(setting) if name != "id" => *setting = value,
            _ => {
                let text = "known are name, module, street, city, state, postal_code, phone, \
                            authorities, default_authority and time_zone";
                return Err(Failure::incorrect(text));
            }
        }
    }
    serde_json::from_value(settings)
        .map_err(|_| Failure::incorrect("a setting is not of the wanted form"))
}

/// `POST /ops/organizations/{organization}/suspend`.
pub(super) async fn suspend(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    JsonBody(reason): JsonBody<Reason>,
) -> Result<Json<Value>, Failure> {
    contain(&state, &ask, (&organization, true), &reason).await
}

async fn contain(
    state: &AppState,
    ask: &Ask,
    (organization, suspends): (&str, bool),
    reason: &Reason,
) -> Result<Json<Value>, Failure> {
    let id = organization_named(organization)?;
    state.exchange.suspend_organization(ask, &id, (suspends, reason.checked()?)).await?;
    Ok(Json(json!({ "id": id, "suspended": suspends })))
}

/// `POST /ops/organizations/{organization}/lift`.
pub(super) async fn lift(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    JsonBody(reason): JsonBody<Reason>,
) -> Result<Json<Value>, Failure> {
    contain(&state, &ask, (&organization, false), &reason).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_names_settings_and_nothing_else() {
        let facts = json!({
            "id": "lakeside", "name": "Lakeside", "module": "practice", "street": "1 Shore Road",
            "city": "Fort Wayne", "state": "IN", "postal_code": "46805", "phone": "260-555-0112",
            "authorities": {}, "default_authority": null, "time_zone": "EST5EDT",
        });
        let facts: NewOrganization = serde_json::from_value(facts).expect("settings");
        let of = |value: Value| changed(&facts, value.as_object().cloned().unwrap_or_default());
        let one = of(json!({"phone": "260-555-0199"})).expect("changes");
        assert_eq!((one.phone.as_str(), one.city.as_str()), ("260-555-0199", "Fort Wayne"));
        for wrong in [json!({"id": "other"}), json!({"colour": "red"}), json!({"module": "zoo"})] {
            assert!(of(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
