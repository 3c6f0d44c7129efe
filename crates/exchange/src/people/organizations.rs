//! Organizations on the exchange and how their payloads are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_base::{OrganizationId, PrincipalId};
use holdfast_intake::Settings;
use holdfast_keeper::OrganizationKeys;
use holdfast_policy::{Module, Task};
use serde::{Deserialize, Serialize};

use crate::state::Exchange;
use crate::system::Kind;
use crate::{Ask, ExchangeError};

/// What makes an organization: its name in URLs, its module, its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOrganization {
    /// Name in URLs, keys and ledger entries.
    pub id: OrganizationId,
    /// Its legal name, for letters and screens.
    pub name: String,
    /// What it does on the exchange.
    pub module: Module,
    /// Street and number.
    pub street: String,
    /// City.
    pub city: String,
    /// USPS state code.
    pub state: String,
    /// ZIP code.
    pub postal_code: String,
    /// Telephone for its patients.
    pub phone: String,
    /// Identifier systems by assigning authority, as its messages name them.
    pub authorities: BTreeMap<String, String>,
    /// The assigning authority of identifiers that name none.
    pub default_authority: Option<String>,
    /// POSIX time zone of times without an offset.
    pub time_zone: String,
}

/// Longest name, street or telephone number: a line of a letter.
const LINE_BYTES_MAX: usize = 120;
/// Assigning authorities of one organization: a hospital group has dozens.
const AUTHORITIES_COUNT_MAX: usize = 200;

impl NewOrganization {
    /// What is wrong with it, if anything.
    fn problem(&self) -> Option<&'static str> {
        let lines = [&self.name, &self.street, &self.city, &self.postal_code, &self.phone];
        let odd =
            |text: &&String| text.len() > LINE_BYTES_MAX || text.chars().any(char::is_control);
        let state = self.state.as_bytes();
        let authorities = &self.authorities;
        let default = self.default_authority.as_ref();
        match () {
            () if self.name.trim().is_empty() => Some("an organization has a name"),
            () if lines.iter().any(odd) => {
                Some("names, streets and numbers have at most 120 characters, on one line")
            }
            () if !is_state(state) && (self.module != Module::Operator || !state.is_empty()) => {
                Some("the state is a USPS code of two letters, such as IN")
            }
            () if authorities.len() > AUTHORITIES_COUNT_MAX => {
                Some("an organization has at most 200 assigning authorities")
            }
            () if authorities.iter().any(|(name, system)| name.is_empty() || system.is_empty()) => {
                Some("an assigning authority is NAME=SYSTEM, such as LAKESIDE=urn:oid:2.999.1")
            }
            () if default.is_some_and(|name| !authorities.contains_key(name)) => {
                Some("the default assigning authority is one of the assigning authorities")
            }
            () if !holdfast_intake::is_time_zone(&self.time_zone) => {
                Some("the time zone has POSIX form, such as EST5EDT,M3.2.0,M11.1.0 or UTC0")
            }
            () => None,
        }
    }
}

fn is_state(state: &[u8]) -> bool {
    state.len() == 2 && state.iter().all(u8::is_ascii_uppercase)
}

/// What others may know of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationView {
    /// Name in URLs.
    pub id: OrganizationId,
    /// Name on screens.
    pub name: String,
    /// What it does.
    pub module: Module,
    /// City and state.
    pub place: String,
    /// Why nobody of it may do anything, while that is so.
    pub suspended: Option<String>,
}

/// Counts for the summary of a load and the operator's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Patient records.
    pub patients: usize,
    /// Persons whom they belong to.
    pub persons: usize,
    /// Records that a person has to look at.
    pub reviews: usize,
    /// Payloads that are kept and not processed yet.
    pub pending: usize,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct OrganizationRow {
    pub ordinal: u32,
    pub facts: NewOrganization,
    /// Why nobody of it may do anything.
    #[serde(default)]
    pub suspended: Option<String>,
}

/// An organization with the keys that open no record.
pub(crate) struct Organization {
    pub ordinal: u32,
    pub facts: NewOrganization,
    pub keys: OrganizationKeys,
    pub suspended: Option<String>,
}

impl Organization {
    pub fn id(&self) -> &OrganizationId {
        &self.facts.id
    }

    /// How its payloads are read.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::new(self.facts.id.clone());
        settings.authorities = self.facts.authorities.clone();
        settings.default_authority = self.facts.default_authority.clone();
        settings.time_zone = self.facts.time_zone.clone();
        settings
    }
}

