//! The engine for more than one machine: PostgreSQL.
//!
//! One table a keyspace. Each batch has a number; rows say from which batch on
//! and until which they count, so a view is a batch number and no transaction.
//! The row `holdfast.store` holds the newest batch and the epoch, the number of
//! the server whose turn it is. A batch is one transaction that begins with
//! moving the one under the condition of the other:
//! - another server that has taken over, or written, makes it fail;
//! - after a broken connection that number says whether the batch was written.
//!
//! Only the session that holds the advisory lock writes; the lock ends with it.

mod address;
mod server;
mod sql;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::ToSql;

pub use address::PostgresAddress;

use self::server::{LACKS_BATCHES, Server, failure};
use self::view::{PostgresView, Views};
use super::{Durability, Engine, EngineError, Settled, Space, View, Write, WriteError};
use crate::layout::shard_of;

/// A predecessor that was killed may have the lock for a moment longer.
const LOCK_ATTEMPTS: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// A batch that takes longer is given up, with its session.
const BATCH_TIMEOUT: Duration = Duration::from_secs(120);
/// Rows that nobody can see any more are swept after so many batches.
const SWEEP_BATCHES: i64 = 64;
/// Bounds how long closing waits for a database that does not answer.
const UNLOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// What a database says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The store's identifier.
    pub store_id: [u8; 16],
    /// The schema of its keys and values.
    pub schema: u32,
    /// Whether it is whole: false while a copy is being made into it.
    pub ready: bool,
}

/// Why a database was not opened.
#[derive(Debug)]
pub(crate) enum PostgresOpenError {
    /// Another server has the lock.
    InUse,
    /// The server, or its settings, do not do.
    Engine(EngineError),
}

impl From<EngineError> for PostgresOpenError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// A PostgreSQL database with the keyspaces of a store, locked.
pub(crate) struct PostgresEngine {
    server: Arc<Server>,
    views: Arc<Views>,
    /// The session that holds the lock; none after it broke.
    session: Arc<tokio::sync::Mutex<Option<ClientWrapper>>>,
    /// Name of this server's writing sessions.
    application: String,
    swept: AtomicI64,
}

impl PostgresEngine {
    /// Connects, checks, locks, makes tables that are missing. `None` beside it
    /// when the database holds no store yet.
    pub(crate) fn open(
        address: PostgresAddress,
    ) -> Result<(Self, Option<Standing>), PostgresOpenError> {
        let server = Arc::new(Server::new(address)?);
        let mut name = [0; 8];
        holdfast_base::fill_random(&mut name);
        let application = format!("holdfast-writer-{:016x}", u64::from_be_bytes(name));
        let (address, named) = (server.address().clone(), application.clone());
        let opened = server.wait(async move {
            let session = Server::connect(&address, &named).await?;
            if !lock(&session).await? {
                return Ok(None);
            }
            create_tables(&session).await.map_err(failed)?;
            let row = session.query_opt(sql::STORE, &[]).await.map_err(|error| failure(&error))?;
            let found = row.as_ref().map(StoreRow::read).transpose()?;
            let epoch = match found {
                Some(_) => next_epoch(&session).await?,
                None => 0,
            };
            Ok(Some((session, found, epoch)))
        })?;
        let Some((session, found, epoch)) = opened else { return Err(PostgresOpenError::InUse) };
        let engine = Self {
            server,
            views: Arc::default(),
            session: Arc::new(tokio::sync::Mutex::new(Some(session))),
            application,
            swept: AtomicI64::new(0),
        };
        let Some(found) = found else { return Ok((engine, None)) };
        engine.server.expected.batch.store(found.batch, Ordering::Release);
        engine.server.expected.epoch.store(epoch, Ordering::Release);
        engine.sweep(found.batch);
        let StoreRow { id: store_id, schema, ready, .. } = found;
        let standing = Standing { store_id, schema, ready };
        Ok((engine, Some(standing)))
    }

