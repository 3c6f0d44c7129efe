//! The exchange as a value: the rooms it holds, opened together or not at all.

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_base::{Clock, OrganizationId, PrincipalId, Timestamp};
use holdfast_keeper::{KeeperAddress, KeeperClient, SystemKey, TokenKey};
use holdfast_ledger::{Actor, Entry, Event};
use holdfast_policy::{Task, decide_task};
use holdfast_store::{Committed, Store, StoreLocation, Transaction};
use parking_lot::{Mutex, RwLock};

use crate::directory::Directory;
use crate::disclose::OpenRows;
use crate::keyring::Keyring;
use crate::people::{Account, Organization, Sessions};
use crate::privacy::Office;
use crate::system::{self, Kind};
use crate::{Ask, Caller, ExchangeError};

/// How many patients (by their first identifier) can be written at once without
/// waiting for each other.
const WRITE_LANES: usize = 64;

/// Where the exchange finds its rooms.
#[derive(Debug, Clone)]
pub struct ExchangeConfig {
    /// Where the sealed store lies.
    pub store: StoreLocation,
    /// Where the keeper is.
    pub keeper: KeeperAddress,
}

/// The one path to a record. Cheap to clone behind its [`Arc`].
pub struct Exchange {
    store: Arc<Store>,
    keeper: KeeperClient,
    clock: Arc<dyn Clock>,
    system: SystemKey,
    features_key: SystemKey,
    tokens: TokenKey,
    organizations: RwLock<HashMap<OrganizationId, Arc<Organization>>>,
    organizations_lock: tokio::sync::Mutex<()>,
    accounts: RwLock<HashMap<PrincipalId, Account>>,
    directory: RwLock<Directory>,
    sessions: Sessions,
    keyring: Keyring,
    open_rows: OpenRows,
    office: Office,
    lanes: Vec<tokio::sync::Mutex<()>>,
    upkeep: tokio::sync::Mutex<()>,
    building_waits: Mutex<Timestamp>,
    in_work: Mutex<std::collections::HashSet<holdfast_base::MessageId>>,
    durable: crate::durable::Durable,
    desk: crate::bulk::Desk,
    subscribers: crate::subscribe::Subscribers,
    profiles: RwLock<crate::profiles::Profiles>,
}

