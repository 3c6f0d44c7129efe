//! What the ledger says: one entry for each thing that an outside investigator
//! would want to know. Entries hold identifiers of ours, codes and counts; never
//! a name, a value of a record or a free text that a user typed about a patient.

use holdfast_base::{
    ClassSet, CommitNumber, ElementClass, IncidentId, MessageId, OrganizationId, PatientId,
    PersonId, PrincipalId, Purpose, RequestId, SessionId, Timestamp,
};
use serde::{Deserialize, Serialize};

/// Who acts, from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The person or system.
    pub principal: PrincipalId,
    /// The session, for those who signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The organization that the principal acts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<OrganizationId>,
    /// Client network address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// One entry. Serialised as one JSON object; the bytes that were appended are
/// the bytes that are committed to, so nothing is ever re-serialised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it happened, by the clock of who wrote it.
    pub at: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// The request that it was part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// What happened.
    pub event: Event,
}

/// What was done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The current or a former version was returned.
    Read,
    /// It was returned as a match or an include of a search.
    Search,
    /// A version was written.
    Write,
    /// A version was written that says that the resource is deleted.
    Delete,
    /// It was sent to somebody outside of the asking organization.
    Deliver,
    /// It was opened to compose a notice or an accounting.
    Notify,
}

/// One resource that was touched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Touch {
    /// FHIR resource type.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// Logical id; assigned by us, so it says nothing.
    pub id: String,
    /// Version number, from 1.
    pub version: u64,
    /// The element classes that were returned or written.
    pub classes: ClassSet,
}