    /// Makes the database a store, or the beginning of a copy of one.
    pub(crate) fn create(&self, standing: &Standing) -> Result<(), EngineError> {
        let Standing { store_id, schema, ready } = *standing;
        let schema = i32::try_from(schema).map_err(EngineError::new)?;
        let epoch = self.with_session(move |session| async move {
            let id = store_id.to_vec();
            let done = async {
                for space in Space::ALL {
                    let any = session.query_opt(&sql::any(space), &[]).await.map_err(failed)?;
                    if any.is_some() {
                        return Err(EngineError::new("the database has rows of no store"));
                    }
                }
                session
                    .execute(sql::STORE_INSERT, &[&schema, &id, &ready])
                    .await
                    .map_err(failed)?;
                next_epoch(&session).await
            };
            let done = done.await;
            (session, done)
        })?;
        self.server.expected.epoch.store(epoch, Ordering::Release);
        Ok(())
    }

    /// Says that the copy in this database is whole. Durable on return.
    pub(crate) fn set_ready(&self) -> Result<(), EngineError> {
        self.set(sql::STORE_READY.to_owned())
    }

    /// Says which schema its keys and values have. Durable on return.
    pub(crate) fn set_schema(&self, schema: u32) -> Result<(), EngineError> {
        self.set(sql::store_schema(schema))
    }

    fn set(&self, text: String) -> Result<(), EngineError> {
        let epoch = self.server.expected.epoch.load(Ordering::Acquire);
        self.with_session(move |session| async move {
            let done = session.execute(&text, &[&epoch]).await.map_err(failed);
            let done = done.and_then(|rows| match rows {
                1 => Ok(()),
                _ => Err(EngineError::new(TAKEN_OVER)),
            });
            (session, done)
        })
    }

    /// Removes all rows: a copy begins anew.
    pub(crate) fn clear(&self) -> Result<(), EngineError> {
        self.with_session(|session| async move {
            let tables: Vec<String> =
                Space::ALL.iter().map(|space| format!("holdfast.\"{}\"", space.name())).collect();
            let text = format!("TRUNCATE {}, holdfast.store", tables.join(", "));
            let done = session.batch_execute(&text).await.map_err(failed);
            (session, done)
        })?;
        self.server.expected.batch.store(0, Ordering::Release);
        self.server.expected.epoch.store(0, Ordering::Release);
        Ok(())
    }

    fn with_session<T, F, W>(&self, work: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: FnOnce(ClientWrapper) -> W + Send + 'static,
        W: Future<Output = (ClientWrapper, Result<T, EngineError>)> + Send + 'static,
    {
        let held = self.session.clone();
        self.server.wait(async move {
            let mut held = held.lock().await;
            let session = held.take().ok_or_else(|| EngineError::away("the session has ended"))?;
            let (session, done) = work(session).await;
            if !session.is_closed() {
                *held = Some(session);
            }
            done
        })
    }

    /// Deletes rows that ended before everything that somebody still looks at.
    fn sweep(&self, batch: i64) {
        let oldest = self.views.lock().keys().next().copied().unwrap_or(batch).min(batch);
        let swept = self.with_session(move |session| async move {
            let mut done = Ok(());
            for space in Space::ALL {
                let deleted = session.execute(&sql::sweep(space), &[&oldest]).await;
                done = done.and(deleted.map(drop).map_err(|error| failure(&error)));
            }
            (session, done)
        });
        if let Err(error) = swept {
            tracing::warn!(%error, "rows that have ended were not swept");
        }
        self.swept.store(batch, Ordering::Relaxed);
    }

    /// A new session with the lock, and what the database says now.
    async fn reconnect(
        server: &Server,
        application: &str,
    ) -> Result<(ClientWrapper, StoreRow), WriteError> {
        let doubt = WriteError::InDoubt;
        let session = Server::connect(server.address(), application).await.map_err(doubt)?;
        // A session of ours that the network keeps alive would keep the lock.
        let _ended = session.query_one(sql::END_GHOSTS, &[&application]).await;
        if !lock(&session).await.map_err(doubt)? {
            return Err(WriteError::Broken(EngineError::new(TAKEN_OVER)));
        }
        let row = session.query_opt(sql::STORE, &[]).await.map_err(|e| doubt(failure(&e)))?;
        let Some(row) = row else {
            return Err(WriteError::Broken(EngineError::new("the database holds no store")));
        };
        let found = StoreRow::read(&row).map_err(WriteError::Broken)?;
        if found.epoch != server.expected.epoch.load(Ordering::Acquire) {
            return Err(WriteError::Broken(EngineError::new(TAKEN_OVER)));
        }
        if found.batch < server.expected.batch.load(Ordering::Acquire) {
            return Err(WriteError::Broken(EngineError::new(LACKS_BATCHES)));
        }
        Ok((session, found))
    }
}

const TAKEN_OVER: &str = "another server has taken over the database";

fn failed(error: tokio_postgres::Error) -> EngineError {
    failure(&error)
}

impl Engine for PostgresEngine {
    fn view(&self) -> Box<dyn View> {
        let batch = self.server.expected.batch.load(Ordering::Acquire);
        Box::new(PostgresView::new(self.server.clone(), self.views.clone(), batch))
    }

