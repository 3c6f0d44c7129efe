//! Profiles that administrators load, for the whole exchange or for one organization,
//! and what each organization does about resources that do not meet them.
//!
//! Invariants: packages and policies lie sealed among the system rows and are read at
//! the start; each change is an entry in the ledger; R4 itself is not up to anybody: its
//! errors refuse a resource whatever the policy says.

mod judge;

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_base::OrganizationId;
use holdfast_fhir::profile::{Package, Registry};
use holdfast_keeper::SystemKey;
use holdfast_ledger::{Entry, Event};
use holdfast_policy::Task;
use holdfast_store::Store;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::state::Exchange;
use crate::system::{self, Kind};
use crate::{Ask, ExchangeError};

pub(crate) use judge::tag;

/// Packages on an exchange, and profiles that a policy names.
const COUNT_MAX: usize = 64;
/// Longest name of a package or canonical URL.
const NAME_BYTES_MAX: usize = 256;
/// Definitions of one package, without what only people read: US Core has half a
/// megabyte, the largest guides ten.
const PACKAGE_BYTES_MAX: usize = 24 << 20;

/// What an organization does about a resource that does not meet a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnProblem {
    /// Refuses it.
    Reject,
    /// Stores it and tells the sender.
    #[default]
    Warn,
    /// Stores it with a label in `meta.tag` and tells the sender.
    Tag,
}

impl OnProblem {
    /// The name in commands and settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Warn => "warn",
            Self::Tag => "tag",
        }
    }
}

/// What an organization asks of resources beyond R4.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProfilePolicy {
    /// What is done about a problem.
    pub on_problem: OnProblem,
    /// Canonical URLs of profiles that every resource of their type has to meet, whether
    /// it claims them or not.
    #[serde(default)]
    pub always: Vec<String>,
}

/// A loaded package, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageView {
    /// Its name.
    pub name: String,
    /// Its version; empty when it has none.
    pub version: String,
    /// The organization that it is for; `None` is everybody.
    pub organization: Option<OrganizationId>,
    /// Profiles and extensions in it.
    pub profiles_count: usize,
    /// Value sets, code systems and questionnaires in it.
    pub others_count: usize,
    /// What of its profiles could not be understood, and is not checked.
    pub notes: Vec<String>,
}

/// A sealed row.
#[derive(Serialize, Deserialize)]
#[serde(tag = "row", rename_all = "kebab-case")]
enum Row {
    Package {
        organization: Option<OrganizationId>,
        name: String,
        version: String,
        resources: Vec<Value>,
    },
    Policy {
        organization: OrganizationId,
        policy: ProfilePolicy,
    },
}

#[derive(Clone)]
struct Loaded {
    organization: Option<OrganizationId>,
    name: String,
    version: String,
    resources: Arc<Vec<Value>>,
}

/// What is loaded, and by whom it is used.
#[derive(Default)]
pub(crate) struct Profiles {
    packages: Vec<Loaded>,
    policies: HashMap<OrganizationId, ProfilePolicy>,
    /// Packages for everybody.
    common: Arc<Registry>,
    /// Those and their own, of organizations that have own ones.
    own: HashMap<OrganizationId, Arc<Registry>>,
}

impl Profiles {
    /// Reads the rows of a store that is being opened.
    pub fn load(store: &Store, key: &SystemKey) -> Result<RwLock<Self>, ExchangeError> {
        let mut profiles = Self::default();
        for row in system::load_all::<Row>(store, key, Kind::Profile)? {
            match row {
                Row::Package { organization, name, version, resources } => {
                    let resources = Arc::new(resources);
                    profiles.packages.push(Loaded { organization, name, version, resources });
                }
                Row::Policy { organization, policy } => {
                    profiles.policies.insert(organization, policy);
                }
            }
        }
        profiles.build();
        Ok(RwLock::new(profiles))
    }

