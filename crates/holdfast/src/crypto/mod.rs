//! `holdfast crypto`: every algorithm, and the keys of an installation.

mod inventory;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use holdfast_keeper::{KeeperClient, KeeperError, KeysStatus};

use crate::config::Config;
use crate::failure::{Failure, chain};
use crate::wiring::{self, Folder, KeeperProcess};
use inventory::{Inventory, KeyMaterial};

/// What is allowed, as this program was built with it.
const POLICY: &str = include_str!("../../../../crypto-policy.toml");
/// The versions of packages that this program was built from.
const LOCK: &str = include_str!("../../../../Cargo.lock");

/// Prints the inventory as a table or as a bill of materials.
///
/// # Errors
/// When a data folder is named whose keeper does not answer or start.
pub async fn run(dir: Option<&Path>, cbom: bool) -> Result<(), Failure> {
    let inventory = Inventory::parse(POLICY, LOCK).map_err(Failure::new)?;
    let status = match dir {
        Some(dir) => Some(status(&Folder::at(dir)).await?),
        None => None,
    };
    if cbom {
        let keys = status.as_ref().map(materials).unwrap_or_default();
        let bom = inventory.to_cbom(env!("CARGO_PKG_VERSION"), &keys);
        println!("{}", serde_json::to_string_pretty(&bom).unwrap_or_default());
        return Ok(());
    }
    for one in &inventory.algorithms {
        let key = match one.key_bits {
            0 => "no key".to_owned(),
            bits => format!("{bits}-bit key"),
        };
        println!("{} ({key}), {} {}", one.name, one.library, one.version);
        println!("    {}\n    {}", one.purpose, one.standard);
    }
    if let Some(status) = status {
        println!();
        crate::keys::print_status(&status);
    }
    Ok(())
}

/// From the keeper that runs, or one that is started for the moment.
async fn status(folder: &Folder) -> Result<KeysStatus, Failure> {
    let client = KeeperClient::with_timeout(folder.socket(), Duration::from_secs(60));
    let told = |error: KeeperError| Failure::new(chain(&error));
    match client.keys_status().await {
        Err(KeeperError::Unreachable) => {
            let passphrase = wiring::passphrase(&Config::read(folder.path())?)?;
            let keeper = KeeperProcess::start(folder, passphrase).await?;
            let status = client.keys_status().await;
            keeper.stop().await;
            status.map_err(told)
        }
        status => status.map_err(told),
    }
}

fn materials(status: &KeysStatus) -> Vec<KeyMaterial> {
    let of = |line: &holdfast_keeper::KeyLine| KeyMaterial {
        id: format!("{}/{}", line.name, line.generation),
        active: line.newest,
        created: line.created.map(|at| at.to_string()),
        secured_by: match line.name.as_str() {
            "root" => status.guard.clone(),
            _ => "wrapped under the root key".to_owned(),
        },
    };
    status.lines.iter().map(of).collect()
}
