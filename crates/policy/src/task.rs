//! Work that opens no patient's record: accounts, budgets, containment, the
//! ledger, incidents. Kept apart from permits by type, so that whoever runs the
//! platform can never hold something that a read would accept.

use holdfast_base::{OrganizationId, PrincipalId};
use serde::{Deserialize, Serialize};

use crate::role::named;
use crate::{Principal, Refusal, Role};

named!(
    /// A task of running, watching or answering for the exchange.
    Task {
        /// Make, change and close accounts.
        Accounts = "accounts",
        /// Change a principal's budget of patients.
        Budgets = "budgets",
        /// Suspend a principal, revoke sessions, lift it again.
        Containment = "containment",
        /// Query the ledger, compute a scope, export evidence.
        Ledger = "ledger",
        /// Read the ledger as FHIR AuditEvents.
        AuditEvents = "audit-events",
        /// Open, advance and close incidents; draft notices.
        Incidents = "incidents",
        /// Destroy the key of a patient's record.
        Forgetting = "forgetting",
        /// Make backups.
        Backup = "backup",
        /// See which payloads wait or were refused, and why; have them tried again.
        Messages = "messages",
        /// See bulk exports and imports, and end them.
        BulkJobs = "bulk-jobs",
        /// See subscriptions, have them sent again, say which hosts they may be sent to.
        Subscriptions = "subscriptions",
        /// Look at a payload that was refused.
        Payloads = "payloads",
    }
);

/// Who does what. Everybody else is refused.
const TASKS: &[(Task, &[Role])] = &[
    (Task::Accounts, &[Role::Administrator]),
    (Task::Budgets, &[Role::SecurityOfficer]),
    (Task::Containment, &[Role::SecurityOfficer, Role::PrivacyOfficer, Role::System]),
    (Task::Ledger, &[Role::SecurityOfficer, Role::PrivacyOfficer]),
    (Task::AuditEvents, &[Role::SecurityOfficer, Role::PrivacyOfficer]),
    (Task::Backup, &[Role::Administrator, Role::SecurityOfficer]),
    (Task::Incidents, &[Role::SecurityOfficer, Role::PrivacyOfficer, Role::System]),
    (Task::Forgetting, &[Role::PrivacyOfficer]),
    (Task::Messages, &[Role::Administrator, Role::Registrar, Role::PrivacyOfficer]),
    (Task::BulkJobs, &[Role::Administrator, Role::SecurityOfficer, Role::PrivacyOfficer]),
    (Task::Subscriptions, &[Role::Administrator, Role::SecurityOfficer]),
    (Task::Payloads, &[Role::PrivacyOfficer]),
];

/// The authority to do one [`Task`]. Only [`decide_task`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a grant that is not used does nothing"]
pub struct Grant {
    principal: PrincipalId,
    organization: OrganizationId,
    task: Task,
}

impl Grant {
    /// Whom it is for.
    pub fn principal(&self) -> &PrincipalId {
        &self.principal
    }

    /// The organization that the principal belongs to.
    pub fn organization(&self) -> &OrganizationId {
        &self.organization
    }

    /// What may be done.
    pub fn task(&self) -> Task {
        self.task
    }
}

/// Whether `principal` may do `task`.
///
/// # Errors
/// A [`Refusal`] with reason `task-not-for-role`.
pub fn decide_task(principal: &Principal, task: Task) -> Result<Grant, Refusal> {
    let allowed = TASKS.iter().any(|(of, roles)| *of == task && roles.contains(&principal.role));
    if allowed {
        Ok(Grant {
            principal: principal.id.clone(),
            organization: principal.organization.clone(),
            task,
        })
    } else {
        Err(Refusal::new("task-not-for-role", "this role does not do this task"))
    }
}
