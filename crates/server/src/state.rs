//! What every handler is given.

use std::sync::Arc;

use holdfast_base::{Clock, OrganizationId, Timestamp};
use holdfast_exchange::Exchange;

use crate::error::Failure;
use crate::tls::CertificateIssuer;

/// The one path to records, the clock, and where the world finds us. Cheap to
/// clone.
#[derive(Clone)]
pub struct AppState {
    /// The only thing through which a door reaches a record.
    pub(crate) exchange: Arc<Exchange>,
    /// Tells the time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Where we are reached, without a slash at the end: `https://hie.example:8443`.
    pub(crate) base_url: Arc<str>,
    /// Since when the doors are open.
    pub(crate) started: Timestamp,
    /// Signs certificates of new systems.
    pub(crate) issuer: Option<Arc<dyn CertificateIssuer>>,
}

impl AppState {
    /// The state of doors that are reached at `base_url`.
    pub fn new(exchange: Arc<Exchange>, clock: Arc<dyn Clock>, base_url: &str) -> Self {
        let started = clock.now();
        let base_url = base_url.trim_end_matches('/').into();
        Self { exchange, clock, base_url, started, issuer: None }
    }

    /// With somebody who signs certificates of new systems.
    #[must_use]
    pub fn with_issuer(self, issuer: Option<Arc<dyn CertificateIssuer>>) -> Self {
        Self { issuer, ..self }
    }

    /// The FHIR base of an organization.
    pub(crate) fn fhir_base(&self, organization: &OrganizationId) -> String {
        format!("{}/fhir/{organization}", self.base_url)
    }
}

/// The organization that a URL names. A name that none can have is answered like
/// one that none has.
pub(crate) fn organization_named(text: &str) -> Result<OrganizationId, Failure> {
    OrganizationId::new(text).map_err(|_| Failure::not_found())
}
