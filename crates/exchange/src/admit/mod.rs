//! The way in: keep the payload sealed → convert → find the patient → permit →
//! seal → one transaction → ledger → acknowledge → deliver.
//!
//! Invariants: a payload is durable before anything else happens to it (P1); the
//! transaction that stores its resources also finishes it, so it is applied once,
//! whatever stops in between; what cannot be applied stays kept, with the reason.

mod draft;
mod messages;
mod settle;
mod spool;
mod subject;
mod transact;

pub(crate) use draft::{Draft, FormerIndexPlain, IndexPlain};
pub use messages::{KeptFilter, KeptPage, KeptView, OpenedMessage, Replayed};
pub(crate) use subject::{Subject, stand_in_locate};

use std::borrow::Cow;
use std::sync::Arc;

use holdfast_base::{MessageId, OrganizationId, Timestamp};
use holdfast_intake::{Converted, Format, Issue, PayloadKind, Refusal, hl7v2};
use holdfast_policy::Role;
use holdfast_store::{KeptPayload, KeptState};
use serde::{Deserialize, Serialize};

use crate::audit::READ_ONLY_TYPES;
use crate::people::Organization;
use crate::state::Exchange;
use crate::{Ask, ExchangeError, packing, sizes};

/// Times that a transaction is tried again when another one came between.
const TRIES_MAX: usize = 12;

/// What became of one payload.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The number under which it is kept.
    pub message: MessageId,
    /// What became of it.
    pub outcome: Outcome,
    /// What was not understood or left out; no values.
    pub issues: Vec<Issue>,
    /// The sender's own number of the payload.
    pub control_id: Option<String>,
    /// What was written, in the order of the payload's entries.
    pub written: Vec<Written>,
    /// Whether the patient's person was found among those already known.
    pub matched: Matched,
    /// Category of the reason of a refusal, such as `missing` or `over-budget`.
    pub category: Option<&'static str>,
}

/// The outcomes of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is part of the record.
    Accepted,
    /// The same payload came before; nothing changed.
    Duplicate,
    /// It is kept, and will be applied as soon as the keeper answers again.
    Queued,
    /// It is kept and not applied.
    Refused(String),
}

impl Outcome {
    /// `accepted`, `duplicate`, `queued`, `refused`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Queued => "queued",
            Self::Refused(_) => "refused",
        }
    }
}

/// How a payload's patient was matched to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matched {
    /// The record was known already, or the payload has no patient.
    #[default]
    Known,
    /// A new record, linked to a person known elsewhere.
    Linked,
    /// A new record of a new person, and a person may have to decide.
    Review,
    /// A new record of a new person.
    New,
}

/// A resource that was written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Written {
    /// Place among the payload's entries, from 0.
    pub entry: usize,
    /// FHIR resource type.
    pub resource_type: String,
    /// Logical id.
    pub id: String,
    /// `meta.versionId`.
    pub version: u64,
    /// Whether this is its first version.
    pub created: bool,
    /// Whether a new version was stored; a resend of the same content stores none.
    pub changed: bool,
    /// Whether the resource was deleted; of what had not been there, the version is 0.
    #[serde(default)]
    pub deleted: bool,
    /// `meta.lastUpdated`.
    pub last_updated: Timestamp,
}

/// What stands, sealed, beside a kept payload once it is finished.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeptOutcome {
    pub outcome: String,
    /// Category of the reason; of what an older exchange refused, none.
    #[serde(default)]
    pub category: Option<String>,
    pub reason: Option<String>,
    pub issues: Vec<(String, String)>,
    pub written: Vec<Written>,
}

/// What stands, sealed, beside a kept payload from the start: enough to process
/// it after a restart as if nothing had happened.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeptMeta {
    pub principal: holdfast_policy::Principal,
    pub session: holdfast_base::SessionId,
    pub address: Option<String>,
    pub request: holdfast_base::RequestId,
    /// Length of the payload, which is sealed with blanks after it; not there when it
    /// was kept before that was so.
    #[serde(default)]
    pub payload_bytes: Option<usize>,
    /// Whether the payload was compressed before that; not, when it was kept before
    /// payloads were.
    #[serde(default)]
    pub compressed: bool,
    /// Number of its format: which interface sent it says what it may be about. Not
    /// there when the row itself tells it, as it did before.
    #[serde(default)]
    pub format: Option<u8>,
    /// Whether it is an interaction and no message.
    #[serde(default)]
    pub interaction: bool,
}

