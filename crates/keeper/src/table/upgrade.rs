//! From nothing, or from layout 1, to the layout of this version: one write, so
//! that it happened or did not.

use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use holdfast_base::{OrganizationId, Timestamp};
use zeroize::Zeroizing;

use super::named::{self, Generation, Named, OF_ORGANIZATION, SERVICE};
use super::{Spaces, TableError};
use crate::keyring::FIRST;
use crate::primitive::{Secret, place};
use crate::root::{CHECK_BYTES, Roots};
use crate::steps::Steps;

/// The layout of this version.
const LAYOUT: u32 = 2;

/// Brings the table to [`LAYOUT`]; refuses a newer one.
pub(super) fn bring_up(
    database: &Database,
    spaces: &Spaces,
    roots: &Roots,
    now: Timestamp,
    steps: &Steps,
) -> Result<(), TableError> {
    if let Some(found) = spaces.meta.get("format")? {
        let found = <[u8; 4]>::try_from(&found[..]).map(u32::from_be_bytes);
        return match found {
            Ok(LAYOUT) => Ok(()),
            Ok(found) => Err(TableError::Newer { found, known: LAYOUT }),
            Err(_) => Err(TableError::Damaged { row: "meta" }),
        };
    }
    let old = database.keyspace("organizations", KeyspaceCreateOptions::default)?;
    let root = roots.newest();
    let mut batch = database.batch().durability(Some(PersistMode::SyncAll));
    let mut add = |name: &str, created: i64, secret: Secret| {
        let one = Generation { number: FIRST, created, secret, root: root.number };
        let (key, value) = named::row(name, &one, &root.secret);
        batch.insert(&spaces.named, key, value);
    };
    for (name, label) in SERVICE {
        let (created, secret) = match roots.is_of_layout_1() {
            true => (0, root.secret.derive(label)),
            false => (now.millis(), Secret::random()),
        };
        add(name, created, secret);
    }
    let mut imported = Vec::new();
    let wrap = root.secret.derive("holdfast/v1/root/wrap-organizations");
    for row in old.iter() {
        let (key, wrapped) = row.into_inner()?;
        let damaged = || TableError::Damaged { row: "organization" };
        let id = std::str::from_utf8(&key).ok().and_then(|name| OrganizationId::new(name).ok());
        let id = id.ok_or_else(damaged)?;
        let at = place("holdfast/v1/key/organization", &[id.as_str().as_bytes()]);
        let opened = wrap.open(&at, &wrapped).map(Zeroizing::new).map_err(|_| damaged())?;
        let secret = Secret::from_slice(&opened).ok_or_else(damaged)?;
        for (part, label) in OF_ORGANIZATION {
            add(&named::of_organization(&id, part), 0, secret.derive(label));
        }
        imported.push(key);
    }
    for key in imported {
        batch.remove(&old, key);
    }
    let created = if roots.is_of_layout_1() { 0 } else { now.millis() };
    batch.insert(&spaces.meta, "root", root_row(roots, created));
    batch.insert(&spaces.meta, "format", LAYOUT.to_be_bytes());
    steps.step()?;
    batch.commit()?;
    Ok(steps.step()?)
}

/// Makes the keys that organizations of an earlier version lack, in one write.
pub(super) fn add_missing(
    database: &Database,
    spaces: &Spaces,
    roots: &Roots,
    all: &mut Named,
    now: Timestamp,
) -> Result<(), TableError> {
    let root = roots.newest();
    let ids = all.keys().filter_map(|name| named::organization_of(name));
    let ids: Vec<_> = ids.filter(|(_, part)| *part == "wrap").map(|(id, _)| id).collect();
    let mut batch = database.batch().durability(Some(PersistMode::SyncAll));
    let mut made = Vec::new();
    for id in ids {
        let name = named::of_organization(&id, "population");
        if !all.contains_key(&name) {
            let (created, secret) = (now.millis(), Secret::random());
            let one = Generation { number: FIRST, created, secret, root: root.number };
            let (key, value) = named::row(&name, &one, &root.secret);
            batch.insert(&spaces.named, key, value);
            made.push((name, one));
        }
    }
    if made.is_empty() {
        return Ok(());
    }
    batch.commit()?;
    all.extend(made.into_iter().map(|(name, one)| (name, vec![one])));
    Ok(())
}

/// The row about the root that wraps the named keys.
pub(super) fn root_row(roots: &Roots, created: i64) -> Vec<u8> {
    let root = roots.newest();
    let mut row = root.number.to_be_bytes().to_vec();
    row.extend_from_slice(&created.to_be_bytes());
    row.extend_from_slice(&root.check());
    row
}

/// When the root was made, in milliseconds; 0 when that is not known.
pub(super) fn root_created(spaces: &Spaces) -> Result<i64, TableError> {
    let row = spaces.meta.get("root")?.ok_or(TableError::Damaged { row: "meta" })?;
    let created = row.get(4..12).and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
    created.ok_or(TableError::Damaged { row: "meta" })
}

/// Generation and check of the root that wraps the table in `dir`, without any
/// key; nothing for a folder of layout 1 or an empty one.
pub(crate) fn root_of(
    dir: &std::path::Path,
) -> Result<Option<(u32, [u8; CHECK_BYTES])>, TableError> {
    let database = Database::builder(dir).open()?;
    let meta = database.keyspace("meta", KeyspaceCreateOptions::default)?;
    let Some(row) = meta.get("root")? else { return Ok(None) };
    let damaged = TableError::Damaged { row: "meta" };
    let number = row.get(..4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    let check = row.get(12..).and_then(|bytes| bytes.try_into().ok());
    number.zip(check).map(Some).ok_or(damaged)
}
