//! The doors over a whole exchange: real keeper, store and ledger.
#![allow(clippy::unwrap_used)]

mod audit;
mod bad;
mod bulk;
mod conditional;
mod console;
mod fhir;
mod form;
mod history;
mod ihe;
mod operations_everything;
mod operations_graphql;
mod operations_record;
mod operations_terminology;
mod ops;
mod own;
mod patch;
mod promises;
mod routes;
mod search;
mod search_results;
mod subscriptions;
mod transaction;
mod us_core;
mod validation;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use holdfast_exchange::{Ask, Format};
use holdfast_server::{AppState, Peer, router};
use holdfast_testkit::{ADDRESS, TestExchange};
use serde_json::Value;
use tower::ServiceExt as _;

/// A test exchange with its doors, spoken to without a network.
struct Doors {
    kit: TestExchange,
    router: Router,
}

/// An answer.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

impl Doors {
    async fn open() -> Self {
        Self::over(TestExchange::start().await)
    }

    fn over(kit: TestExchange) -> Self {
        let state =
            AppState::new(Arc::clone(kit.exchange()), kit.clock.clone(), "https://hie.example/");
        Self { router: router(state), kit }
    }

    async fn send(&self, request: axum::http::request::Builder, body: &[u8]) -> Answer {
        let mut request: Request<Body> = request.body(Body::from(body.to_vec())).unwrap();
        if request.extensions().get::<Peer>().is_none() {
            request.extensions_mut().insert(Peer::new(ADDRESS.parse().unwrap(), None));
        }
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// A request with a token, a JSON body and further headers.
    async fn ask(
        &self,
        token: &str,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() && url.starts_with("/fhir") {
            request = request.header("content-type", "application/fhir+json");
        }
        let bytes = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
        self.send(request, &bytes).await
    }

    async fn get(&self, token: &str, url: &str) -> Answer {
        self.ask(token, Method::GET, url, &[], None).await
    }

    async fn post(&self, token: &str, url: &str, body: &Value) -> Answer {
        let json = [("content-type", "application/json")];
        self.ask(token, Method::POST, url, &json, Some(body)).await
    }

    /// Admits the registration of one sample patient; gives its logical id at
    /// `lakeside-family`.
    async fn with_a_patient(&self) -> String {
        let options = holdfast_sample::Options { patients: 12, seed: 7, ..Default::default() };
        let item = holdfast_sample::generate(&options)
            .find(|item| {
                item.interface.as_str() == "hl7v2@lakeside-family" && item.kind.starts_with("ADT")
            })
            .unwrap();
        let admission = self.kit.send(item.interface.as_str(), Format::Hl7v2, &item.bytes).await;
        let written = admission.written.iter().find(|written| written.resource_type == "Patient");
        written.unwrap().id.clone()
    }

    /// A caller's token at `lakeside-family`, its organization's FHIR base, its ask.
    async fn clinician(&self) -> (String, String, Ask) {
        let (token, caller) = self.kit.sign_in_for_token("clinician").await;
        let base = format!("/fhir/{}", caller.organization());
        (token, base, Ask::new(caller))
    }
}