impl Exchange {
    /// Opens the store, fetches the service keys from the keeper and loads the
    /// directory. Refuses to open a store that lacks what the ledger acknowledged.
    ///
    /// # Errors
    /// [`ExchangeError::KeeperAway`] when no keeper answers,
    /// [`ExchangeError::LostCommits`] when the store is not whole,
    /// [`ExchangeError::Damaged`] when a row does not open.
    pub async fn open(
        config: &ExchangeConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, ExchangeError> {
        let location = config.store.clone();
        let store = tokio::task::spawn_blocking(move || Store::open_at(&location))
            .await
            .map_err(|_| ExchangeError::Internal("the store's thread ended"))?
            .map(Arc::new)
            .map_err(ExchangeError::store)?;
        let keeper = KeeperClient::new(config.keeper.clone());
        let mut keys = keeper.service_keys("start").await?;
        check_whole(&store, &keeper).await?;

        let mut organizations = HashMap::new();
        for row in system::load_all::<crate::people::OrganizationRow>(
            &store,
            &keys.system,
            Kind::Organization,
        )? {
            let id = row.facts.id.clone();
            let own = keys.organizations.remove(&id);
            let keys = own.ok_or(ExchangeError::Internal("the keeper lacks an organization"))?;
            let organization = Organization {
                ordinal: row.ordinal,
                facts: row.facts,
                keys,
                suspended: row.suspended,
            };
            organizations.insert(id, Arc::new(organization));
        }
        let mut accounts: Vec<Account> = system::load_all(&store, &keys.system, Kind::Account)?;
        accounts.retain(|account| account.enrolled);
        let (features_key, tokens) = keys.mpi;
        let directory = Directory::load(&store, &features_key)?;
        let office = Office::load(&store, &keys.system)?;
        let subscribers = crate::subscribe::Subscribers::load(&store, &keys.system)?;
        {
            // Whoever serves all patients is not held to a relationship with each.
            let mut watch = office.watch.lock();
            watch.set_role(server_actor().principal, "system");
            for account in &accounts {
                watch.set_role(account.id.clone(), account.role.as_str());
            }
        }

        let profiles = crate::profiles::Profiles::load(&store, &keys.system)?;
        let exchange = Arc::new(Self {
            profiles,
            store,
            keeper,
            clock,
            system: keys.system,
            features_key,
            tokens,
            organizations: RwLock::new(organizations),
            organizations_lock: tokio::sync::Mutex::default(),
            accounts: RwLock::new(accounts.into_iter().map(|a| (a.id.clone(), a)).collect()),
            directory: RwLock::new(directory),
            sessions: Sessions::default(),
            keyring: Keyring::default(),
            open_rows: OpenRows::default(),
            office,
            lanes: (0..WRITE_LANES).map(|_| tokio::sync::Mutex::default()).collect(),
            upkeep: tokio::sync::Mutex::default(),
            building_waits: Mutex::new(Timestamp::MIN),
            in_work: Mutex::default(),
            durable: crate::durable::Durable::default(),
            subscribers,
            desk: crate::bulk::Desk::at(config.store.dir().with_file_name("bulk")),
        });
        exchange.move_secrets().await?;
        exchange.settle_intents().await?;
        for organization in exchange.organizations() {
            exchange.start_population(&organization).await?;
        }
        Ok(exchange)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub(crate) fn keeper(&self) -> &KeeperClient {
        &self.keeper
    }

    pub(crate) fn system(&self) -> &SystemKey {
        &self.system
    }

    pub(crate) fn features_key(&self) -> &SystemKey {
        &self.features_key
    }

    /// Tokens that compare across organizations.
    pub(crate) fn tokens(&self) -> &TokenKey {
        &self.tokens
    }

    pub(crate) fn directory(&self) -> &RwLock<Directory> {
        &self.directory
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub(crate) fn open_rows(&self) -> &OpenRows {
        &self.open_rows
    }

    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    pub(crate) fn office(&self) -> &Office {
        &self.office
    }

    /// Held by whoever looks after the population indexes.
    pub(crate) fn upkeep(&self) -> &tokio::sync::Mutex<()> {
        &self.upkeep
    }

    /// Until when building a population index waits for budget.
    pub(crate) fn building_waits(&self) -> &Mutex<Timestamp> {
        &self.building_waits
    }

    pub(crate) fn in_work(&self) -> &Mutex<std::collections::HashSet<holdfast_base::MessageId>> {
        &self.in_work
    }

    pub(crate) fn subscribers(&self) -> &crate::subscribe::Subscribers {
        &self.subscribers
    }

    pub(crate) fn desk(&self) -> &crate::bulk::Desk {
        &self.desk
    }

    pub(crate) fn profile_state(&self) -> &RwLock<crate::profiles::Profiles> {
        &self.profiles
    }

    pub(crate) fn durable(&self) -> &crate::durable::Durable {
        &self.durable
    }

    /// Waits for the lane of `token`, so that what concerns one patient is
    /// written one after the other.
    pub(crate) async fn lane(&self, token: &[u8]) -> tokio::sync::MutexGuard<'_, ()> {
        self.numbered_lane(self.lane_number(token)).await
    }

    /// The number of the lane of `token`. Who takes several takes them in order.
    pub(crate) fn lane_number(&self, token: &[u8]) -> usize {
        let lane = token.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31) + *byte as usize);
        lane % WRITE_LANES
    }

