//! Organizations on the exchange and how their payloads are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_base::OrganizationId;
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
}

/// An organization with the keys that open no record.
pub(crate) struct Organization {
    pub ordinal: u32,
    pub facts: NewOrganization,
    pub keys: OrganizationKeys,
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
        let keys = {
            let proof = self.proof_of(&ask.caller).await?;
            self.keeper().create_organization(&proof, &facts.id).await?
        };
        let _one_at_a_time = self.organizations_lock().await;
        let ordinal = match self.organization(&facts.id) {
            Ok(known) => known.ordinal,
            Err(_) => self.organizations().iter().map(|o| o.ordinal).max().unwrap_or(0) + 1,
        };
        let row = OrganizationRow { ordinal, facts };
        self.save_system(Kind::Organization, row.facts.id.as_str(), &row).await?;
        let organization = Arc::new(Organization { ordinal, facts: row.facts, keys });
        self.start_population(&organization).await?;
        self.insert_organization(organization);
        Ok(())
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
            })
            .collect();
        views.sort_by(|a, b| a.id.cmp(&b.id));
        views
    }
}
