//! The operator API: JSON for the privacy and security office and its tools. What
//! each role may do is decided by the exchange.

pub(crate) mod accounts;
mod bulk;
mod durability;
mod emergencies;
mod forgetting;
mod grants;
mod incidents;
mod ledger;
pub(crate) mod messages;
mod organizations;
mod profiles;
mod question;
mod scope;
mod status;
mod subscriptions;

use axum::Router;
use axum::routing::{get, post};

use crate::state::AppState;

pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/ops/status", get(status::status))
        .route("/ops/backup", post(durability::backup))
        .route("/ops/durability", get(durability::durability))
        .route("/ops/scope", get(scope::scope))
        .route("/ops/incidents", get(incidents::list))
        .route("/ops/incidents/{number}", get(incidents::one))
        .route("/ops/incidents/{number}/freeze", post(incidents::freeze))
        .route("/ops/incidents/{number}/draft", post(incidents::draft))
        .route("/ops/principals/{principal}/suspend", post(incidents::suspend))
        .route("/ops/principals/{principal}/lift", post(incidents::lift))
        .route("/ops/forget", post(forgetting::forget))
        .route("/ops/honey", post(incidents::honey))
        .route("/ops/emergencies", get(emergencies::emergencies))
        .route("/ops/ledger/state", get(ledger::state))
        .route("/ops/ledger/entries", get(ledger::entries))
        .route("/ops/ledger/proof", get(ledger::proof))
        .route("/ops/ledger/reconciliation", get(ledger::reconciliation))
        .route("/ops/ledger/reconcile", post(ledger::reconcile))
        .route("/ops/ledger/bundle", get(ledger::bundle))
        .route("/ops/bulk", get(bulk::list))
        .route("/ops/bulk/{job}/cancel", post(bulk::cancel))
        .route("/ops/subscriptions", get(subscriptions::list))
        .route("/ops/subscriptions/{organization}/{id}/replay", post(subscriptions::replay))
        .route("/ops/subscriptions/{organization}/{id}/off", post(subscriptions::off))
        .route(
            "/ops/organizations/{organization}/notify-hosts",
            get(subscriptions::hosts).post(subscriptions::allow),
        )
        .route("/ops/grants", get(grants::list).post(grants::propose))
        .route("/ops/grants/{grant}/approve", post(grants::approve))
        .route("/ops/grants/{grant}/revoke", post(grants::revoke))
        .route("/ops/principals/{principal}/budget", post(grants::principal_budget))
        .route("/ops/organizations/{organization}/budget", post(grants::organization_budget))
        .route("/ops/accounts", get(accounts::list).post(accounts::add))
        .route("/ops/accounts/{principal}", get(accounts::one))
        .route("/ops/accounts/{principal}/reset", post(accounts::reset))
        .route("/ops/accounts/{principal}/close", post(accounts::close))
        .route("/ops/organizations", get(organizations::list).post(organizations::add))
        .route(
            "/ops/organizations/{organization}",
            get(organizations::one).post(organizations::change),
        )
        .route("/ops/organizations/{organization}/suspend", post(organizations::suspend))
        .route("/ops/organizations/{organization}/lift", post(organizations::lift))
        .route("/ops/organizations/{organization}/profiles", post(profiles::set_policy))
        .route("/ops/profiles", get(profiles::list).post(profiles::add))
        .route("/ops/profiles/remove", post(profiles::remove))
        .route("/ops/messages", get(messages::list))
        .route("/ops/messages/replay", post(messages::replay_all))
        .route("/ops/messages/{number}", get(messages::one))
        .route("/ops/messages/{number}/show", post(messages::show))
        .route("/ops/messages/{number}/replay", post(messages::replay))
}
