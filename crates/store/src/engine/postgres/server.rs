//! Connections to one PostgreSQL: a pool that reads, one session that writes, and
//! the runtime that both run on.
//!
//! The store's calls block, also on threads of another asynchronous runtime. So
//! this engine has threads of its own, and a caller waits on a channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod,
    Runtime,
};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use super::address::PostgresAddress;
use super::sql;
use crate::engine::EngineError;

/// Reads that run at once. Each is short; more would only queue in the server.
const READERS_MAX: usize = 16;
/// Threads that move bytes between sockets and callers.
const THREADS: usize = 2;
/// How long a read waits for a free connection.
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(10);
/// A statement that takes longer is given up, with its connection.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// Oldest PostgreSQL that is taken.
const VERSION_MIN: i32 = 150_000;

/// What must be true of a database whenever it is connected to.
#[derive(Default)]
pub(super) struct Expected {
    /// The batch that was acknowledged last.
    pub(super) batch: AtomicI64,
    /// The number of this server's turn; 0 before it has one.
    pub(super) epoch: AtomicI64,
}

/// The connections.
pub(super) struct Server {
    runtime: Option<tokio::runtime::Runtime>,
    pool: Pool,
    address: PostgresAddress,
    pub(super) expected: Arc<Expected>,
}

impl Server {
    pub(super) fn new(address: PostgresAddress) -> Result<Self, EngineError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("store-postgres")
            .enable_all()
            .build()
            .map_err(EngineError::new)?;
        let mut config = tokio_postgres::Config::clone(&address.config);
        config.application_name("holdfast");
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match address.tls.clone() {
            Some(tls) => Manager::from_config(config, tls, fast),
            None => Manager::from_config(config, NoTls, fast),
        };
        let expected: Arc<Expected> = Arc::default();
        let hooked = Arc::clone(&expected);
        let pool = Pool::builder(manager)
            .max_size(READERS_MAX)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CHECKOUT_TIMEOUT))
            .create_timeout(Some(CHECKOUT_TIMEOUT))
            .post_create(Hook::async_fn(move |client: &mut ClientWrapper, _| {
                let expected = Arc::clone(&hooked);
                Box::pin(async move {
                    let fit = fit_for_reading(client, &expected).await;
                    fit.map_err(|unfit| HookError::message(unfit.to_string()))
                })
            }))
            .build()
            .map_err(EngineError::new)?;
        Ok(Self { runtime: Some(runtime), pool, address, expected })
    }

    pub(super) fn address(&self) -> &PostgresAddress {
        &self.address
    }

    /// Runs `work` on this engine's own threads and waits for it.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        let ended = || EngineError::new("the engine's threads have ended");
        let runtime = self.runtime.as_ref().ok_or_else(ended)?;
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        runtime.spawn(async move {
            let _gone = answer.send(work.await);
        });
        answered.recv().map_err(|_| ended())?
    }

    /// Runs a read with a connection of the pool. A connection that had broken
    /// unnoticed, as after a restart of the database, is replaced once.
    pub(super) fn read<T, F, W>(&self, work: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: Fn(deadpool_postgres::Object) -> W + Send + 'static,
        W: Future<Output = (deadpool_postgres::Object, Result<T, tokio_postgres::Error>)>
            + Send
            + 'static,
    {
        let pool = self.pool.clone();
        self.wait(async move {
            let mut failed = None;
            for _ in 0..=READERS_MAX {
                let client = pool.get().await.map_err(checkout_failure)?;
                match tokio::time::timeout(STATEMENT_TIMEOUT, work(client)).await {
                    Ok((_, Ok(found))) => return Ok(found),
                    Ok((client, Err(error))) if client.is_closed() || ends_session(&error) => {
                        drop(deadpool_postgres::Object::take(client));
                        failed = Some(failure(&error));
                    }
                    Ok((_, Err(error))) => return Err(failure(&error)),
                    Err(_) => return Err(EngineError::away("the database did not answer in time")),
                }
            }
            Err(failed.unwrap_or_else(|| EngineError::away("the database is away")))
        })
    }

    /// Opens a session beside the pool, fit for writing.
    pub(super) async fn connect(
        address: &PostgresAddress,
        application: &str,
    ) -> Result<ClientWrapper, EngineError> {
        let mut config = tokio_postgres::Config::clone(&address.config);
        config.application_name(application);
        let (client, task) = match address.tls.clone() {
            Some(tls) => {
                let (client, connection) =
                    config.connect(tls).await.map_err(|error| failure(&error))?;
                (client, tokio::spawn(async move { drop(connection.await) }))
            }
            None => {
                let (client, connection) =
                    config.connect(NoTls).await.map_err(|error| failure(&error))?;
                (client, tokio::spawn(async move { drop(connection.await) }))
            }
        };
        let client = ClientWrapper::new(client, task);
        fit(&client).await?;
        client.batch_execute(sql::SESSION).await.map_err(|error| failure(&error))?;
        Ok(client)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Also on a thread of another runtime, where waiting is not allowed.
        self.pool.close();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Settings without which a commit is not durable, or reads are not of now.
async fn fit(client: &Client) -> Result<(), EngineError> {
    let row = client.query_one(sql::SETTINGS, &[]).await.map_err(|error| failure(&error))?;
    let text = |place: usize| row.try_get::<_, String>(place).unwrap_or_default();
    let version: i32 = row.try_get(0).unwrap_or_default();
    if version < VERSION_MIN {
        return Err(EngineError::new("PostgreSQL 15 or later is needed"));
    }
    if !matches!(text(1).as_str(), "on" | "remote_apply") {
        return Err(EngineError::new(
            "synchronous_commit is not on: what is acknowledged could be lost",
        ));
    }
    if text(2) != "on" || text(3) != "on" {
        return Err(EngineError::new(
            "fsync or full_page_writes is not on: what is acknowledged could be lost",
        ));
    }
    if row.try_get::<_, bool>(4).unwrap_or(true) {
        return Err(EngineError::away("the server is a standby"));
    }
    Ok(())
}

/// A pooled connection also has to lead to the database that was acknowledged to,
/// not to an older copy of it.
async fn fit_for_reading(client: &ClientWrapper, expected: &Expected) -> Result<(), EngineError> {
    fit(client).await?;
    client.batch_execute(sql::SESSION).await.map_err(|error| failure(&error))?;
    let epoch = expected.epoch.load(Ordering::Acquire);
    if epoch == 0 {
        return Ok(());
    }
    let batch = expected.batch.load(Ordering::Acquire);
    let row = client.query_one(sql::STORE, &[]).await.map_err(|error| failure(&error))?;
    let found: i64 = row.try_get(3).unwrap_or(-1);
    if found < batch {
        return Err(EngineError::new(LACKS_BATCHES));
    }
    Ok(())
}

/// A failover to a copy that is behind, or a restore under a running server.
pub(super) const LACKS_BATCHES: &str = "the database lacks batches that were acknowledged";

fn checkout_failure(error: PoolError) -> EngineError {
    match error {
        PoolError::Backend(error) => failure(&error),
        PoolError::PostCreateHook(HookError::Message(what)) => EngineError::away(what),
        other => EngineError::away(other),
    }
}

/// What the server says, without the detail, which may name keys.
pub(super) fn failure(error: &tokio_postgres::Error) -> EngineError {
    match error.as_db_error() {
        Some(said) => {
            let what = format!("{} ({})", said.message(), said.code().code());
            // Data, constraints, syntax, corruption: another try will not help.
            let lasting =
                ["22", "23", "42", "XX"].iter().any(|c| said.code().code().starts_with(c));
            if lasting { EngineError::new(what) } else { EngineError::away(what) }
        }
        None => EngineError::away(error),
    }
}

/// Whether the server ended the session along with the statement.
fn ends_session(error: &tokio_postgres::Error) -> bool {
    error.is_closed()
        || error.code().is_some_and(|code| {
            [
                SqlState::ADMIN_SHUTDOWN,
                SqlState::CRASH_SHUTDOWN,
                SqlState::CANNOT_CONNECT_NOW,
                SqlState::IDLE_SESSION_TIMEOUT,
            ]
            .contains(code)
        })
}
