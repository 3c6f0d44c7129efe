//! `holdfast witness`: a witness of other people's ledgers, and the small server that
//! it answers at. It needs no TLS: checkpoints are public and cosignatures prove
//! themselves.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use holdfast_base::Clock as _;
use holdfast_ledger::witness::{self, NotCosigned, SUBMISSION_BYTES_MAX, Witness};

use crate::cli::WitnessTask;
use crate::commands::read_policy;
use crate::failure::{Failure, chain};
use crate::serve::stop_signal;
use crate::wiring::SystemClock;

/// Does what the command line says.
///
/// # Errors
/// One sentence about what keeps it from being done.
pub async fn run(task: WitnessTask) -> Result<(), Failure> {
    match task {
        WitnessTask::Init { dir, name, logs } => {
            let policies =
                logs.iter().map(|path| read_policy(path)).collect::<Result<Vec<_>, _>>()?;
            witness::init(&dir, &name, &policies).map_err(|error| Failure::new(chain(&error)))?;
            println!("{} is a witness of {} log(s).", dir.display(), policies.len());
            print_keys(&open(&dir)?, "http://WHERE-IT-LISTENS");
            Ok(())
        }
        WitnessTask::Key { dir } => {
            print_keys(&open(&dir)?, "http://WHERE-IT-LISTENS");
            Ok(())
        }
        WitnessTask::Run { dir, listen } => serve(&dir, listen).await,
    }
}

fn open(dir: &Path) -> Result<Witness, Failure> {
    Witness::open(dir).map_err(|error| Failure::new(chain(&error)))
}

fn print_keys(witness: &Witness, url: &str) {
    println!("What the policy of a log or of a verifier says to trust it:\n");
    print!("{}", witness.policy_lines(url));
}

async fn serve(dir: &Path, listen: SocketAddr) -> Result<(), Failure> {
    let witness = Arc::new(open(dir)?);
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(|_| {
        Failure::new(format!("cannot listen on {listen}: the port is in use or not allowed"))
    })?;
    let at = listener.local_addr().map_err(|error| Failure::new(error.to_string()))?;
    for (origin, size) in witness.logs() {
        match size {
            Some(size) => eprintln!("{origin}: cosigned up to {size} entries"),
            None => eprintln!("{origin}: not seen yet"),
        }
    }
    println!("witness listens at http://{at}; Ctrl-C stops");
    axum::serve(listener, router(witness))
        .with_graceful_shutdown(stop_signal())
        .await
        .map_err(|error| Failure::new(error.to_string()))
}

fn router(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/healthz", get(async || "ok"))
        .layer(DefaultBodyLimit::max(SUBMISSION_BYTES_MAX))
        .with_state(witness)
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Bytes) -> Response {
    let seconds = u64::try_from(SystemClock.now().millis() / 1000).unwrap_or_default();
    let asked = tokio::task::spawn_blocking(move || witness.add_checkpoint(&body, seconds)).await;
    let refused = match asked {
        Ok(Ok(lines)) => {
            return ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], lines).into_response();
        }
        Ok(Err(refused)) => refused,
        Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::BAD_REQUEST);
    match refused {
        NotCosigned::Stale { size } => {
            (status, [(header::CONTENT_TYPE, "text/x.tlog.size")], format!("{size}\n"))
                .into_response()
        }
        NotCosigned::Forked { size } => {
            eprintln!("holdfast: CONFLICT: {refused}; the other checkpoint is kept in conflicts/");
            (status, [(header::CONTENT_TYPE, "text/x.tlog.size")], format!("{size}\n"))
                .into_response()
        }
        other => {
            if matches!(other, NotCosigned::Inconsistent | NotCosigned::Io(_)) {
                eprintln!("holdfast: not cosigned: {other}");
            }
            (status, format!("{other}\n")).into_response()
        }
    }
}