    fn write(&self, writes: &[Write], durability: Durability) -> Result<(), WriteError> {
        let last = self.server.expected.batch.load(Ordering::Acquire);
        let parts = Parts::of(writes);
        let (held, server, application) =
            (self.session.clone(), self.server.clone(), self.application.clone());
        let written = self.server.wait(async move {
            let mut held = held.lock().await;
            let session = match held.take().filter(|session| !session.is_closed()) {
                Some(session) => session,
                None => match Self::reconnect(&server, &application).await {
                    Ok((session, found)) if found.batch == last => session,
                    Ok(_) => return Ok(Err(WriteError::Broken(EngineError::new(TAKEN_OVER)))),
                    // Nothing was sent yet.
                    Err(WriteError::InDoubt(error)) => {
                        return Ok(Err(WriteError::NotWritten(error)));
                    }
                    Err(error) => return Ok(Err(error)),
                },
            };
            let epoch = server.expected.epoch.load(Ordering::Acquire);
            let sent = send_batch(&session, &parts, last + 1, epoch, durability);
            let sent = match tokio::time::timeout(BATCH_TIMEOUT, sent).await {
                Ok(sent) => sent,
                Err(_) => Err(WriteError::NotWritten(EngineError::away("the batch took too long"))),
            };
            if sent.is_err() {
                // The session ends, and with it whatever was not committed.
                return Ok(sent);
            }
            let committed = tokio::time::timeout(BATCH_TIMEOUT, session.batch_execute("COMMIT"));
            match committed.await {
                Ok(Ok(())) => {
                    *held = Some(session);
                    Ok(Ok(()))
                }
                Ok(Err(error)) => Ok(Err(WriteError::InDoubt(failure(&error)))),
                Err(_) => Ok(Err(WriteError::InDoubt(EngineError::away("no answer to a commit")))),
            }
        });
        written.map_err(WriteError::Broken)??;
        self.server.expected.batch.store(last + 1, Ordering::Release);
        if last + 1 - self.swept.load(Ordering::Relaxed) >= SWEEP_BATCHES {
            self.sweep(last);
        }
        Ok(())
    }