/// Stands in a kept row in place of the format.
const FORMAT_UNTOLD: u8 = 0;

impl KeptMeta {
    /// The format of the payload that is kept in `row`.
    fn format_in(&self, row: &holdfast_store::KeptRow) -> Format {
        format_of(self.format.unwrap_or(row.format))
    }

    /// The payload without the blanks that were sealed with it.
    fn payload_of<'a>(&self, opened: &'a [u8]) -> Result<Cow<'a, [u8]>, ExchangeError> {
        let bytes = self.payload_bytes.unwrap_or(opened.len());
        let sealed = opened.get(..bytes).ok_or(holdfast_keeper::SealError::NotAuthentic)?;
        if !self.compressed {
            return Ok(sealed.into());
        }
        Ok(packing::unpack_bytes(sealed)?.into())
    }
}

/// A kept payload on its way.
pub(crate) struct Arrival<'a> {
    pub ask: &'a Ask,
    pub organization: Arc<Organization>,
    pub format: Format,
    pub message: MessageId,
    pub dedupe: Vec<u8>,
    /// Whether it is an interaction, which is carried out each time that it is asked
    /// for, and no message, which counts once however often it comes.
    pub interaction: bool,
}

impl Exchange {
    /// Admits one payload: an HL7 v2 message, a C-CDA document or a FHIR resource
    /// or bundle. What it says is in the record, or it is kept with the reason why
    /// not, when this returns.
    ///
    /// # Errors
    /// Only when the payload could not be kept: the caller may not send for this
    /// organization, or the store failed. Do not acknowledge then.
    pub async fn admit(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        format: Format,
        payload: &[u8],
    ) -> Result<Admission, ExchangeError> {
        self.admit_as(ask, organization, (format, false), payload).await
    }

