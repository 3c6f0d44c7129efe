//! The named keys: random, each generation wrapped under the root by itself, so
//! that every one of them can be rotated alone.
//!
//! Row: key = name ‖ `0x00` ‖ generation `u32`; value = generation of the root
//! `u32` ‖ created `i64` (milliseconds; 0: not known) ‖ sealed 32 bytes.

use std::collections::BTreeMap;

use holdfast_base::OrganizationId;
use zeroize::Zeroizing;

use super::TableError;
use crate::keyring::Keys;
use crate::primitive::{Secret, place};
use crate::root::Roots;

/// Names of the keys that every exchange has, and the labels under which older
/// folders derived them from the root.
pub(crate) const SERVICE: [(&str, &str); 7] = [
    ("system", "holdfast/v1/root/system"),
    ("mpi-seal", "holdfast/v1/root/mpi-seal"),
    ("mpi-token", "holdfast/v1/root/mpi-token"),
    ("ledger-signer", "holdfast/v1/root/ledger-signer"),
    ("ledger-bodies", "holdfast/v1/root/ledger-bodies"),
    ("marks", "holdfast/v1/root/marks"),
    ("people", "holdfast/v1/root/people"),
];

/// Parts of an organization's name, and the labels under which older folders
/// derived them from its key.
pub(crate) const OF_ORGANIZATION: [(&str, &str); 4] = [
    ("token", "holdfast/v1/organization/token"),
    ("inbox", "holdfast/v1/organization/inbox"),
    ("wrap", "holdfast/v1/organization/wrap-patients"),
    ("population", "holdfast/v1/organization/population"),
];

const PREFIX: &str = "organization/";

/// The name of an organization's key for `part`.
pub(crate) fn of_organization(id: &OrganizationId, part: &str) -> String {
    format!("{PREFIX}{id}/{part}")
}

/// The organization and part of such a name.
pub(crate) fn organization_of(name: &str) -> Option<(OrganizationId, &str)> {
    let (id, part) = name.strip_prefix(PREFIX)?.rsplit_once('/')?;
    Some((OrganizationId::new(id).ok()?, part))
}

/// One generation of a named key.
#[derive(Clone)]
pub(crate) struct Generation {
    pub number: u32,
    /// Milliseconds since 1970; 0 when it was made before that was noted.
    pub created: i64,
    pub secret: Secret,
    /// The generation of the root that wraps it.
    pub root: u32,
}

/// The generations of each named key, ascending.
pub(super) type Named = BTreeMap<String, Vec<Generation>>;

/// The key of `name` in all its generations.
pub(super) fn keys(named: &Named, name: &str) -> Option<Keys> {
    let line = named.get(name)?;
    Keys::of(line.iter().map(|g| (g.number, g.secret.clone())).collect())
}

fn row_place(name: &str, number: u32, created: i64) -> Vec<u8> {
    place(
        "holdfast/v2/key/named",
        &[name.as_bytes(), &number.to_be_bytes(), &created.to_be_bytes()],
    )
}

/// The row of one generation: key and value.
pub(super) fn row(name: &str, one: &Generation, root: &Secret) -> (Vec<u8>, Vec<u8>) {
    let key = row_key(name, one.number);
    let wrap = root.derive("holdfast/v2/root/wrap-keys");
    let sealed = wrap.seal(&row_place(name, one.number, one.created), one.secret.bytes());
    let mut value = one.root.to_be_bytes().to_vec();
    value.extend_from_slice(&one.created.to_be_bytes());
    value.extend_from_slice(&sealed);
    (key, value)
}

pub(super) fn row_key(name: &str, number: u32) -> Vec<u8> {
    [name.as_bytes(), &[0], &number.to_be_bytes()].concat()
}

/// Reads one row.
pub(crate) fn parse(
    key: &[u8],
    value: &[u8],
    roots: &Roots,
) -> Result<(String, Generation), TableError> {
    let damaged = || TableError::Damaged { row: "named key" };
    let (name, number) = key.split_last_chunk::<4>().ok_or_else(damaged)?;
    let name = name.strip_suffix(&[0]).and_then(|name| std::str::from_utf8(name).ok());
    let name = name.ok_or_else(damaged)?;
    let (root, rest) = value.split_first_chunk::<4>().ok_or_else(damaged)?;
    let (created, sealed) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    let (number, root) = (u32::from_be_bytes(*number), u32::from_be_bytes(*root));
    let created = i64::from_be_bytes(*created);
    let under = roots.get(root).ok_or(TableError::OtherRoot { generation: root })?;
    let wrap = under.derive("holdfast/v2/root/wrap-keys");
    let opened = wrap.open(&row_place(name, number, created), sealed).map(Zeroizing::new);
    let secret = opened.ok().and_then(|bytes| Secret::from_slice(&bytes)).ok_or_else(damaged)?;
    Ok((name.to_owned(), Generation { number, created, secret, root }))
}