impl Exchange {
    /// Puts an organization on the exchange: makes its keys, keeps its settings.
    /// Safe to repeat: the settings are replaced, the keys stay.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] unless the caller is an administrator.
    pub async fn create_organization(
        &self,
        ask: &Ask,
        facts: NewOrganization,
    ) -> Result<(), ExchangeError> {
        self.require_task(ask, Task::Accounts).await?;
        if let Some(problem) = facts.problem() {
            return Err(ExchangeError::Setting(problem));
        }
        let keys = {
            let proof = self.proof_of(&ask.caller).await?;
            self.keeper().create_organization(&proof, &facts.id).await?
        };
        let _one_at_a_time = self.organizations_lock().await;
        let (ordinal, suspended) = match self.organization(&facts.id) {
            Ok(known) => (known.ordinal, known.suspended.clone()),
            Err(_) => (self.organizations().iter().map(|o| o.ordinal).max().unwrap_or(0) + 1, None),
        };
        let row = OrganizationRow { ordinal, facts, suspended };
        self.keep_organization(row, keys).await
    }

    async fn keep_organization(
        &self,
        row: OrganizationRow,
        keys: OrganizationKeys,
    ) -> Result<(), ExchangeError> {
        self.save_system(Kind::Organization, row.facts.id.as_str(), &row).await?;
        let OrganizationRow { ordinal, facts, suspended } = row;
        let organization = Arc::new(Organization { ordinal, facts, keys, suspended });
        self.start_population(&organization).await?;
        self.insert_organization(organization);
        Ok(())
    }

    /// Puts a new organization on the exchange; whether it was new. One that is there
    /// with the same settings stays as it is.
    ///
    /// # Errors
    /// As [`create_organization`](Self::create_organization);
    /// [`ExchangeError::Setting`] when it is there with other settings.
    pub async fn add_organization(
        &self,
        ask: &Ask,
        facts: NewOrganization,
    ) -> Result<bool, ExchangeError> {
        self.require_task(ask, Task::Accounts).await?;
        match self.organization(&facts.id) {
            Ok(known) if known.facts == facts => Ok(false),
            Ok(_) => Err(ExchangeError::Setting("it is there already, with other settings")),
            Err(_) => self.create_organization(ask, facts).await.map(|()| true),
        }
    }

    /// The settings of an organization, and why it is suspended if it is.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] unless the caller is an administrator,
    /// [`ExchangeError::NoOrganization`].
    pub async fn organization_settings(
        &self,
        ask: &Ask,
        id: &OrganizationId,
    ) -> Result<(NewOrganization, Option<String>), ExchangeError> {
        self.require_task(ask, Task::Accounts).await?;
        let known = self.organization(id)?;
        Ok((known.facts.clone(), known.suspended.clone()))
    }

    /// Suspends an organization (with a reason), or lifts that again (without): none of
    /// its people and systems may do anything in between. What it keeps stays where it
    /// is, for others who may see it.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] unless an officer of the organization that runs
    /// the exchange asks, and for that organization; [`ExchangeError::NoOrganization`].
    pub async fn suspend_organization(
        &self,
        ask: &Ask,
        id: &OrganizationId,
        (suspends, reason): (bool, &str),
    ) -> Result<(), ExchangeError> {
        self.require_task(ask, Task::Containment).await?;
        let known = self.organization(id)?;
        let whole = PrincipalId::new(&format!("organization:{id}"))
            .map_err(|_| ExchangeError::Internal("an organization's name fits"))?;
        let proof = self.proof_of(&ask.caller).await?;
        match suspends {
            true => self.keeper().suspend(&proof, &whole, reason).await?,
            false => self.keeper().lift(&proof, &whole, reason).await?,
        }
        for session in self.sessions().revoke_of(id) {
            self.keyring().drop_session(session, self.now());
        }
        let _one_at_a_time = self.organizations_lock().await;
        let row = OrganizationRow {
            ordinal: known.ordinal,
            facts: known.facts.clone(),
            suspended: suspends.then(|| reason.to_owned()),
        };
        self.keep_organization(row, known.keys.clone()).await
    }

    /// How much there is. Counts only; open to everybody who is signed in.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn counts(&self) -> Result<Counts, ExchangeError> {
        let (patients, persons) = self.directory().read().counts();
        let reviews = self.load_all_system::<crate::ReviewItem>(Kind::Review)?.len();
        let pending = self.store().snapshot().pending().count();
        Ok(Counts { patients, persons, reviews, pending })
    }

    /// Every organization, by name.
    pub fn organization_views(&self) -> Vec<OrganizationView> {
        let mut views: Vec<_> = self
            .organizations()
            .iter()
            .map(|organization| OrganizationView {
                id: organization.id().clone(),
                name: organization.facts.name.clone(),
                module: organization.facts.module,
                place: format!("{}, {}", organization.facts.city, organization.facts.state),
                suspended: organization.suspended.clone(),
            })
            .collect();
        views.sort_by(|a, b| a.id.cmp(&b.id));
        views
    }
}