    /// Carries out a FHIR transaction (a Bundle): kept and applied like a message, but
    /// as often as it is asked for, and every create makes a resource.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub async fn interact(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        bundle: &[u8],
    ) -> Result<Admission, ExchangeError> {
        self.admit_as(ask, organization, (Format::Fhir, true), bundle).await
    }

    async fn admit_as(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        (format, interaction): (Format, bool),
        payload: &[u8],
    ) -> Result<Admission, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let may_send = !matches!(
            ask.caller.role(),
            Role::Administrator | Role::SecurityOfficer | Role::EmployerManager | Role::Patient
        );
        if !may_send || ask.caller.organization() != organization {
            self.append_refusal(ask.caller.actor(), "intake", "not-the-sender").await?;
            return Err(ExchangeError::NotPermitted { reason: "not-the-sender" });
        }
        let organization = self.organization(organization)?;
        let (payload, cards_count) = holdfast_intake::pan::mask(payload);
        let message;
        let dedupe;
        if interaction {
            message = self.keep(ask, &organization, (format, interaction), &payload).await?;
            dedupe = self.interaction_key(&organization, message);
        } else {
            dedupe = self.dedupe_key(&organization, ask, &payload);
            if let Some(known) = self.answered_before(&dedupe)? {
                return Ok(known);
            }
            message = self.keep(ask, &organization, (format, interaction), &payload).await?;
        }
        let _working = self.mark_in_work(message);
        let arrival = Arrival { ask, organization, format, message, dedupe, interaction };
        let mut admission = self.process(&arrival, &payload).await?;
        if cards_count > 0 {
            let text = format!("{cards_count} payment card number(s) were masked before storing");
            admission.issues.push(Issue::warning("payload", text));
        }
        Ok(admission)
    }

    /// Converts and applies a kept payload.
    pub(crate) async fn process(
        &self,
        arrival: &Arrival<'_>,
        payload: &[u8],
    ) -> Result<Admission, ExchangeError> {
        let mut converted = match convert(arrival, payload) {
            Ok(converted) => converted,
            Err(refusal) => {
                let told = (&refusal, category_of(&refusal));
                return self.refuse_payload(arrival, told, Vec::new()).await;
            }
        };
        let mut problems = self.judge(arrival, &converted);
        if problems.is_empty() {
            problems = self.judge_by_profiles(arrival, &mut converted);
        }
        if !problems.is_empty() {
            let refusal =
                Refusal::Malformed { what: "FHIR resource", place: problems[0].place.clone() };
            return self.refuse_payload(arrival, (&refusal, "invalid"), problems).await;
        }
        for _ in 0..TRIES_MAX {
            let applied = match converted.kind {
                PayloadKind::Transaction | PayloadKind::Batch => {
                    self.transact(arrival, &converted).await
                }
                _ => self.apply(arrival, &converted).await,
            };
            match applied {
                Err(ExchangeError::Conflict) => {
                    if let Some(known) = self.answered_before(&arrival.dedupe)? {
                        self.finish(arrival, KeptState::Duplicate, "duplicate", None, &known)
                            .await?;
                        return Ok(Admission { message: arrival.message, ..known });
                    }
                }
                Err(ExchangeError::KeeperAway | ExchangeError::StoreAway) => {
                    return Ok(queued(arrival.message, &converted));
                }
                Err(ExchangeError::NotFound) => {
                    let missing = Refusal::Missing {
                        what: "resource that the sender may refer to",
                        place: "reference".into(),
                    };
                    let told = (&missing, "unknown-reference");
                    return self.refuse_payload(arrival, told, converted.issues.clone()).await;
                }
                Err(ExchangeError::EntryRefused { category, place, text }) => {
                    let issues = [converted.issues, vec![Issue::error(place, text)]].concat();
                    let told = (&Refusal::Unsupported { what: text }, category);
                    return self.refuse_payload(arrival, told, issues).await;
                }
                Err(error) => match refusal_of(&error) {
                    Some((category, what)) => {
                        let refusal = Refusal::Unsupported { what };
                        let told = (&refusal, category);
                        return self.refuse_payload(arrival, told, converted.issues).await;
                    }
                    None => return Err(error),
                },
                done => return done,
            }
        }
        Err(ExchangeError::Conflict)
    }

    /// What a FHIR sender must mend before its resources can be stored. Our own
    /// conversions are judged later, resource by resource.
    fn judge(&self, arrival: &Arrival<'_>, converted: &Converted) -> Vec<Issue> {
        if arrival.format != Format::Fhir {
            return Vec::new();
        }
        let resources =
            converted.patient.iter().chain(converted.resources.iter().map(|r| &r.resource));
        if let Some(read_only) = resources
            .clone()
            .filter_map(|r| r["resourceType"].as_str())
            .find(|resource_type| READ_ONLY_TYPES.contains(resource_type))
        {
            let text = "is read-only here: it is a view of the ledger, which writes itself";
            return vec![Issue::error(read_only, text)];
        }
        // One in a bundle would lie in the record and send nothing.
        if resources.clone().any(|r| r["resourceType"] == "Subscription") {
            let text = "is made by a request of its own: POST or PUT it to /Subscription";
            return vec![Issue::error("Subscription", text)];
        }
        resources
            .filter(|resource| !resource.is_null())
            .flat_map(holdfast_fhir::validate)
            .filter(is_error)
            .map(|issue| Issue::error(issue.expression, issue.diagnostics).with_code(issue.code))
            .collect()
    }

    /// What a sender must mend by the organization's profiles; where its policy only
    /// warns, that is told with what is stored.
    fn judge_by_profiles(&self, arrival: &Arrival<'_>, converted: &mut Converted) -> Vec<Issue> {
        if arrival.format != Format::Fhir {
            return Vec::new();
        }
        let (mut problems, mut told) = (Vec::new(), Vec::new());
        let others = converted.resources.iter_mut().map(|part| &mut part.resource);
        for resource in converted.patient.iter_mut().chain(others).filter(|it| !it.is_null()) {
            let judged = self.judge_profiles(arrival.organization.id(), resource);
            for issue in judged.issues {
                let told_to = if is_error(&issue) { &mut problems } else { &mut told };
                let plain = match is_error(&issue) {
                    true => Issue::error(issue.expression, issue.diagnostics),
                    false => Issue::warning(issue.expression, issue.diagnostics),
                };
                told_to.push(plain.with_code(issue.code));
            }
            if judged.is_tagged {
                crate::profiles::tag(resource);
            }
        }
        converted.issues.append(&mut told);
        problems
    }

    /// Keeps the payload sealed; durable on return. Needs no keeper.
    async fn keep(
        &self,
        ask: &Ask,
        organization: &Organization,
        (format, interaction): (Format, bool),
        payload: &[u8],
    ) -> Result<MessageId, ExchangeError> {
        let received = self.now();
        let packed = packing::compress_bytes(payload)?;
        let meta = KeptMeta {
            principal: ask.caller.principal.clone(),
            session: ask.caller.session,
            address: ask.caller.address.clone(),
            request: ask.request,
            payload_bytes: Some(packed.len()),
            compressed: true,
            format: Some(format_number(format)),
            interaction,
        };
        let meta = serde_json::to_vec(&meta)
            .map_err(|_| ExchangeError::Internal("kept particulars do not serialise"))?;
        let kept = KeptPayload {
            organization: organization.ordinal,
            received,
            format: FORMAT_UNTOLD,
            meta_sealed: self
                .system()
                .seal(&meta_context(organization, received), &sizes::pad_json(meta)),
            payload_sealed: organization
                .keys
                .inbox
                .seal(&payload_context(organization, received), &sizes::pad_payload(&packed)),
        };
        let store = Arc::clone(self.store());
        tokio::task::spawn_blocking(move || store.keep(&kept))
            .await
            .map_err(|_| ExchangeError::Internal("the store's thread ended"))?
            .map_err(ExchangeError::store)
    }
}