    fn build(&mut self) {
        self.packages.sort_by(|a, b| a.name.cmp(&b.name));
        let of = |wanted: &dyn Fn(&Loaded) -> bool| {
            let mut registry = Registry::default();
            for package in self.packages.iter().filter(|package| wanted(package)) {
                for resource in package.resources.iter() {
                    registry.add(resource.clone());
                }
            }
            Arc::new(registry)
        };
        self.common = of(&|package| package.organization.is_none());
        let owners = self.packages.iter().filter_map(|package| package.organization.clone());
        self.own = owners
            .map(|id| {
                let is_for = |package: &Loaded| {
                    package.organization.as_ref().is_none_or(|organization| *organization == id)
                };
                let registry = of(&is_for);
                (id, registry)
            })
            .collect();
    }

    fn registry(&self, organization: &OrganizationId) -> Arc<Registry> {
        Arc::clone(self.own.get(organization).unwrap_or(&self.common))
    }
}

impl Loaded {
    fn view(&self, registry: &Registry) -> PackageView {
        let profiles =
            self.resources.iter().filter(|it| it["resourceType"] == "StructureDefinition");
        let urls: Vec<&str> = profiles.filter_map(|it| it["url"].as_str()).collect();
        let compiled = urls.iter().filter_map(|url| Some((url, registry.profile(url)?)));
        let notes = compiled
            .flat_map(|(url, profile)| {
                profile.notes.iter().map(|note| format!("{url}: {note}")).collect::<Vec<_>>()
            })
            .collect();
        PackageView {
            name: self.name.clone(),
            version: self.version.clone(),
            organization: self.organization.clone(),
            profiles_count: urls.len(),
            others_count: self.resources.len() - urls.len(),
            notes,
        }
    }
}

/// Name of the row of a package.
fn row_name(organization: Option<&OrganizationId>, name: &str) -> String {
    format!("package/{}/{name}", organization.map_or("*", |id| id.as_str()))
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@/".contains(c);
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.chars().all(plain)
}

impl Exchange {
    /// Loads a package of definitions for everybody or for one organization; one of the
    /// same name is replaced. Durable on return; used from then on.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] unless the caller is an administrator,
    /// [`ExchangeError::NoOrganization`], [`ExchangeError::Setting`] when it is too large
    /// or one too many.
    pub async fn add_profiles(
        &self,
        ask: &Ask,
        organization: Option<&OrganizationId>,
        package: Package,
    ) -> Result<PackageView, ExchangeError> {
        self.require_task(ask, Task::Accounts).await?;
        if let Some(id) = organization {
            self.organization(id)?;
        }
        let Package { name, version, resources } = package;
        if !is_name(&name) || version.len() > NAME_BYTES_MAX || version.contains(char::is_control) {
            return Err(ExchangeError::Setting(
                "a package has a name of letters, digits, dots, hyphens and slashes",
            ));
        }
        let _one_at_a_time = self.organizations_lock().await;
        let is_same =
            |known: &Loaded| known.name == name && known.organization.as_ref() == organization;
        let count = self.profile_state().read().packages.iter().filter(|it| !is_same(it)).count();
        if count >= COUNT_MAX {
            return Err(ExchangeError::Setting("an exchange has at most 64 packages of profiles"));
        }
        let row = Row::Package {
            organization: organization.cloned(),
            name: name.clone(),
            version: version.clone(),
            resources,
        };
        if serde_json::to_vec(&row).map_or(usize::MAX, |bytes| bytes.len()) > PACKAGE_BYTES_MAX {
            return Err(ExchangeError::Setting("a package has at most 24 MiB of definitions"));
        }
        self.note_setting(ask, organization, format!("added {name} {version}").trim()).await?;
        self.save_system(Kind::Profile, &row_name(organization, &name), &row).await?;
        let Row::Package { resources, .. } = row else {
            return Err(ExchangeError::Internal("a package is a package"));
        };
        let loaded = Loaded {
            organization: organization.cloned(),
            name: name.clone(),
            version,
            resources: Arc::new(resources),
        };
        let mut state = self.profile_state().write();
        state
            .packages
            .retain(|known| known.name != name || known.organization.as_ref() != organization);
        state.packages.push(loaded.clone());
        state.build();
        let registry = match organization {
            Some(id) => state.registry(id),
            None => Arc::clone(&state.common),
        };
        drop(state);
        Ok(loaded.view(&registry))
    }