    /// Waits for a lane by its number.
    pub(crate) async fn numbered_lane(&self, lane: usize) -> tokio::sync::MutexGuard<'_, ()> {
        self.lanes[lane % WRITE_LANES].lock().await
    }

    pub(crate) async fn organizations_lock(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.organizations_lock.lock().await
    }

    pub(crate) fn organization(
        &self,
        id: &OrganizationId,
    ) -> Result<Arc<Organization>, ExchangeError> {
        let known = self.organizations.read().get(id).cloned();
        known.ok_or_else(|| ExchangeError::NoOrganization(id.clone()))
    }

    pub(crate) fn organization_at(&self, ordinal: u32) -> Option<Arc<Organization>> {
        self.organizations.read().values().find(|o| o.ordinal == ordinal).cloned()
    }

    pub(crate) fn organizations(&self) -> Vec<Arc<Organization>> {
        self.organizations.read().values().cloned().collect()
    }

    pub(crate) fn insert_organization(&self, organization: Arc<Organization>) {
        self.organizations.write().insert(organization.id().clone(), organization);
    }

    pub(crate) fn account(&self, id: &PrincipalId) -> Option<Account> {
        self.accounts.read().get(id).cloned()
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = Account> {
        let all: Vec<Account> = self.accounts.read().values().cloned().collect();
        all.into_iter()
    }

    pub(crate) fn replace_account(&self, account: Account) {
        self.accounts.write().insert(account.id.clone(), account);
    }

    pub(crate) fn refuse_suspended(&self, caller: &Caller) -> Result<(), ExchangeError> {
        self.refuse_damaged()?;
        let account = self.account(caller.id());
        let suspended = account.is_some_and(|a| a.suspended.is_some() || a.closed)
            || self.is_suspended(caller.organization());
        if suspended { Err(ExchangeError::Suspended) } else { Ok(()) }
    }

    /// Whether nobody of this organization may do anything.
    pub(crate) fn is_suspended(&self, organization: &OrganizationId) -> bool {
        self.organization(organization).is_ok_and(|of| of.suspended.is_some())
    }

    /// Commits off the async threads; durable on return.
    pub(crate) async fn commit(&self, tx: Transaction) -> Result<Committed, ExchangeError> {
        let store = Arc::clone(&self.store);
        let patients = tx.puts.iter().map(|(key, _)| key.patient).collect();
        let _writing = self.open_rows.writing(patients);
        tokio::task::spawn_blocking(move || store.commit(tx))
            .await
            .map_err(|_| ExchangeError::Internal("the store's thread ended"))?
            .map_err(|error| match error {
                holdfast_store::CommitError::Precondition { .. } => ExchangeError::Conflict,
                other => ExchangeError::store(other),
            })
    }

    /// Refuses whoever may not do `task`, with an entry in the ledger.
    pub(crate) async fn require_task(&self, ask: &Ask, task: Task) -> Result<(), ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let Err(refusal) = decide_task(&ask.caller.principal, task) else { return Ok(()) };
        self.append_refusal(ask.caller.actor(), task.as_str(), refusal.reason).await?;
        Err(ExchangeError::NotPermitted { reason: refusal.reason })
    }

    pub(crate) async fn append_refusal(
        &self,
        actor: Actor,
        door: &str,
        reason: &str,
    ) -> Result<(), ExchangeError> {
        let event = Event::Refusal {
            door: door.into(),
            reason: reason.into(),
            patient: None,
            organization: None,
        };
        let entry = Entry { at: self.now(), actor, request: None, event };
        Ok(self.keeper.append(vec![entry]).await.map(drop)?)
    }

    /// The actor of what nobody signed in for.
    pub(crate) fn nobody(&self, address: Option<&str>) -> Actor {
        Actor { address: address.map(str::to_owned), ..actor_named("nobody") }
    }
}

/// The exchange itself as an actor: starts, recoveries, the machine's responses.
pub(crate) fn server_actor() -> Actor {
    actor_named("system:exchange")
}

fn actor_named(name: &'static str) -> Actor {
    let principal =
        PrincipalId::new(name).unwrap_or_else(|_| unreachable!("{name} is a valid name"));
    Actor { principal, session: None, organization: None, address: None }
}

/// P14: what the ledger saw committed must be in the store, with the same chain.
async fn check_whole(store: &Store, keeper: &KeeperClient) -> Result<(), ExchangeError> {
    let Some((seen, chain)) = keeper.last_store_commit().await? else { return Ok(()) };
    let present = store.chain_at(seen).map(|hash| data_encoding::HEXLOWER.encode(&hash));
    if present.as_deref() == Some(chain.as_str()) {
        return Ok(());
    }
    Err(ExchangeError::LostCommits { store: store.last_commit().0.0, ledger: seen.0 })
}
