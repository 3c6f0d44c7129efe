//! The statements. Names of tables come from [`Space`] only; values are parameters.
//!
//! A row is visible at batch *b* when it was written by *b* or before
//! (`since <= b`) and not replaced or deleted by then (`until` is null or later).

use crate::engine::Space;

/// Makes the schema and the row of the store's own.
pub(super) const CREATE: &str = "CREATE SCHEMA IF NOT EXISTS holdfast;
     CREATE TABLE IF NOT EXISTS holdfast.store (
       one boolean PRIMARY KEY DEFAULT true CHECK (one),
       schema integer NOT NULL,
       id bytea NOT NULL,
       ready boolean NOT NULL,
       batch bigint NOT NULL,
       epoch bigint NOT NULL)";

/// Whether the table of a keyspace is there.
pub(super) fn exists(space: Space) -> String {
    format!("SELECT to_regclass('holdfast.\"{}\"') IS NOT NULL", space.name())
}

/// Makes the table of a keyspace. `docs/storage.md` has its columns.
pub(super) fn create(space: Space) -> String {
    let name = space.name();
    format!(
        "CREATE TABLE holdfast.\"{name}\" (
           key bytea NOT NULL,
           shard smallint NOT NULL,
           since bigint NOT NULL,
           until bigint,
           value bytea NOT NULL,
           PRIMARY KEY (key, shard, since));
         ALTER TABLE holdfast.\"{name}\" ALTER COLUMN value SET STORAGE EXTERNAL;
         CREATE INDEX \"{name}_ended\" ON holdfast.\"{name}\" (until) WHERE until IS NOT NULL"
    )
}

/// What every connection must be before it is used.
pub(super) const SETTINGS: &str = "SELECT current_setting('server_version_num')::int, \
     current_setting('synchronous_commit'), current_setting('fsync'), \
     current_setting('full_page_writes'), pg_is_in_recovery()";

/// Every table is read by its key, in its order, and never as a whole.
pub(super) const SESSION: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off; \
     SET jit = off; SET default_transaction_isolation = 'read committed'; \
     SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3";

/// One server at a time: held by the session that writes.
pub(super) const LOCK: &str = "SELECT pg_try_advisory_lock(5210918271450829652)";
/// Gives it back before the session ends by itself.
pub(super) const UNLOCK: &str = "SELECT pg_advisory_unlock_all()";
/// Ends sessions that this server had before and that the network keeps alive.
pub(super) const END_GHOSTS: &str = "SELECT count(pg_terminate_backend(pid)) \
     FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()";

pub(super) const STORE: &str = "SELECT schema, id, ready, batch, epoch FROM holdfast.store";
pub(super) const STORE_INSERT: &str = "INSERT INTO holdfast.store \
     (schema, id, ready, batch, epoch) VALUES ($1, $2, $3, 0, 0)";
pub(super) const STORE_EPOCH: &str = "UPDATE holdfast.store SET epoch = epoch + 1 RETURNING epoch";
pub(super) const STORE_READY: &str = "UPDATE holdfast.store SET ready = true WHERE epoch = $1";
/// Says which schema keys and values have.
pub(super) fn store_schema(schema: u32) -> String {
    format!("UPDATE holdfast.store SET schema = {schema} WHERE epoch = $1")
}
/// First statement of a batch: fails to find its row when another server has
/// taken over or written.
pub(super) const STORE_ADVANCE: &str = "UPDATE holdfast.store SET batch = $1::bigint WHERE batch = $1::bigint - 1 AND epoch = $2::bigint";

/// Whether a table has any row.
pub(super) fn any(space: Space) -> String {
    format!("SELECT 1 FROM holdfast.\"{}\" LIMIT 1", space.name())
}

/// Ends the rows with these keys.
pub(super) fn end(space: Space) -> String {
    format!(
        "UPDATE holdfast.\"{}\" SET until = $1::bigint \
         WHERE key = ANY($2::bytea[]) AND until IS NULL",
        space.name()
    )
}

/// Writes rows.
pub(super) fn insert(space: Space) -> String {
    format!(
        "INSERT INTO holdfast.\"{}\" (key, shard, since, value) \
         SELECT new.key, new.shard, $1::bigint, new.value \
         FROM unnest($2::bytea[], $3::smallint[], $4::bytea[]) AS new (key, shard, value)",
        space.name()
    )
}

/// Deletes what no view shows any more.
pub(super) fn sweep(space: Space) -> String {
    format!("DELETE FROM holdfast.\"{}\" WHERE until <= $1", space.name())
}

const VISIBLE: &str = "since <= $1::bigint AND (until IS NULL OR until > $1::bigint)";

/// The value of one key.
pub(super) fn get(space: Space) -> String {
    format!(
        "SELECT value FROM holdfast.\"{}\" WHERE {VISIBLE} AND key = $2 AND shard = $3",
        space.name()
    )
}

/// Whether a key is there.
pub(super) fn contains(space: Space) -> String {
    format!(
        "SELECT 1 FROM holdfast.\"{}\" WHERE {VISIBLE} AND key = $2 AND shard = $3",
        space.name()
    )
}

/// The values of many keys.
pub(super) fn get_many(space: Space) -> String {
    format!(
        "SELECT key, value FROM holdfast.\"{}\" WHERE {VISIBLE} \
         AND key = ANY($2::bytea[])",
        space.name()
    )
}

/// What a page of a scan is like.
#[derive(Clone, Copy)]
pub(super) struct Page {
    pub(super) space: Space,
    /// Whether values are wanted.
    pub(super) values: bool,
    /// Whether there is an upper end (`$4`).
    pub(super) bounded: bool,
    /// From the upper end downwards.
    pub(super) backwards: bool,
    /// Whether all keys lie in one shard (the last parameter).
    pub(super) one_shard: bool,
}

impl Page {
    /// `$2` rows from key `$3` on.
    pub(super) fn sql(self) -> String {
        let value = if self.values { "value" } else { "''::bytea" };
        let end = if self.bounded { "AND key < $4" } else { "" };
        let shard = match (self.one_shard, self.bounded) {
            (false, _) => "",
            (true, true) => "AND shard = $5",
            (true, false) => "AND shard = $4",
        };
        let order = if self.backwards { "DESC" } else { "ASC" };
        format!(
            "SELECT key, {value} FROM holdfast.\"{}\" WHERE {VISIBLE} AND key >= $3 {end} {shard} \
             ORDER BY key {order} LIMIT $2::bigint",
            self.space.name()
        )
    }
}