    fn settle(&self) -> Result<Settled, WriteError> {
        let last = self.server.expected.batch.load(Ordering::Acquire);
        let (held, server, application) =
            (self.session.clone(), self.server.clone(), self.application.clone());
        let found = self.server.wait(async move {
            let mut held = held.lock().await;
            Ok(Self::reconnect(&server, &application).await.map(|(session, found)| {
                *held = Some(session);
                found.batch
            }))
        });
        match found.map_err(WriteError::Broken)?? {
            batch if batch == last => Ok(Settled::NotWritten),
            batch if batch == last + 1 => {
                self.server.expected.batch.store(batch, Ordering::Release);
                Ok(Settled::Written)
            }
            _ => Err(WriteError::Broken(EngineError::new(TAKEN_OVER))),
        }
    }
}

impl Drop for PostgresEngine {
    fn drop(&mut self) {
        let held = self.session.clone();
        let _ended = self.server.wait(async move {
            if let Some(session) = held.lock().await.take() {
                let _late =
                    tokio::time::timeout(UNLOCK_TIMEOUT, session.query(sql::UNLOCK, &[])).await;
            }
            Ok(())
        });
    }
}

/// The row of `holdfast.store`.
struct StoreRow {
    schema: u32,
    id: [u8; 16],
    ready: bool,
    batch: i64,
    epoch: i64,
}

impl StoreRow {
    fn read(row: &tokio_postgres::Row) -> Result<Self, EngineError> {
        let id: &[u8] = row.try_get(1).map_err(failed)?;
        Ok(Self {
            schema: row.try_get::<_, i32>(0).map_err(failed)?.unsigned_abs(),
            id: id.try_into().map_err(|_| EngineError::new("the store's row has another form"))?,
            ready: row.try_get(2).map_err(failed)?,
            batch: row.try_get(3).map_err(failed)?,
            epoch: row.try_get(4).map_err(failed)?,
        })
    }
}

/// Makes the tables that are missing, and leaves the others as somebody may have
/// spread them.
async fn create_tables(session: &ClientWrapper) -> Result<(), tokio_postgres::Error> {
    session.batch_execute(sql::CREATE).await?;
    for space in Space::ALL {
        if !session.query_one(&sql::exists(space), &[]).await?.try_get::<_, bool>(0)? {
            session.batch_execute(&sql::create(space)).await?;
        }
    }
    Ok(())
}

async fn lock(session: &ClientWrapper) -> Result<bool, EngineError> {
    for attempt in 0..LOCK_ATTEMPTS {
        let row = session.query_one(sql::LOCK, &[]).await.map_err(failed)?;
        if row.try_get(0).map_err(failed)? {
            return Ok(true);
        }
        if attempt + 1 < LOCK_ATTEMPTS {
            tokio::time::sleep(LOCK_PAUSE).await;
        }
    }
    Ok(false)
}

async fn next_epoch(session: &ClientWrapper) -> Result<i64, EngineError> {
    let row = session.query_one(sql::STORE_EPOCH, &[]).await.map_err(failed)?;
    row.try_get(0).map_err(failed)
}

/// What a batch writes into one keyspace.
#[derive(Default)]
struct Part {
    /// Keys whose present rows end.
    ended: Vec<Vec<u8>>,
    keys: Vec<Vec<u8>>,
    shards: Vec<i16>,
    values: Vec<Vec<u8>>,
}

struct Parts(BTreeMap<Space, Part>);

impl Parts {
    fn of(writes: &[Write]) -> Self {
        let mut parts: BTreeMap<Space, Part> = BTreeMap::new();
        for write in writes {
            let part = parts.entry(write.space).or_default();
            if write.space.is_overwritten() {
                part.ended.push(write.key.clone());
            }
            if let Some(value) = &write.value {
                part.shards.push(shard_of(write.space, &write.key).into());
                part.keys.push(write.key.clone());
                part.values.push(value.to_vec());
            }
        }
        Self(parts)
    }
}

/// Everything of a batch but its COMMIT. Statements are sent without waiting for
/// each other's answers. Whatever fails here, nothing was written.
async fn send_batch(
    session: &ClientWrapper,
    parts: &Parts,
    batch: i64,
    epoch: i64,
    durability: Durability,
) -> Result<(), WriteError> {
    let not_written = |error: tokio_postgres::Error| WriteError::NotWritten(failure(&error));
    let begin = match durability {
        Durability::Synced => "BEGIN",
        Durability::Buffered => "BEGIN; SET LOCAL synchronous_commit = off",
    };
    let advance = session.prepare_cached(sql::STORE_ADVANCE).await.map_err(not_written)?;
    let mut ends = Vec::new();
    let mut inserts = Vec::new();
    for (space, part) in &parts.0 {
        if !part.ended.is_empty() {
            let statement = session.prepare_cached(&sql::end(*space)).await.map_err(not_written)?;
            ends.push((statement, &part.ended));
        }
        if !part.keys.is_empty() {
            let insert = session.prepare_cached(&sql::insert(*space)).await.map_err(not_written)?;
            inserts.push((insert, part));
        }
    }
    session.batch_execute(begin).await.map_err(not_written)?;
    let advanced = session.execute(&advance, &[&batch, &epoch]).await.map_err(not_written)?;
    if advanced != 1 {
        return Err(WriteError::Broken(EngineError::new(TAKEN_OVER)));
    }
    let ended = ends.iter().map(|(statement, keys)| async {
        let parameters: [&(dyn ToSql + Sync); 2] = [&batch, *keys];
        session.execute(statement, &parameters).await
    });
    futures_util::future::try_join_all(ended).await.map_err(not_written)?;
    let inserted = inserts.iter().map(|(statement, part)| async {
        let parameters: [&(dyn ToSql + Sync); 4] = [&batch, &part.keys, &part.shards, &part.values];
        session.execute(statement, &parameters).await
    });
    futures_util::future::try_join_all(inserted).await.map_err(not_written)?;
    Ok(())
}
