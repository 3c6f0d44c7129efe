//! The one path through Holdfast: admit, match, open, search, disclose, deliver,
//! respond. Doors reach records through this crate and through nothing else.
//!
//! Invariants:
//! - a [`Caller`] is made by authentication only, and everything takes one;
//! - a key is fetched only with a permit, bytes leave only after their access
//!   entry is durable, and a keeper that does not answer means no bytes;
//! - a payload is durable before it is looked at, and is applied once;
//! - no record, name or number reaches a log line or an error.
#![forbid(unsafe_code)]

mod admit;
mod audit;
mod bulk;
mod caller;
mod cover;
mod deliver;
mod directory;
mod disclose;
mod durable;
mod error;
mod keyring;
mod packing;
mod people;
mod population;
mod privacy;
mod profiles;
mod reconcile;
mod relation;
mod secrets;
mod sizes;
mod state;
mod subscribe;
mod system;

pub use admit::{
    Admission, KeptFilter, KeptPage, KeptView, Matched, OpenedMessage, Outcome, Replayed, Written,
    split_payloads,
};
pub use audit::READ_ONLY_TYPES;
pub use bulk::{BulkDownload, BulkFile, BulkFileKind, BulkJob, BulkKind, BulkLevel, BulkState};
pub use caller::{Ask, Caller};
pub use deliver::InboxItem;
pub use disclose::{
    Chart, ChartRecord, CrossReference, CrossReferenced, Disclosed, EVERYTHING_PAGE_MAX,
    Everything, EverythingAsked, Gathered, History, Look, MATCHES_MAX, MatchGrade, Page,
    PatientMatch, PatientMatches, SearchScope, Version,
};
pub use durable::CheckState;
pub use error::ExchangeError;
pub use people::{
    AccountView, Counts, Enrollment, NewAccount, NewOrganization, OrganizationView, SignedIn,
};
pub use privacy::{EmergencyItem, FindingView, Forgetting, KeysDue, LedgerState, ReviewItem};
pub use profiles::{OnProblem, PackageView, ProfilePolicy};
pub use reconcile::{FoundGap, Gap, ReconcileState, Reconciled};
pub use state::{Exchange, ExchangeConfig};
pub use subscribe::{Notifier, Outgoing, SubscriptionStatus, SubscriptionView, TOPICS};

pub use holdfast_backup::Report as BackupReport;
pub use holdfast_fhir::search::Handling;
pub use holdfast_intake::{Format, Issue, Severity, detect, hl7v2, mllp};
pub use holdfast_keeper::{
    Budget, BudgetOwner, BulkGrant, GrantProposal, KeeperAddress, NO_BULK_GRANT, TlsIdentity, totp,
};
pub use holdfast_ledger::{Entry, Event, Filter, Placed, Proof};
pub use holdfast_policy::{Module, Relationship, Role};
pub use holdfast_respond::{
    Contact, Incident, Letterhead, Monitoring, OutputFile, Scope, ScopeQuery, ScopeRow,
};
pub use holdfast_store::StoreLocation;
