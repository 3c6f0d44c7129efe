#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use holdfast_base::{Clock as _, ManualClock, OrganizationId, PrincipalId, Timestamp};
use holdfast_exchange::{
    Admission, Ask, Caller, Enrollment, Exchange, ExchangeConfig, Format, NewAccount,
    NewOrganization, Role, StoreLocation, totp,
};
use holdfast_keeper::KeeperConfig;
pub use holdfast_testkit_postgres::Postgres;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

/// The passphrase of every test keeper.
pub const PASSPHRASE: &str = "correct horse battery staple";
/// The address from which test people sign in.
pub const ADDRESS: &str = "192.0.2.7";

/// A whole exchange in a temporary folder.
pub struct TestExchange {
    /// The clock that everything goes by.
    pub clock: Arc<ManualClock>,
    exchange: Option<Arc<Exchange>>,
    enrolled: HashMap<String, (Role, Enrollment)>,
    folder: TempDir,
    keeper: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    /// Empty: the store lies in the folder.
    store_url: String,
}

impl TestExchange {
    /// Starts a keeper and an exchange with the sample community.
    ///
    /// # Panics
    /// When anything of it fails.
    pub async fn start() -> Self {
        Self::start_empty().await.with_community().await
    }

    /// As [`start`](Self::start), with its store in the database of this URL.
    ///
    /// # Panics
    /// When anything of it fails.
    pub async fn start_on(store_url: String) -> Self {
        Self::start_empty_on(store_url).await.with_community().await
    }

    async fn with_community(self) -> Self {
        let mut kit = self;
        let setter_up = kit.exchange().set_up(id("set-up:test")).expect("nobody is there yet");
        let community = holdfast_sample::community();
        // The first administrator, with the organization that runs the exchange; they
        // make everybody else.
        let first = community.administrator().clone();
        let set_up = Ask::new(setter_up);
        let home = community.organizations.iter().find(|o| o.id == first.organization);
        let home = facts(home.expect("the administrator's organization"));
        kit.exchange().create_organization(&set_up, home).await.expect("it is made");
        kit.enroll(&set_up, &first).await;
        let ask = Ask::new(kit.sign_in(first.login.as_str()).await);
        for (number, organization) in community.organizations.iter().enumerate() {
            kit.exchange()
                .create_organization(&ask, facts(organization))
                .await
                .expect("the organization is made");
            for (place, interface) in organization.interfaces.iter().enumerate() {
                let mut certificate = [number as u8; 32];
                certificate[0] = place as u8;
                let account = NewAccount {
                    id: interface.principal.clone(),
                    display_name: interface.principal.to_string(),
                    organization: organization.id.clone(),
                    role: Role::System,
                    npi: None,
                    certificate: Some(certificate),
                    patient: None,
                };
                kit.exchange().create_account(&ask, account).await.expect("the system is made");
            }
        }
        // One of each role: hashing forty passwords takes its time.
        let mut seen = std::collections::HashSet::new();
        seen.insert(first.role.as_str());
        for member in community.staff.iter().filter(|member| seen.insert(member.role.as_str())) {
            kit.enroll(&ask, member).await;
        }
        kit
    }

    /// Starts a keeper and an exchange without anybody.
    ///
    /// # Panics
    /// When anything of it fails.
    pub async fn start_empty() -> Self {
        Self::start_empty_on(String::new()).await
    }