/// What happened. Tags are kebab-case names in the field `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// The first entry of every ledger.
    LedgerOpened {
        /// Name of the log, as in its checkpoints.
        origin: String,
    },
    /// A patient's class keys left the keeper. Durable before they do.
    KeyRelease {
        /// Whose record: the organization that keeps it.
        organization: OrganizationId,
        /// Whose record: the patient.
        patient: PatientId,
        /// Which class keys.
        classes: ClassSet,
        /// Purpose of use.
        purpose: Purpose,
        /// Why policy permitted it: a reason code such as `own-organization`.
        reason: String,
    },
    /// Keys that open no patient's record (index tokens, system rows, an
    /// organization's inbox) left the keeper.
    ServiceKeyRelease {
        /// Which: `system`, `mpi`, `token:{organization}`, or the content key of one kept
        /// payload: `inbox:{organization}:{message}:{fingerprint of its header}`.
        scope: String,
        /// Why.
        reason: String,
    },
    /// A search over an organization's patients was answered. Durable before it is.
    PopulationQuery {
        /// Whose patients.
        organization: OrganizationId,
        /// FHIR resource type that was searched.
        #[serde(rename = "type")]
        resource_type: String,
        /// Names of the search parameters; never their values.
        parameters: Vec<String>,
        /// Purpose of use.
        purpose: Purpose,
        /// How many resources match.
        matches_count: u64,
        /// The patients whom the answer named; none when it was a number only.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        named: Vec<PatientId>,
    },
    /// What was returned or written under a release: the detail.
    Access {
        /// Whose record: the organization that keeps it.
        organization: OrganizationId,
        /// Whose record: the patient.
        patient: PatientId,
        /// What was done.
        action: Action,
        /// Purpose of use.
        purpose: Purpose,
        /// How the principal is related to the patient, as policy found it:
        /// `care-team`, `organization`, `linked-organization`, `self`, `intake`,
        /// `none`.
        relationship: String,
        /// The resources.
        touches: Vec<Touch>,
    },
    /// Something was refused.
    Refusal {
        /// Where: `sign-in`, `token`, `policy`, `keeper`, `input`, `intake`.
        door: String,
        /// A reason code such as `wrong-credentials`, `over-budget`,
        /// `no-such-account`, `suspended`, `not-permitted`, `malformed-parameter`.
        reason: String,
        /// Whose record, when one was asked for and is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        patient: Option<PatientId>,
        /// The organization that keeps it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        organization: Option<OrganizationId>,
    },
    /// Somebody signed in, or out.
    Session {
        /// `opened`, `vouched` (a system whose certificate the front process has
        /// verified), `closed`.
        change: String,
    },
    /// An inbound payload reached its outcome.
    Intake {
        /// The organization that sent it.
        organization: OrganizationId,
        /// The kept payload.
        message: MessageId,
        /// `hl7v2`, `ccda`, `fhir`.
        format: String,
        /// `accepted`, `duplicate`, `refused`, `review`; `replayed` when somebody asks that
        /// it be tried again.
        outcome: String,
        /// Whose record it became part of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        patient: Option<PatientId>,
        /// The store transaction that holds it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<CommitNumber>,
    },
    /// The store's state: transaction `commit` is durable and the chain of
    /// transactions up to it hashes to `chain` (hex).
    StoreCommit {
        /// Transaction number.
        commit: CommitNumber,
        /// Hash chain value, lower-case hex.
        chain: String,
    },
    /// The store was brought back to an earlier state from a backup: what the
    /// ledger saw committed after it is not in the store any more. Chain and
    /// numbers go on from here.
    Restored {
        /// The transaction that the store ends at.
        commit: CommitNumber,
        /// Hash chain value there, lower-case hex.
        chain: String,
        /// The newest transaction that the ledger had seen.
        acknowledged: CommitNumber,
        /// Why, as the administrator said.
        reason: String,
    },
    /// A patient record was created, changed residence or was linked to another
    /// person: what scope needs to know about it, and no more.
    PatientProfile {
        /// The organization that keeps the record.
        organization: OrganizationId,
        /// The patient.
        patient: PatientId,
        /// The person whom the record is linked to.
        person: PersonId,
        /// State of residence (USPS code), or ISO 3166 country outside the US.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        residence: Option<String>,
    },
    /// A result, report or notice went to somebody.
    Delivery {
        /// The organization that keeps the record.
        organization: OrganizationId,
        /// The patient.
        patient: PatientId,
        /// The organization that it went to.
        recipient: OrganizationId,
        /// `notice-of-admission`, `result`, `report`.
        what: String,
    },
    /// An account was made or changed.
    AccountChange {
        /// Whose.
        account: PrincipalId,
        /// `created`, `imported` (from an older exchange), `secret-reset`, `recovered` (by
        /// the passphrase of the root), `closed`.
        change: String,
        /// The role it now has.
        role: String,
    },
    /// A budget was changed.
    BudgetChange {
        /// Whose: a principal's, or `organization:{organization}`.
        account: PrincipalId,
        /// Distinct patients a minute, an hour, a day.
        limits: [u32; 3],
        /// Why.
        reason: String,
    },
    /// A step of a bulk grant: more patients than the budget allows, by two people.
    BulkGrant {
        /// Which grant.
        grant: RequestId,
        /// `proposed`, `approved`, `revoked`.
        step: String,
        /// The principal who may use it.
        account: PrincipalId,
        /// The organization whose records it is for.
        organization: OrganizationId,
        /// Distinct patients, at most, over its whole life.
        patients_max: u32,
        /// When it ends by itself.
        until: Timestamp,
        /// Why.
        reason: String,
    },
    /// A detector, the keeper's budget among them, found something.
    Alert {
        /// `keeper-budget`, `no-relationship`, `honey-patient`.
        detector: String,
        /// Whom it is about.
        principal: PrincipalId,
        /// How many distinct patients stand behind it.
        patients_count: u64,
        /// `notice`, `serious`, `critical`.
        severity: String,
        /// One sentence of ours; no data of a record.
        summary: String,
    },
    /// The machine or a person contained somebody, or lifted it.
    Containment {
        /// Whom.
        principal: PrincipalId,
        /// `suspended`, `sessions-revoked`, `lifted`.
        action: String,
        /// Why.
        reason: String,
        /// The incident it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        incident: Option<IncidentId>,
    },
    /// A step of an incident: opened, finding added, scope frozen, notice drafted.
    IncidentStep {
        /// Which incident.
        incident: IncidentId,
        /// What was done: `opened`, `finding`, `scope-frozen`, `notices-drafted`, `closed`.
        step: String,
        /// One sentence of ours.
        note: String,
    },
    /// Keys to a patient's record were released and dropped again, and nothing of the
    /// record was returned or written with them.
    ReleaseUnused {
        /// The organization that keeps the record.
        organization: OrganizationId,
        /// The patient.
        patient: PatientId,
    },
    /// Entries of the ledger were shown to somebody as something else than evidence.
    LedgerRead {
        /// As what: `AuditEvent`.
        view: String,
        /// About whose records: the organization that keeps them.
        organization: OrganizationId,
        /// The one patient whom they were about, when it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        patient: Option<PatientId>,
        /// How many.
        entries_count: u64,
    },
    /// A step of a bulk export or import. What was disclosed or written stands in
    /// accesses of its own.
    BulkJob {
        /// Which job.
        job: RequestId,
        /// Whose records.
        organization: OrganizationId,
        /// `export`, `import`.
        what: String,
        /// `started`, `finished`, `failed`, `cancelled`, `expired`, `downloaded`.
        step: String,
        /// Patients whose records were written to its files so far.
        patients_count: u64,
        /// Resources, so far; of a download, in the file.
        resources_count: u64,
    },
    /// A subscription was made or changed, or which hosts one may be sent to. What was
    /// sent stands in deliveries and accesses of its own.
    SubscriptionChange {
        /// Whose.
        organization: OrganizationId,
        /// Logical id of the subscription, or the host.
        subscription: String,
        /// `created`, `changed`, `active`, `error`, `off`, `replayed`, `deleted`;
        /// `host-allowed`, `host-removed`.
        change: String,
    },
    /// A setting of the exchange or of an organization was changed.
    SettingChange {
        /// Whose; not there when it is everybody's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        organization: Option<OrganizationId>,
        /// Which: `profiles`.
        setting: String,
        /// What became of it: `added hl7.fhir.us.core 6.1.0`, `policy reject`.
        change: String,
    },
    /// A patient's key was destroyed.
    Forgotten {
        /// The organization that kept the record.
        organization: OrganizationId,
        /// The patient.
        patient: PatientId,
        /// Why.
        reason: String,
    },
    /// A key of the keeper was changed, or what protects the root.
    KeyChange {
        /// Which: `root`, `system`, `ledger-signer`, `organization/lakeside/wrap`,
        /// `patient/lakeside/…`.
        key: String,
        /// `rotating` before and `rotated` after; so `retiring`, `retired`;
        /// `guarding`, `guarded-by-passphrase`, `guarded-by-token`; `escrowing`,
        /// `escrowed`; `recovering`, `recovered`; `older-destroyed`; `failed`.
        change: String,
        /// The newest generation after it; 0 before it, and when it failed.
        generation: u32,
        /// Why.
        reason: String,
    },
}

