//! The same from PostgreSQL: what its administrator sees, and who copies its disk.

use std::collections::BTreeMap;
use std::path::Path;

use crate::Failure;
use crate::stolen::{Row, SPACES, Stolen, ledger};

/// Reads every table of a store, and the ledger of a data folder if there is one.
///
/// # Errors
/// When the database does not answer or holds no store.
pub async fn from_postgres(url: &str, folder: Option<&Path>) -> Result<Stolen, Failure> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let running = tokio::spawn(connection);
    let mut rows = BTreeMap::new();
    for space in SPACES {
        // Rows that were written over stay for a while: a thief has them, too. What
        // counts is read; the others are of the same kinds and sizes.
        let text =
            format!("SELECT key, value FROM holdfast.\"{space}\" WHERE until IS NULL ORDER BY key");
        let found = client.query(text.as_str(), &[]).await?;
        let read: Result<Vec<Row>, tokio_postgres::Error> = found
            .iter()
            .map(|row| Ok(Row { key: row.try_get(0)?, value: row.try_get(1)? }))
            .collect();
        rows.insert(space, read?);
    }
    drop(client);
    running.await??;
    Ok(Stolen { rows, ledger: folder.map_or(Ok(Vec::new()), ledger)? })
}
