//! Reads at one batch. A view is a number: it holds no transaction and outlives a
//! restart of the database. What it may still show is not swept away before it is
//! dropped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_postgres::types::{ToSql, Type};

use super::server::Server;
use super::sql::{self, Page};
use crate::engine::{Bytes, EngineError, KeyRange, Keys, Scan, Space, View};
use crate::layout::shard_of;

/// Rows of the first page of a scan; many scans want the first row only.
const FIRST_PAGE_ROWS: i64 = 4;
/// Each page is so many times larger than the one before.
const PAGE_GROWTH: i64 = 4;
/// Rows of a page of small values.
const PAGE_ROWS_MAX: i64 = 2048;
/// A page with more bytes than this is followed by a smaller one.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Keys of one question.
const GET_MANY_MAX: usize = 1024;

/// How many views there are of which batch.
pub(super) type Views = Mutex<BTreeMap<i64, usize>>;

/// What views and their scans share.
struct Held {
    server: Arc<Server>,
    views: Arc<Views>,
    batch: i64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut views = self.views.lock();
        if let Some(count) = views.get_mut(&self.batch) {
            *count -= 1;
            if *count == 0 {
                views.remove(&self.batch);
            }
        }
    }
}

/// The database as it was after one batch.
pub(super) struct PostgresView(Arc<Held>);

impl PostgresView {
    pub(super) fn new(server: Arc<Server>, views: Arc<Views>, batch: i64) -> Self {
        *views.lock().entry(batch).or_default() += 1;
        Self(Arc::new(Held { server, views, batch }))
    }

    fn scan_pages(&self, space: Space, from: &[u8], to: Option<&[u8]>, values: bool) -> Pages {
        Pages {
            held: self.0.clone(),
            space,
            values,
            shard: common_shard(space, from, to),
            from: from.to_vec(),
            to: to.map(<[u8]>::to_vec),
            rows: FIRST_PAGE_ROWS,
            front: VecDeque::new(),
            back: VecDeque::new(),
            exhausted: false,
        }
    }
}

impl View for PostgresView {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let (batch, key) = (self.0.batch, key.to_vec());
        let shard = i16::from(shard_of(space, &key));
        let row = self.0.server.read(move |client| {
            let key = key.clone();
            async move {
                let found = async {
                    let statement = client.prepare_cached(&sql::get(space)).await?;
                    client
                        .query_opt(&statement, &[&batch, &key, &shard])
                        .await?
                        .map(value)
                        .transpose()
                };
                let found = found.await;
                (client, found)
            }
        })?;
        Ok(row)
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> Scan {
        Box::new(self.scan_pages(space, from, to, true))
    }

    fn keys(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> Keys {
        Box::new(self.scan_pages(space, from, to, false).map(|row| Ok(row?.0)))
    }

    fn contains(&self, space: Space, key: &[u8]) -> Result<bool, EngineError> {
        let (batch, key) = (self.0.batch, key.to_vec());
        let shard = i16::from(shard_of(space, &key));
        self.0.server.read(move |client| {
            let key = key.clone();
            async move {
                let found = async {
                    let statement = client.prepare_cached(&sql::contains(space)).await?;
                    Ok(client.query_opt(&statement, &[&batch, &key, &shard]).await?.is_some())
                };
                let found = found.await;
                (client, found)
            }
        })
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn get_many(
        &self,
        space: Space,
        keys: Vec<Vec<u8>>,
    ) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        let batch = self.0.batch;
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(GET_MANY_MAX) {
            let keys = Arc::new(keys.to_vec());
            found.extend(self.0.server.read(move |client| {
                let keys = keys.clone();
                async move {
                    let found = async {
                        let statement = client.prepare_cached(&sql::get_many(space)).await?;
                        let rows = client.query(&statement, &[&batch, &*keys]).await?;
                        rows.into_iter().map(pair).collect::<Result<Vec<_>, _>>()
                    };
                    let found = found.await;
                    (client, found)
                }
            })?);
        }
        Ok(found)
    }

    fn first_many(
        &self,
        space: Space,
        ranges: Vec<KeyRange>,
    ) -> Result<Vec<Option<(Bytes, Bytes)>>, EngineError> {
        let batch = self.0.batch;
        let ranges = Arc::new(ranges);
        self.0.server.read(move |client| {
            let ranges = ranges.clone();
            async move {
                let found = async {
                    // All at once: the answers come one after the other.
                    let asked = ranges
                        .iter()
                        .map(|(from, to)| first(&client, batch, space, from, to.as_deref()));
                    futures_util::future::try_join_all(asked).await
                };
                let found = found.await;
                (client, found)
            }
        })
    }
}

async fn first(
    client: &deadpool_postgres::Object,
    batch: i64,
    space: Space,
    from: &[u8],
    to: Option<&[u8]>,
) -> Result<Option<(Bytes, Bytes)>, tokio_postgres::Error> {
    let shard = common_shard(space, from, to);
    let page = Page {
        space,
        values: true,
        bounded: to.is_some(),
        backwards: false,
        one_shard: shard.is_some(),
    };
    let statement = client.prepare_cached(&page.sql()).await?;
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&batch, &1_i64, &from];
    if let Some(to) = &to {
        parameters.push(to);
    }
    if let Some(shard) = &shard {
        parameters.push(shard);
    }
    client.query_opt(&statement, &parameters).await?.map(pair).transpose()
}

