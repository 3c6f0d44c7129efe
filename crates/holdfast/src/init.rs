//! `holdfast init`: a new data folder, its passphrase, its first administrator.

use std::path::Path;

use holdfast_base::fill_random;
use holdfast_exchange::StoreLocation;
use zeroize::Zeroizing;

use crate::admin::args::FirstArguments;
use crate::admin::first;
use crate::client::{refuse_inside, write_private};
use crate::failure::Failure;
use crate::wiring::Folder;

/// A random passphrase of about 128 bits, in groups that can be read aloud.
pub fn random_passphrase() -> String {
    let mut random = [0; 16];
    fill_random(&mut random);
    let letters = data_encoding::BASE32_NOPAD.encode(&random).to_lowercase();
    let groups: Vec<&str> =
        letters.as_bytes().chunks(5).filter_map(|g| std::str::from_utf8(g).ok()).collect();
    groups.join("-")
}

/// Makes the folder and, when it is said who that is, the first administrator. Run
/// again after it was interrupted, it goes on with the administrator.
///
/// # Errors
/// When the folder is in use for something else, or was left unfinished.
pub async fn run(
    dir: &Path,
    store: Option<String>,
    passphrase_file: Option<&Path>,
    wanted: &FirstArguments,
) -> Result<(), Failure> {
    let folder = Folder::at(dir);
    if let Some(url) = &store {
        StoreLocation::parse(url, &folder.store())
            .map_err(|error| Failure::new(format!("--store: {error}")))?;
    }
    for path in [passphrase_file, wanted.credentials.as_deref()].into_iter().flatten() {
        refuse_inside(dir, path)?;
    }
    let passphrase = if folder.is_ours() && wanted.administrator.is_some() {
        eprintln!("{} is a data folder already; its passphrase opens it", dir.display());
        None
    } else {
        refuse_occupied(&folder)?;
        let passphrase = Zeroizing::new(random_passphrase());
        // Known before anything is sealed by it: whatever stops this, nothing is lost.
        println!("The passphrase of the root key, shown once and kept nowhere:");
        println!("    {}", passphrase.as_str());
        println!("Without it nothing in the folder can ever be read again.");
        if let Some(path) = passphrase_file {
            write_private(path, format!("{}\n", passphrase.as_str()).as_bytes())?;
            eprintln!("also in {}", path.display());
        }
        let settings: Vec<_> = store.into_iter().map(|url| ("store.url", url)).collect();
        folder.initialise(&passphrase, &settings)?;
        println!("Made {}.", dir.display());
        Some(passphrase)
    };
    if wanted.administrator.is_some() {
        return first::run(dir, wanted, passphrase).await;
    }
    println!();
    println!("It has no accounts yet; who signs in first makes the others:");
    println!("    holdfast account first --dir {} --administrator jo.moss", dir.display());
    Ok(())
}

fn refuse_occupied(folder: &Folder) -> Result<(), Failure> {
    let path = folder.path();
    let names: Vec<_> = match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| entry.file_name()).collect(),
        Err(_) => return Ok(()),
    };
    if names.is_empty() {
        return Ok(());
    }
    let begun = names
        .iter()
        .all(|name| ["run", "keeper", crate::wiring::UNFINISHED].iter().any(|own| name == own));
    Err(Failure::new(if begun {
        format!(
            "{} was begun and not finished; nothing was kept in it yet: delete it and run this again",
            path.display()
        )
    } else {
        format!("{} exists and is not empty", path.display())
    }))
}
