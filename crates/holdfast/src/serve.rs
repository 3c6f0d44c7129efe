//! `holdfast serve` and `holdfast keeper`.

use std::path::Path;
use std::sync::Arc;

use holdfast_exchange::Exchange;
use holdfast_keeper::{KeeperConfig, StartError, TcpListen};
use holdfast_server::{Bound, Doors, ServeError, ServerIdentity};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::cosigning::Cosigning;
use crate::failure::{Failure, chain};
use crate::tls::Authority;
use crate::wiring::{self, Folder, KeeperProcess, SystemClock};

/// Name of the log in its checkpoints.
pub const ORIGIN: &str = "holdfast/ledger";

/// Serves the exchange in `dir` until it is told to stop.
///
/// # Errors
/// One sentence about what keeps it from serving.
pub async fn serve(dir: &Path, store: Option<String>) -> Result<(), Failure> {
    let folder = Folder::at(dir);
    if !folder.is_a_servers() {
        return Err(Failure::new(format!(
            "{} is no data folder; `holdfast init --dir {0}` makes one",
            dir.display()
        )));
    }
    let mut config = Config::read(dir)?;
    if let Some(url) = store {
        config.store_url = url.into();
    }
    wiring::start_logging(&config);
    let keeper = if config.start_keeper {
        Some(KeeperProcess::start(&folder, wiring::passphrase(&config)?).await?)
    } else {
        None
    };
    let exchange = wiring::open_exchange(&folder, &config).await?;
    let announce = |bound: &Bound| {
        eprintln!(
            "serving {} (console, FHIR) and {} (HL7 v2); Ctrl-C stops",
            bound.https, bound.mllp
        );
    };
    let served = run_doors(&exchange, &folder, &config, announce, stop_signal()).await;
    drop(exchange);
    if let Some(keeper) = keeper {
        keeper.stop().await;
    }
    served
}

/// Opens the doors of an exchange until `stop`.
///
/// # Errors
/// When a port is in use or a certificate cannot be made.
pub async fn run_doors(
    exchange: &Arc<Exchange>,
    folder: &Folder,
    config: &Config,
    ready: impl FnOnce(&Bound) + Send,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Failure> {
    wiring::install_tls_provider();
    let authority = Authority::of(exchange, folder.path()).await?;
    let identity = authority.server(exchange, &config.name).await?;
    let background = exchange.start_background();
    let cosigning = match &config.ledger_policy {
        Some(path) => {
            let minutes = config.witness_alert_minutes;
            let cosigning = Cosigning::of(path, minutes, exchange).await?;
            Some(tokio::spawn(cosigning.run(Arc::clone(exchange), Arc::new(SystemClock))))
        }
        None => None,
    };
    // Notifications name resources by the URL at which the doors are reached.
    let (tell, told) = tokio::sync::oneshot::channel();
    let sender = Arc::clone(exchange);
    let notifying = tokio::spawn(async move {
        if let Ok(base_url) = told.await {
            crate::subscriptions::keep_notifying(sender, base_url).await;
        }
    });
    let name = config.name.clone();
    let ready = move |bound: &Bound| {
        let _ = tell.send(holdfast_server::base_url(&name, bound.https));
        ready(bound);
    };
    let doors = Doors {
        https: config.https,
        mllp: config.mllp,
        http: config.http,
        name: config.name.clone(),
    };
    let identity = ServerIdentity {
        certificate_pem: identity.certificate_pem,
        key_pem: identity.key_pem,
        client_authority_pem: authority.certificate_pem().to_owned(),
        issuer: Some(Arc::new(authority)),
    };
    let served = holdfast_server::serve(
        Arc::clone(exchange),
        doors,
        identity,
        Arc::new(SystemClock),
        ready,
        stop,
    )
    .await;
    for task in [Some(background), Some(notifying), cosigning].into_iter().flatten() {
        task.abort();
        let _ = task.await;
    }
    exchange.put_keys_away().await;
    served.map_err(|error| match error {
        ServeError::Bind { what, address, .. } => Failure::new(format!(
            "cannot listen on {address} for {what}: the port is in use or not allowed; set another in \
             holdfast.toml"
        )),
        other => Failure::new(chain(&other)),
    })
}

/// Ctrl-C, or the signal that service managers send.
pub async fn stop_signal() {
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    match terminate {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

/// Runs the keeper of `dir` until it is told to stop. With `from_stdin` the
/// passphrase is the first line of standard input, and the end of standard input
/// is the end of the keeper.
///
/// # Errors
/// One sentence about what keeps it from running.
pub async fn keeper(dir: &Path, from_stdin: bool) -> Result<(), Failure> {
    let folder = Folder::at(dir);
    let config = Config::read(dir)?;
    wiring::start_logging(&config);
    let mut stdin = BufReader::new(tokio::io::stdin());
    let passphrase = if from_stdin {
        let mut line = Zeroizing::new(String::new());
        let _ = stdin.read_line(&mut line).await;
        Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned())
    } else {
        wiring::passphrase(&config)?
    };
    let secret = Zeroizing::new(passphrase.as_bytes().to_vec());
    drop(passphrase);
    let tcp = match config.keeper.listen {
        Some(address) => Some(TcpListen { address, identity: config.keeper.identity()? }),
        None => None,
    };
    let socket = config.keeper.socket(folder.socket())?;
    let keeper = KeeperConfig {
        front_uid: config.keeper.front_uid,
        tcp,
        due: config.rotation_due,
        ..KeeperConfig::new(folder.keeper(), socket, ORIGIN)
    };
    let ready = move || {
        println!("ready");
        if !from_stdin {
            eprintln!("the keeper listens; Ctrl-C stops it");
        }
    };
    // A keeper that somebody started waits for them and not for signals, so that
    // the last entries of the doors still reach the ledger.
    let stop = async move {
        if !from_stdin {
            return stop_signal().await;
        }
        let mut rest = String::new();
        while matches!(stdin.read_line(&mut rest).await, Ok(read) if read > 0) {
            rest.clear();
        }
    };
    holdfast_keeper::run(keeper, secret, Arc::new(SystemClock), stop, ready).await.map_err(
        |error| match error {
            StartError::WrongPassphrase => {
                Failure::new("the passphrase is wrong: the root key does not open with it")
            }
            other => Failure::new(chain(&other)),
        },
    )
}