/// Splits a file of HL7 v2 into its messages; other formats are one payload.
pub fn split_payloads(format: Format, bytes: &[u8]) -> Vec<Cow<'_, [u8]>> {
    match format {
        Format::Hl7v2 => hl7v2::split(bytes),
        _ => vec![Cow::Borrowed(bytes)],
    }
}

fn convert(arrival: &Arrival<'_>, payload: &[u8]) -> Result<Converted, Refusal> {
    let settings = arrival.organization.settings();
    match arrival.format {
        Format::Hl7v2 => {
            let message = hl7v2::parse(payload).map_err(|error| Refusal::Malformed {
                what: "HL7 v2 message",
                place: error.to_string(),
            })?;
            holdfast_intake::convert_hl7v2(&message, &settings)
        }
        Format::Ccda => holdfast_intake::convert_ccda(payload, &settings),
        Format::Fhir => {
            let value = parse_fhir(payload)?;
            holdfast_intake::convert_fhir(&value)
        }
    }
}

/// What is said of a payload that its sender may not have applied. It is kept, and
/// not tried again by itself: a sender who is over budget would only be more so.
fn refusal_of(error: &ExchangeError) -> Option<(&'static str, &'static str)> {
    match error {
        ExchangeError::Setting(problem) => Some(("not-permitted", problem)),
        ExchangeError::NotPermitted { reason } => Some(("not-permitted", reason)),
        ExchangeError::Suspended => Some(("suspended", "sending while suspended")),
        ExchangeError::OverBudget { .. } => {
            Some(("over-budget", "writing to more patients than the budget allows"))
        }
        _ => None,
    }
}

/// What kind of refusal it is: what a list of refused payloads is sorted by.
fn category_of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Malformed { .. } => "malformed",
        Refusal::Missing { .. } => "missing",
        Refusal::Unsupported { .. } => "unsupported",
        Refusal::SeveralPatients { .. } => "several-patients",
        Refusal::TooLarge { .. } => "too-large",
    }
}

fn parse_fhir(payload: &[u8]) -> Result<serde_json::Value, Refusal> {
    let limits = holdfast_fhir::Limits::default();
    holdfast_fhir::parse_resource(payload, limits)
        .map_err(|issue| Refusal::Malformed { what: "FHIR resource", place: issue.diagnostics })
}

/// Whether an issue keeps a resource from being stored.
pub(crate) fn is_error(issue: &holdfast_fhir::Issue) -> bool {
    issue.severity <= holdfast_fhir::Severity::Error
}

fn queued(message: MessageId, converted: &Converted) -> Admission {
    Admission {
        message,
        outcome: Outcome::Queued,
        issues: converted.issues.clone(),
        control_id: converted.control_id.clone(),
        written: Vec::new(),
        matched: Matched::Known,
        category: None,
    }
}

/// The format that a kept row names by its number.
fn format_of(number: u8) -> Format {
    match number {
        1 => Format::Hl7v2,
        2 => Format::Ccda,
        _ => Format::Fhir,
    }
}

pub(crate) fn format_number(format: Format) -> u8 {
    match format {
        Format::Hl7v2 => 1,
        Format::Ccda => 2,
        Format::Fhir => 3,
    }
}

pub(crate) fn format_name(format: Format) -> &'static str {
    match format {
        Format::Hl7v2 => "hl7v2",
        Format::Ccda => "ccda",
        Format::Fhir => "fhir",
    }
}

fn meta_context(organization: &Organization, received: Timestamp) -> String {
    format!("inbox/{}/{}", organization.id(), received.millis())
}

fn payload_context(organization: &Organization, received: Timestamp) -> Vec<u8> {
    meta_context(organization, received).into_bytes()
}
