//! Who asks. A [`Caller`] is made by authentication only; everything that leads
//! to a record takes one.

use holdfast_base::{OrganizationId, PrincipalId, Purpose, RequestId, SessionId, Timestamp};
use holdfast_keeper::SessionToken;
use holdfast_ledger::{Actor, Entry, Event};
use holdfast_policy::{Principal, Role};

/// An authenticated person or system, in one session.
#[derive(Debug, Clone)]
pub struct Caller {
    pub(crate) principal: Principal,
    pub(crate) display_name: String,
    pub(crate) npi: Option<String>,
    pub(crate) session: SessionId,
    pub(crate) address: Option<String>,
    pub(crate) shown: Shown,
}

/// What the keeper is shown when it is asked in a caller's name.
#[derive(Debug, Clone)]
pub(crate) enum Shown {
    /// The token of the session.
    Token(SessionToken),
    /// The certificate of a system, for which the exchange vouches.
    Certificate([u8; 32]),
    /// Whoever sets a new exchange up.
    SetUp,
    /// Nothing of the caller's: their session is over, and the exchange acts for
    /// itself (payloads that were kept while the keeper was away).
    Nothing,
}

impl Caller {
    /// The person or system.
    pub fn id(&self) -> &PrincipalId {
        &self.principal.id
    }

    /// What it is called on screen.
    pub fn display_name(&self) -> &str {
        &self.display_name
    }

    /// The organization that it works for.
    pub fn organization(&self) -> &OrganizationId {
        &self.principal.organization
    }

    /// Its role there.
    pub fn role(&self) -> Role {
        self.principal.role
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor {
            principal: self.principal.id.clone(),
            session: Some(self.session),
            organization: Some(self.principal.organization.clone()),
            address: self.address.clone(),
        }
    }
}

/// One request of a caller: who, what for, and which request it is.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Who asks.
    pub caller: Caller,
    /// What for.
    pub purpose: Purpose,
    /// Which request; also given back to the client as `X-Request-Id`.
    pub request: RequestId,
    /// The reason, when the caller declares an emergency (break glass).
    pub emergency: Option<String>,
}

impl Ask {
    /// A request of `caller` for the purpose that goes with its role.
    pub fn new(caller: Caller) -> Self {
        let purpose = match caller.role() {
            Role::Patient => Purpose::PatientRequest,
            Role::PrivacyOfficer => Purpose::Compliance,
            Role::SecurityOfficer | Role::Administrator => Purpose::SystemAdministration,
            Role::System | Role::Registrar => Purpose::Operations,
            _ => Purpose::Treatment,
        };
        Self { caller, purpose, request: RequestId::random(), emergency: None }
    }

    pub(crate) fn entry(&self, at: Timestamp, event: Event) -> Entry {
        Entry { at, actor: self.caller.actor(), request: Some(self.request), event }
    }
}
