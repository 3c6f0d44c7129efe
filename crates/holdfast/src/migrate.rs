//! `holdfast migrate`: the store from its folder into a database, and back.

use std::path::Path;

use holdfast_store::{MigrateError, MigrateProgress, Store, StoreLocation};

use crate::failure::{Failure, chain};
use crate::wiring::Folder;

/// Moves the store between the data folder that one of both names and the database
/// that the other one names.
///
/// # Errors
/// One sentence about what stands in the way; then the store is where it was.
pub fn run(from: &str, to: &str) -> Result<(), Failure> {
    let is_url = |text: &str| text.contains("://");
    let (folder, moves_out) = match (is_url(from), is_url(to)) {
        (false, true) => (Folder::at(Path::new(from)), true),
        (true, false) => (Folder::at(Path::new(to)), false),
        _ => {
            return Err(Failure::new(
                "give the data folder and a postgres:// URL, one as --from and one as --to",
            ));
        }
    };
    if !folder.is_ours() {
        return Err(Failure::new(format!("{} is no data folder", folder.path().display())));
    }
    let inside = StoreLocation::Folder(folder.store());
    let database = StoreLocation::parse(if moves_out { to } else { from }, &folder.store())
        .map_err(|error| Failure::new(chain(&error)))?;
    let (from, to) = if moves_out { (&inside, &database) } else { (&database, &inside) };
    let mut tell = |progress: MigrateProgress| match progress {
        MigrateProgress::Copied(rows) => eprintln!("copied {rows} rows"),
        MigrateProgress::Compared(rows) => eprintln!("compared {rows} rows"),
    };
    let moved = Store::migrate(from, to, &mut tell).map_err(|error| match &error {
        MigrateError::Occupied { .. } | MigrateError::Nowhere { .. } => Failure::new(chain(&error)),
        _ => Failure::new(format!("the store stays at {from}: {}", chain(&error))),
    })?;
    let hex = |hash: &[u8]| data_encoding::HEXLOWER.encode(hash);
    println!("moved to {to}");
    println!("  newest commit  {}", moved.commit);
    println!("  chain          {}", hex(&moved.chain));
    println!("  rows           {} (all compared)", moved.rows_count);
    println!("  digest         {}", hex(&moved.digest));
    if moved.resumed_count > 0 {
        println!("  {} of them were there from an attempt before", moved.resumed_count);
    }
    println!();
    if moves_out {
        println!("Set store.url in {}, or HOLDFAST_STORE.", crate::config::FILE_NAME);
        println!("{}/engine.before-{} may be deleted.", folder.store().display(), moved.commit);
    } else {
        println!("Remove store.url from {}, and HOLDFAST_STORE.", crate::config::FILE_NAME);
        println!("The tables in the database (schema `holdfast`) may be dropped.");
    }
    Ok(())
}