/// The classes that being named in the answer to a search for resources of a type tells
/// of a record: who the patient is, or that something matches.
pub fn told_by_name(resource_type: &str) -> ClassSet {
    ClassSet::of(match resource_type {
        "Patient" => ElementClass::Identity,
        _ => ElementClass::Clinical,
    })
}

impl Event {
    /// The tag, as it stands in the JSON field `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LedgerOpened { .. } => "ledger-opened",
            Self::KeyRelease { .. } => "key-release",
            Self::ServiceKeyRelease { .. } => "service-key-release",
            Self::PopulationQuery { .. } => "population-query",
            Self::Access { .. } => "access",
            Self::Refusal { .. } => "refusal",
            Self::Session { .. } => "session",
            Self::Intake { .. } => "intake",
            Self::StoreCommit { .. } => "store-commit",
            Self::Restored { .. } => "restored",
            Self::PatientProfile { .. } => "patient-profile",
            Self::Delivery { .. } => "delivery",
            Self::AccountChange { .. } => "account-change",
            Self::BudgetChange { .. } => "budget-change",
            Self::BulkGrant { .. } => "bulk-grant",
            Self::Alert { .. } => "alert",
            Self::Containment { .. } => "containment",
            Self::IncidentStep { .. } => "incident-step",
            Self::ReleaseUnused { .. } => "release-unused",
            Self::LedgerRead { .. } => "ledger-read",
            Self::BulkJob { .. } => "bulk-job",
            Self::SubscriptionChange { .. } => "subscription-change",
            Self::SettingChange { .. } => "setting-change",
            Self::Forgotten { .. } => "forgotten",
            Self::KeyChange { .. } => "key-change",
        }
    }

    /// The patient whose record the event is about, with the keeping organization.
    pub fn patient(&self) -> Option<(&OrganizationId, PatientId)> {
        match self {
            Self::KeyRelease { organization, patient, .. }
            | Self::Access { organization, patient, .. }
            | Self::PatientProfile { organization, patient, .. }
            | Self::Delivery { organization, patient, .. }
            | Self::ReleaseUnused { organization, patient }
            | Self::Forgotten { organization, patient, .. } => Some((organization, *patient)),
            Self::Refusal { organization: Some(organization), patient: Some(patient), .. }
            | Self::Intake { organization, patient: Some(patient), .. }
            | Self::LedgerRead { organization, patient: Some(patient), .. } => {
                Some((organization, *patient))
            }
            _ => None,
        }
    }
}
