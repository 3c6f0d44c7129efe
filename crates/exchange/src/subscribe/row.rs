//! What the store knows of a subscription and of its events.

use holdfast_base::{OrganizationId, PatientId, PrincipalId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How a subscription is (FHIR R4 value set subscription-status).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SubscriptionStatus {
    /// The endpoint was not asked yet, or has not answered.
    Requested,
    /// Events are sent.
    Active,
    /// The endpoint failed for days: events are kept, and not sent until a replay.
    Error,
    /// Nothing is sent, nothing is kept.
    Off,
}

impl SubscriptionStatus {
    /// The code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Active => "active",
            Self::Error => "error",
            Self::Off => "off",
        }
    }
}

/// What a subscription is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum About {
    /// R4: a type, and search parameters.
    Criteria(Filter),
    /// The R5 backport: a topic, and filters of which each has to fit for its type.
    Topic { canonical: String, filters: Vec<Filter> },
}

/// A type, and search parameters.
pub(super) type Filter = (String, Vec<(String, String)>);

/// Where events are sent: a POST to an endpoint, with further headers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hook {
    pub endpoint: String,
    pub headers: Vec<String>,
}

/// How much of what happened is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Content {
    Empty,
    IdOnly,
    FullResource,
}

/// A subscription.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Row {
    pub id: String,
    pub organization: OrganizationId,
    pub owner: PrincipalId,
    /// As the client wrote it.
    pub resource: Value,
    pub version: u64,
    pub updated: Timestamp,
    pub status: SubscriptionStatus,
    pub error: Option<String>,
    pub about: About,
    pub hook: Hook,
    pub content: Content,
    /// R4 without a payload: the POST has no body.
    pub bare: bool,
    pub heartbeat_s: Option<u64>,
    pub events_max: u64,
    pub end: Option<Timestamp>,
    /// What deliveries are signed with.
    pub secret: String,
    /// The number of the last event.
    pub events: u64,
    /// The number of the last event that was delivered.
    pub delivered: u64,
    pub tries: u32,
    pub failing_since: Option<Timestamp>,
    pub next_try: Timestamp,
    pub last_sent: Timestamp,
}

/// Where a subscription is.
pub(super) type Place = (OrganizationId, String);

impl Row {
    pub fn place(&self) -> Place {
        (self.organization.clone(), self.id.clone())
    }

    /// The topic's canonical URL; of R4 criteria ours.
    pub fn topic(&self) -> &str {
        match &self.about {
            About::Topic { canonical, .. } => canonical,
            About::Criteria(_) => super::topics::RESOURCE_CHANGE,
        }
    }

    /// Whether what happens becomes an event.
    pub fn listens(&self) -> bool {
        matches!(self.status, SubscriptionStatus::Active | SubscriptionStatus::Error)
    }

    /// The resource as it stands now.
    pub fn shown(&self) -> Value {
        let mut resource = self.resource.clone();
        let Some(fields) = resource.as_object_mut() else { return resource };
        fields.insert("id".into(), json!(self.id));
        let mut meta = fields.get("meta").cloned().filter(Value::is_object).unwrap_or(json!({}));
        meta["versionId"] = json!(self.version.to_string());
        meta["lastUpdated"] = json!(self.updated);
        fields.insert("meta".into(), meta);
        fields.insert("status".into(), json!(self.status.as_str()));
        fields.shift_remove("error");
        if let Some(error) = &self.error {
            fields.insert("error".into(), json!(error));
        }
        resource
    }

    pub fn view(&self) -> SubscriptionView {
        SubscriptionView {
            id: self.id.clone(),
            organization: self.organization.clone(),
            owner: self.owner.clone(),
            status: self.status,
            error: self.error.clone(),
            topic: self.topic().to_owned(),
            endpoint: self.hook.endpoint.clone(),
            events: self.events,
            delivered: self.delivered,
            tries: self.tries,
            next_try: (self.tries > 0).then_some(self.next_try),
            version: self.version,
            updated: self.updated,
            resource: self.shown(),
        }
    }
}

/// A subscription as it is shown.
#[derive(Debug, Clone)]
pub struct SubscriptionView {
    /// Logical id.
    pub id: String,
    /// Whose.
    pub organization: OrganizationId,
    /// The system that it sends to.
    pub owner: PrincipalId,
    /// How it is.
    pub status: SubscriptionStatus,
    /// Why it is so.
    pub error: Option<String>,
    /// What it is about.
    pub topic: String,
    /// Where it sends to.
    pub endpoint: String,
    /// The number of the last event.
    pub events: u64,
    /// The number of the last event that was delivered.
    pub delivered: u64,
    /// How often the next delivery failed.
    pub tries: u32,
    /// When it is tried again.
    pub next_try: Option<Timestamp>,
    /// `meta.versionId`.
    pub version: u64,
    /// `meta.lastUpdated`.
    pub updated: Timestamp,
    /// The resource.
    pub resource: Value,
}

/// Something that happened, for one subscription.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SentEvent {
    pub number: u64,
    pub at: Timestamp,
    pub patient: PatientId,
    pub resource_type: String,
    pub id: String,
    pub version: u64,
}