    /// Removes a package.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] unless the caller is an administrator,
    /// [`ExchangeError::NotFound`].
    pub async fn remove_profiles(
        &self,
        ask: &Ask,
        organization: Option<&OrganizationId>,
        name: &str,
    ) -> Result<(), ExchangeError> {
        self.require_task(ask, Task::Accounts).await?;
        let _one_at_a_time = self.organizations_lock().await;
        let is_it =
            |known: &Loaded| known.name == name && known.organization.as_ref() == organization;
        if !self.profile_state().read().packages.iter().any(is_it) {
            return Err(ExchangeError::NotFound);
        }
        self.note_setting(ask, organization, &format!("removed {name}")).await?;
        let rows = vec![self.no_system_row(Kind::Profile, &row_name(organization, name))];
        self.commit(holdfast_store::Transaction { rows, ..Default::default() }).await?;
        let mut state = self.profile_state().write();
        state.packages.retain(|known| !is_it(known));
        state.build();
        Ok(())
    }

    /// The packages, by name.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] unless the caller is an administrator.
    pub async fn profile_packages(&self, ask: &Ask) -> Result<Vec<PackageView>, ExchangeError> {
        self.require_task(ask, Task::Accounts).await?;
        let state = self.profile_state().read();
        let registry = |package: &Loaded| match &package.organization {
            Some(id) => state.registry(id),
            None => Arc::clone(&state.common),
        };
        Ok(state.packages.iter().map(|package| package.view(&registry(package))).collect())
    }

    /// Sets what an organization does about profiles.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] unless the caller is an administrator,
    /// [`ExchangeError::NoOrganization`], [`ExchangeError::Setting`] when it names a
    /// profile that is not loaded.
    pub async fn set_profile_policy(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        policy: ProfilePolicy,
    ) -> Result<(), ExchangeError> {
        self.require_task(ask, Task::Accounts).await?;
        self.organization(organization)?;
        let registry = self.profile_state().read().registry(organization);
        let is_odd = |url: &String| url.len() > NAME_BYTES_MAX || registry.profile(url).is_none();
        if policy.always.len() > COUNT_MAX || policy.always.iter().any(is_odd) {
            return Err(ExchangeError::Setting(
                "a policy names profiles that are loaded, at most 64",
            ));
        }
        let _one_at_a_time = self.organizations_lock().await;
        let count = policy.always.len();
        let change = format!("policy {}, {count} profile(s) always", policy.on_problem.as_str());
        self.note_setting(ask, Some(organization), &change).await?;
        let row = Row::Policy { organization: organization.clone(), policy: policy.clone() };
        self.save_system(Kind::Profile, &format!("policy/{organization}"), &row).await?;
        self.profile_state().write().policies.insert(organization.clone(), policy);
        Ok(())
    }

    /// What an organization does about profiles.
    pub fn profile_policy(&self, organization: &OrganizationId) -> ProfilePolicy {
        self.profile_state().read().policies.get(organization).cloned().unwrap_or_default()
    }

    /// The profiles (no extensions) that resources of an organization are checked
    /// against, or of every organization, as resource type and canonical URL, in order.
    pub fn profiles(&self, organization: Option<&OrganizationId>) -> Vec<(String, String)> {
        let registry = {
            let state = self.profile_state().read();
            organization.map_or_else(|| Arc::clone(&state.common), |of| state.registry(of))
        };
        let mut profiles: Vec<(String, String)> = registry
            .urls()
            .iter()
            .filter_map(|url| Some((registry.profile(url)?.type_name.clone(), url.clone())))
            .filter(|(type_name, _)| holdfast_fhir::type_code(type_name).is_some())
            .collect();
        profiles.sort();
        profiles
    }

    pub(crate) fn registry_of(&self, organization: &OrganizationId) -> Arc<Registry> {
        self.profile_state().read().registry(organization)
    }

    async fn note_setting(
        &self,
        ask: &Ask,
        organization: Option<&OrganizationId>,
        change: &str,
    ) -> Result<(), ExchangeError> {
        let event = Event::SettingChange {
            organization: organization.cloned(),
            setting: "profiles".into(),
            change: change.to_owned(),
        };
        let actor = ask.caller.actor();
        let entry = Entry { at: self.now(), actor, request: Some(ask.request), event };
        Ok(self.keeper().append(vec![entry]).await.map(drop)?)
    }
}