/// The shard of all keys of a range, where they share one.
fn common_shard(space: Space, from: &[u8], to: Option<&[u8]>) -> Option<i16> {
    const PATIENT_BYTES: usize = 20;
    if !matches!(space, Space::Index | Space::Bodies) {
        return None;
    }
    let (first, last) = (from.get(..PATIENT_BYTES)?, to?);
    // The upper end is the prefix, or what comes right after the patient's keys.
    let inside = last.starts_with(first)
        || crate::layout::after_prefix(first).is_some_and(|after| *last <= *after);
    inside.then(|| shard_of(space, from).into())
}

fn value(row: tokio_postgres::Row) -> Result<Bytes, tokio_postgres::Error> {
    Ok(Bytes::from(row.try_get::<_, &[u8]>(0)?))
}

fn pair(row: tokio_postgres::Row) -> Result<(Bytes, Bytes), tokio_postgres::Error> {
    debug_assert_eq!(row.columns()[0].type_(), &Type::BYTEA);
    Ok((Bytes::from(row.try_get::<_, &[u8]>(0)?), Bytes::from(row.try_get::<_, &[u8]>(1)?)))
}

/// A scan, fetched page by page from either end.
struct Pages {
    held: Arc<Held>,
    space: Space,
    values: bool,
    shard: Option<i16>,
    /// What was not fetched yet lies from here
    from: Vec<u8>,
    /// up to here.
    to: Option<Vec<u8>>,
    /// Size of the next page.
    rows: i64,
    /// Fetched and not yielded, in key order.
    front: VecDeque<(Bytes, Bytes)>,
    /// The same of the other end, also in key order.
    back: VecDeque<(Bytes, Bytes)>,
    exhausted: bool,
}

impl Pages {
    fn fetch(&mut self, backwards: bool) -> Result<(), EngineError> {
        let page = Page {
            space: self.space,
            values: self.values,
            bounded: self.to.is_some(),
            backwards,
            one_shard: self.shard.is_some(),
        };
        let (batch, limit, shard) = (self.held.batch, self.rows, self.shard);
        let (from, to) = (self.from.clone(), self.to.clone());
        let rows: Vec<(Bytes, Bytes)> = self.held.server.read(move |client| {
            let (from, to) = (from.clone(), to.clone());
            async move {
                let found = async {
                    let statement = client.prepare_cached(&page.sql()).await?;
                    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&batch, &limit, &from];
                    if let Some(to) = &to {
                        parameters.push(to);
                    }
                    if let Some(shard) = &shard {
                        parameters.push(shard);
                    }
                    let rows = client.query(&statement, &parameters).await?;
                    rows.into_iter().map(pair).collect::<Result<Vec<_>, _>>()
                };
                let found = found.await;
                (client, found)
            }
        })?;
        self.exhausted = (rows.len() as i64) < limit;
        let bytes: usize = rows.iter().map(|(_, value)| value.len()).sum();
        self.rows = if bytes > PAGE_BYTES_MAX {
            (limit / PAGE_GROWTH).max(1)
        } else if bytes > PAGE_BYTES_MAX / PAGE_GROWTH as usize {
            limit
        } else {
            (limit * PAGE_GROWTH).min(PAGE_ROWS_MAX)
        };
        if let Some((last, _)) = rows.last() {
            if backwards {
                self.to = Some(last.to_vec());
            } else {
                self.from = [last, &[0][..]].concat();
            }
        }
        if backwards {
            rows.into_iter().for_each(|row| self.back.push_front(row));
        } else {
            self.front.extend(rows);
        }
        Ok(())
    }

    fn step(&mut self, backwards: bool) -> Option<Result<(Bytes, Bytes), EngineError>> {
        loop {
            let (near, far) = (&mut self.front, &mut self.back);
            let next = if backwards {
                far.pop_back().or_else(|| self.exhausted.then(|| near.pop_back()).flatten())
            } else {
                near.pop_front().or_else(|| self.exhausted.then(|| far.pop_front()).flatten())
            };
            if let Some(row) = next {
                return Some(Ok(row));
            }
            if self.exhausted {
                return None;
            }
            if let Err(error) = self.fetch(backwards) {
                // Whoever scans on after an error gets nothing that is not true.
                self.exhausted = true;
                self.front.clear();
                self.back.clear();
                return Some(Err(error));
            }
        }
    }
}

impl Iterator for Pages {
    type Item = Result<(Bytes, Bytes), EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(false)
    }
}

impl DoubleEndedIterator for Pages {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(true)
    }
}
