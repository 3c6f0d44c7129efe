//! Small sealed rows of the exchange itself: organizations, accounts,
//! incidents, certificates. Keys are keyed tokens of the names, values are sealed
//! with the system key and bound to their place.

use holdfast_store::{RowWrite, Store, Table, Transaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ExchangeError;
use crate::sizes;
use crate::state::Exchange;

/// What a system row is; the first byte of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Account = b'a',
    Bulk = b'b',
    Delivery = b'd',
    Emergency = b'e',
    Honey = b'h',
    Incident = b'i',
    Organization = b'o',
    Profile = b'p',
    Reconciliation = b'c',
    Review = b'r',
    Secret = b's',
    Subscription = b'u',
    NotifyHosts = b'w',
}

impl Exchange {
    fn system_key(&self, kind: Kind, name: &str) -> Vec<u8> {
        let mut key = vec![kind as u8];
        key.extend_from_slice(&self.tokens().token("system-row", name.as_bytes()));
        key
    }

    /// The row, sealed, ready for a transaction.
    pub(crate) fn system_row(
        &self,
        kind: Kind,
        name: &str,
        value: &impl Serialize,
    ) -> Result<RowWrite, ExchangeError> {
        let key = self.system_key(kind, name);
        let plain = serde_json::to_vec(value)
            .map_err(|_| ExchangeError::Internal("a system row does not serialise"))?;
        let sealed = self.system().seal(&context(&key), &sizes::pad_json(plain));
        Ok(RowWrite { table: Table::System, key, value: Some(sealed) })
    }

    /// That the row is no more, ready for a transaction.
    pub(crate) fn no_system_row(&self, kind: Kind, name: &str) -> RowWrite {
        RowWrite { table: Table::System, key: self.system_key(kind, name), value: None }
    }

    /// Seals and stores one row; durable on return.
    pub(crate) async fn save_system(
        &self,
        kind: Kind,
        name: &str,
        value: &impl Serialize,
    ) -> Result<(), ExchangeError> {
        let rows = vec![self.system_row(kind, name, value)?];
        self.commit(Transaction { rows, ..Transaction::default() }).await.map(drop)
    }

    /// Opens one row.
    pub(crate) fn load_system<T: DeserializeOwned>(
        &self,
        kind: Kind,
        name: &str,
    ) -> Result<Option<T>, ExchangeError> {
        let key = self.system_key(kind, name);
        let row = self.store().snapshot().row(Table::System, &key).map_err(ExchangeError::store)?;
        row.map(|sealed| self.open_system(&key, &sealed)).transpose()
    }

    /// Opens every row of a kind.
    pub(crate) fn load_all_system<T: DeserializeOwned>(
        &self,
        kind: Kind,
    ) -> Result<Vec<T>, ExchangeError> {
        load_all(self.store(), self.system(), kind)
    }

    fn open_system<T: DeserializeOwned>(
        &self,
        key: &[u8],
        sealed: &[u8],
    ) -> Result<T, ExchangeError> {
        open(self.system(), key, sealed)
    }
}

/// As [`Exchange::load_all_system`], for use while the exchange is being opened.
pub(crate) fn load_all<T: DeserializeOwned>(
    store: &Store,
    system: &holdfast_keeper::SystemKey,
    kind: Kind,
) -> Result<Vec<T>, ExchangeError> {
    let mut values = Vec::new();
    for row in store.snapshot().scan_rows(Table::System, &[kind as u8]) {
        let (key, sealed) = row.map_err(ExchangeError::store)?;
        values.push(open(system, &key, &sealed)?);
    }
    Ok(values)
}

fn open<T: DeserializeOwned>(
    system: &holdfast_keeper::SystemKey,
    key: &[u8],
    sealed: &[u8],
) -> Result<T, ExchangeError> {
    let plain = system.open(&context(key), sealed)?;
    serde_json::from_slice(&plain)
        .map_err(|_| ExchangeError::Internal("a system row has an unknown form"))
}

/// Binds a sealed row to its place.
fn context(key: &[u8]) -> String {
    format!("system/{}", data_encoding::HEXLOWER.encode(key))
}
