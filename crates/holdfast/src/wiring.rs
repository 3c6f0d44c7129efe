//! Putting the rooms together: the clock, the keeper's process, the exchange, the
//! doors. The only place where the time of day is read.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::{Clock, Timestamp, disk};
use holdfast_exchange::{Exchange, ExchangeConfig, ExchangeError, KeeperAddress, StoreLocation};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use crate::config::{self, Config};
use crate::failure::{Failure, chain};

/// Longest wait for the keeper to listen: it derives its key with Argon2id and
/// reads its ledger.
const KEEPER_READY_TIMEOUT: Duration = Duration::from_secs(120);

/// The settings while they are being written.
pub const UNFINISHED: &str = "holdfast.toml.draft";

/// The system's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp::from_millis(
            since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

/// A data folder and what lies where in it.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`.
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The keeper's part.
    pub fn keeper(&self) -> PathBuf {
        self.0.join("keeper")
    }

    /// The ledger, which is public in what it proves and sealed in what it says.
    pub fn ledger(&self) -> PathBuf {
        self.keeper().join("ledger")
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// The keeper's socket.
    pub fn socket(&self) -> PathBuf {
        self.0.join("run").join("keeper.sock")
    }

    /// Whether it is a data folder of ours.
    pub fn is_ours(&self) -> bool {
        self.0.join(config::FILE_NAME).is_file() && self.keeper().is_dir()
    }

    /// Whether it is the data folder of a server; its keeper may be elsewhere.
    pub fn is_a_servers(&self) -> bool {
        self.0.join(config::FILE_NAME).is_file()
    }

    /// Makes a new data folder whose root key opens with `passphrase`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn initialise(&self, passphrase: &str, settings: &[(&str, String)]) -> Result<(), Failure> {
        for folder in [self.0.clone(), self.0.join("run")] {
            disk::make_folder(&folder).map_err(|error| Failure::io("create", &folder, &error))?;
        }
        holdfast_keeper::initialise(&self.keeper(), passphrase.as_bytes()).map_err(|error| {
            Failure::new(format!("cannot make the root key: {}", chain(&error)))
        })?;
        // Last, and whole: a folder with it is a data folder.
        let path = self.0.join(config::FILE_NAME);
        disk::write_file(&path, config::documented(settings).as_bytes(), false)
            .map_err(|error| Failure::io("write", &path, &error))
    }
}

/// A keeper that runs as a process of its own for as long as this lives. It ends
/// when its standard input closes, so it never outlives who started it.
pub struct KeeperProcess {
    child: Child,
}

impl KeeperProcess {
    /// Starts this very program as keeper and waits until it listens.
    ///
    /// # Errors
    /// What the keeper says is wrong: a wrong passphrase, a damaged ledger.
    pub async fn start(folder: &Folder, passphrase: Zeroizing<String>) -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::new(format!("cannot find this program: {error}")))?;
        let mut child = Command::new(program)
            .arg("keeper")
            .arg("--dir")
            .arg(folder.path())
            .arg("--passphrase-stdin")
            .env_remove("HOLDFAST_PASSPHRASE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::new(format!("cannot start the keeper: {error}")))?;
        if let Some(stdin) = &mut child.stdin {
            let line = Zeroizing::new(format!("{}\n", passphrase.as_str()));
            let _ = stdin.write_all(line.as_bytes()).await;
            let _ = stdin.flush().await;
        }
        let stdout = child.stdout.take().ok_or(Failure::new("the keeper has no output"))?;
        let mut line = String::new();
        let mut reader = BufReader::new(stdout);
        let waited = tokio::time::timeout(KEEPER_READY_TIMEOUT, reader.read_line(&mut line)).await;
        if line.trim() == "ready" {
            if let Some(stderr) = child.stderr.take() {
                tokio::spawn(pass_on(stderr));
            }
            return Ok(Self { child });
        }
        let mut told = String::new();
        if let (Ok(_), Some(mut stderr)) = (waited, child.stderr.take()) {
            let _ = stderr.read_to_string(&mut told).await;
        }
        let _ = child.kill().await;
        let told = told.trim().trim_start_matches("holdfast: ").to_owned();
        Err(Failure::new(if told.is_empty() { "the keeper did not start".into() } else { told }))
    }

    /// Lets the keeper finish and waits for it.
    pub async fn stop(mut self) {
        drop(self.child.stdin.take());
        if tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// The keeper's log lines, unchanged.
async fn pass_on(stderr: tokio::process::ChildStderr) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        eprintln!("{line}");
    }
}

/// The passphrase: from the file, the variable or the terminal, in this order.
///
/// # Errors
/// When none of them gives one.
pub fn passphrase(config: &Config) -> Result<Zeroizing<String>, Failure> {
    if let Some(path) = &config.passphrase_file {
        let text = std::fs::read_to_string(path).map_err(|e| Failure::io("read", path, &e))?;
        return Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    if let Ok(text) = std::env::var("HOLDFAST_PASSPHRASE") {
        return Ok(Zeroizing::new(text));
    }
    rpassword::prompt_password("Passphrase of the root key: ").map(Zeroizing::new).map_err(|_| {
        Failure::new(
            "no passphrase: set keeper.passphrase-file or HOLDFAST_PASSPHRASE, or use a terminal",
        )
    })
}

/// Where the store of a folder lies: in it, or in the database that a setting names.
///
/// # Errors
/// One sentence about a wrong setting, which repeats nothing of it.
pub fn store_location(folder: &Folder, config: &Config) -> Result<StoreLocation, Failure> {
    StoreLocation::parse(config.store_url.expose(), &folder.store())
        .map_err(|error| Failure::new(format!("store.url: {}", chain(&error))))
}

/// Opens the exchange of a folder whose keeper is listening.
///
/// # Errors
/// One sentence about what is wrong with the store or the keeper.
pub async fn open_exchange(folder: &Folder, config: &Config) -> Result<Arc<Exchange>, Failure> {
    let (store, keeper) = (store_location(folder, config)?, keeper_address(folder, config)?);
    let config = ExchangeConfig { store, keeper };
    Exchange::open(&config, Arc::new(SystemClock)).await.map_err(|error| match &error {
        ExchangeError::LostCommits { .. } => {
            Failure::new(format!("refusing to serve: {}", chain(&error)))
        }
        _ => Failure::new(chain(&error)),
    })
}

/// Where the keeper of a folder is.
///
/// # Errors
/// When the settings do not say it, or their certificates cannot be read.
pub fn keeper_address(folder: &Folder, config: &Config) -> Result<KeeperAddress, Failure> {
    match config.keeper.tcp() {
        Some(address) => {
            let identity = config.keeper.identity()?;
            Ok(KeeperAddress::Tcp { address: address.to_owned(), identity })
        }
        None => {
            let socket = config.keeper.socket(folder.socket())?;
            Ok(KeeperAddress::Unix { socket, keeper_uid: config.keeper.uid })
        }
    }
}

/// rustls needs to know its cryptography; idempotent.
pub fn install_tls_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Logging as configured: messages for people, fields for machines, to standard
/// error.
pub fn start_logging(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::new(&config.log_level);
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr);
    let _ = if config.log_json { builder.json().try_init() } else { builder.try_init() };
}