    async fn start_empty_on(store_url: String) -> Self {
        let folder = tempfile::Builder::new().prefix("hf").tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("run")).expect("the run folder");
        holdfast_keeper::initialise(&folder.path().join("keeper"), PASSPHRASE.as_bytes())
            .expect("a root key");
        let at: Timestamp = "2026-01-05T09:00:00Z".parse().expect("a time");
        let mut kit = Self {
            clock: Arc::new(ManualClock::at(at)),
            exchange: None,
            enrolled: HashMap::new(),
            folder,
            keeper: None,
            store_url,
        };
        kit.start_keeper().await;
        kit.open().await;
        kit
    }

    /// Makes an account for a member of the sample community.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn enroll(&mut self, ask: &Ask, member: &holdfast_sample::Member) {
        let role = Role::from_name(member.role.as_str()).expect("a known role");
        let account = NewAccount {
            id: member.login.clone(),
            display_name: member.display(),
            organization: member.organization.clone(),
            role,
            npi: member.npi.clone(),
            certificate: None,
            patient: None,
        };
        let enrolled =
            self.exchange().create_account(ask, account).await.expect("the account is made");
        self.enrolled.insert(member.login.to_string(), (role, enrolled));
    }

    /// The exchange.
    ///
    /// # Panics
    /// When it is closed.
    pub fn exchange(&self) -> &Arc<Exchange> {
        self.exchange.as_ref().expect("the exchange is open")
    }

    /// The data folder.
    pub fn dir(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Signs in the first person with this role or this sign-in name.
    ///
    /// # Panics
    /// When there is none, or the exchange refuses.
    pub async fn sign_in(&self, role_or_name: &str) -> Caller {
        self.sign_in_for_token(role_or_name).await.1
    }

    /// As [`sign_in`](Self::sign_in), with the token.
    ///
    /// # Panics
    /// When there is none, or the exchange refuses.
    pub async fn sign_in_for_token(&self, role_or_name: &str) -> (String, Caller) {
        let mut fitting: Vec<_> = self
            .enrolled
            .values()
            .filter(|(role, enrolled)| {
                role.as_str() == role_or_name || enrolled.id.as_str() == role_or_name
            })
            .collect();
        fitting.sort_by(|a, b| a.1.id.cmp(&b.1.id));
        let (_, enrolled) = fitting.first().expect("somebody has this role");
        // A code works once.
        self.clock.advance_ms(30_000);
        let seconds = (self.clock.now().millis() / 1000) as u64;
        let code = totp::code(enrolled.totp_secret.expose(), seconds).expect("a code");
        let signed_in = self
            .exchange()
            .sign_in(enrolled.id.as_str(), &enrolled.password, &code, Some(ADDRESS))
            .await
            .expect("signed in");
        (signed_in.token.into_exposed(), signed_in.caller)
    }

    /// The caller of a system of the sample community, such as `hl7v2@lakeside-family`.
    ///
    /// # Panics
    /// When there is none.
    pub async fn system(&self, principal: &str) -> Caller {
        let community = holdfast_sample::community();
        for (number, organization) in community.organizations.iter().enumerate() {
            for (place, interface) in organization.interfaces.iter().enumerate() {
                if interface.principal.as_str() == principal {
                    let mut certificate = [number as u8; 32];
                    certificate[0] = place as u8;
                    let caller =
                        self.exchange().authenticate_system(&certificate, Some(ADDRESS)).await;
                    return caller.expect("the system is known");
                }
            }
        }
        panic!("no system is called {principal}");
    }

    /// Sends a payload as `principal` for the organization that it belongs to.
    ///
    /// # Panics
    /// When it is not kept.
    pub async fn send(&self, principal: &str, format: Format, payload: &[u8]) -> Admission {
        let caller = self.system(principal).await;
        let organization = caller.organization().clone();
        let admitted =
            self.exchange().admit(&Ask::new(caller), &organization, format, payload).await;
        admitted.expect("the payload is kept")
    }

    /// Sends the sample stream; gives its items with what became of each.
    ///
    /// # Panics
    /// When one is not kept.
    pub async fn send_stream(
        &self,
        options: &holdfast_sample::Options,
    ) -> Vec<(holdfast_sample::Item, Admission)> {
        let mut sent = Vec::new();
        for item in holdfast_sample::stream(options).items {
            let format = match item.channel {
                holdfast_sample::Channel::Hl7v2 => Format::Hl7v2,
                holdfast_sample::Channel::Ccda => Format::Ccda,
                holdfast_sample::Channel::Fhir => Format::Fhir,
            };
            let admission = self.send(item.interface.as_str(), format, &item.bytes).await;
            sent.push((item, admission));
        }
        sent
    }

    /// Starts the keeper.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_keeper(&mut self) {
        let dir = self.folder.path().join("keeper");
        let config = KeeperConfig::new(dir, self.socket(), "holdfast/ledger");
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, listening) = oneshot::channel::<()>();
        let clock = Arc::clone(&self.clock);
        let handle = tokio::spawn(async move {
            let secret = Zeroizing::new(PASSPHRASE.as_bytes().to_vec());
            let ran = holdfast_keeper::run(
                config,
                secret,
                clock,
                async move { drop(stopped.await) },
                move || {
                    let _ = ready.send(());
                },
            );
            ran.await.expect("the keeper runs");
        });
        listening.await.expect("the keeper listens");
        self.keeper = Some((stop, handle));
    }

    /// Takes the keeper away.
    ///
    /// # Panics
    /// When it ends badly.
    pub async fn stop_keeper(&mut self) {
        if let Some((stop, handle)) = self.keeper.take() {
            let _ = stop.send(());
            handle.await.expect("the keeper ends well");
        }
    }

    /// Closes the exchange and opens it again over the same folder.
    ///
    /// # Panics
    /// When it does not open.
    pub async fn reopen(&mut self) {
        drop(self.exchange.take());
        self.open().await;
    }

    /// Closes the exchange; its folder stays until the kit is dropped.
    pub fn close(&mut self) {
        drop(self.exchange.take());
    }

    async fn open(&mut self) {
        let config = ExchangeConfig {
            store: StoreLocation::parse(&self.store_url, &self.folder.path().join("store"))
                .expect("a place for the store"),
            keeper: self.socket().into(),
        };
        let clock = Arc::clone(&self.clock);
        self.exchange = Some(Exchange::open(&config, clock).await.expect("the exchange opens"));
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run").join("keeper.sock")
    }
}

/// A principal.
///
/// # Panics
/// When `text` is no name for one.
pub fn id(text: &str) -> PrincipalId {
    PrincipalId::new(text).expect("a valid name")
}

/// An organization.
///
/// # Panics
/// When `text` is no name for one.
pub fn organization(text: &str) -> OrganizationId {
    OrganizationId::new(text).expect("a valid name")
}

fn facts(organization: &holdfast_sample::Organization) -> NewOrganization {
    serde_json::from_value(organization.settings()).expect("settings of an organization")
}
