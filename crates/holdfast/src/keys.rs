//! `holdfast keys`: what keys there are, and changing them: against the keeper
//! that runs, or one that is started for the moment.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_base::{OrganizationId, PatientId};
use holdfast_keeper::{
    KeeperClient, KeeperError, KeysStatus, NewGuard, RotatedKey, recover, weakness,
};
use zeroize::Zeroizing;

use crate::cli::{KeysTask, NewPassphrase};
use crate::config::Config;
use crate::failure::{Failure, chain};
use crate::wiring::{self, Folder, KeeperProcess};

/// How often wrapping again is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const DAY_MS: i64 = 24 * 3_600_000;

/// A keeper to ask, with the passphrase that changes are asked with.
struct Asked {
    client: KeeperClient,
    secret: Zeroizing<String>,
    /// When none was running.
    started: Option<KeeperProcess>,
}

impl Asked {
    async fn of(folder: &Folder) -> Result<Self, Failure> {
        let config = Config::read(folder.path())?;
        let secret = wiring::passphrase(&config)?;
        let client = KeeperClient::with_timeout(folder.socket(), Duration::from_secs(60));
        let started = match client.keys_status().await {
            Ok(_) => None,
            Err(KeeperError::Unreachable) => {
                Some(KeeperProcess::start(folder, secret.clone()).await?)
            }
            Err(error) => return Err(told(&error)),
        };
        Ok(Self { client, secret, started })
    }

    async fn end(self) {
        if let Some(keeper) = self.started {
            keeper.stop().await;
        }
    }
}

fn told(error: &KeeperError) -> Failure {
    Failure::new(chain(error))
}

/// Does what the command line says.
///
/// # Errors
/// What the person at the terminal should read.
pub async fn run(dir: &Path, task: KeysTask) -> Result<(), Failure> {
    let folder = Folder::at(dir);
    if !folder.is_ours() {
        return Err(Failure::new(format!("{} is no data folder", dir.display())));
    }
    if let KeysTask::Recover { shares, new } = task {
        return recovered(&folder, &shares, &new).await;
    }
    let asked = Asked::of(&folder).await?;
    let done = change(&asked, task).await;
    asked.end().await;
    done
}

async fn change(asked: &Asked, task: KeysTask) -> Result<(), Failure> {
    let (client, secret) = (&asked.client, asked.secret.as_bytes());
    match task {
        KeysTask::Status => {
            print_status(&status(client).await?);
        }
        KeysTask::Rotate { key, reason } => {
            let rotated = parse_key(&key)?;
            let begun = Instant::now(); // tidy: clock, a stop watch for the person who waits
            let generation = client.rotate_key(secret, rotated, &reason).await;
            let generation = generation.map_err(|error| told(&error))?;
            println!("{key}: generation {generation} seals from now on.");
            if key.ends_with("/wrap") {
                wait_for_rewrapping(client, begun).await?;
            }
            if key == "ledger-signer" {
                println!("Checkpoints carry the signatures of both keys now. Write a policy with");
                println!("`holdfast ledger policy` for everybody who verifies, and then run");
                println!("`holdfast keys retire-signer`.");
            }
            if key == "root" {
                println!("A recovery kit of before does not recover this root: make a new one");
                println!("with `holdfast keys escrow`.");
            }
        }
        KeysTask::RetireSigner { reason } => {
            let generation = client.retire_signer(secret, &reason).await;
            let generation = generation.map_err(|error| told(&error))?;
            println!("Generation {generation} alone signs from now on.");
        }
        KeysTask::ChangePassphrase { new, reason } => {
            let passphrase = new_passphrase(&new)?;
            let guard = NewGuard::Passphrase(passphrase.as_bytes());
            client.change_guard(secret, guard, &reason).await.map_err(|error| told(&error))?;
            println!("The root key opens with the new passphrase from now on.");
            println!("Copies of root.key from before still open with the one of before:");
            println!("rotate the root key too if that one may be known to somebody.");
        }
        KeysTask::MoveToToken { module, token, pin_file, reason } => {
            let pin = match &pin_file {
                Some(path) => read_secret(path)?,
                None => ask_secret("PIN of the token: ")?,
            };
            let guard = NewGuard::Token { module: &module, token: &token, pin: pin.as_bytes() };
            client.change_guard(secret, guard, &reason).await.map_err(|error| told(&error))?;
            println!("The root key is wrapped by a key in the token {token:?} from now on;");
            println!("starts ask for its PIN where they asked for the passphrase.");
        }
        KeysTask::Escrow { needed, shares, out, reason } => {
            if out.exists() {
                return Err(Failure::new(format!("{} exists already", out.display())));
            }
            let texts = client.escrow(secret, (needed, shares), &reason).await;
            let texts = texts.map_err(|error| told(&error))?;
            let named: Vec<_> =
                (1..).zip(&texts).map(|(n, text)| (format!("share-{n}.txt"), text)).collect();
            let files = named.iter().map(|(name, text)| (name.as_str(), text.as_bytes()));
            crate::commands::write_files(&out, files)?;
            println!("{shares} shares in {}; any {needed} recover the root key.", out.display());
            println!("Print them, give each to another holder, and delete the files.");
        }
        KeysTask::Recover { .. } => {}
    }
    Ok(())
}

async fn status(client: &KeeperClient) -> Result<KeysStatus, Failure> {
    client.keys_status().await.map_err(|error| told(&error))
}

fn parse_key(key: &str) -> Result<RotatedKey, Failure> {
    if key == "root" {
        return Ok(RotatedKey::Root);
    }
    let Some(rest) = key.strip_prefix("patient/") else {
        return Ok(RotatedKey::Named(key.to_owned()));
    };
    let parsed = rest.split_once('/').and_then(|(organization, patient)| {
        let organization = OrganizationId::new(organization).ok()?;
        Some(RotatedKey::Patient(organization, patient.parse::<PatientId>().ok()?))
    });
    parsed.ok_or_else(|| Failure::new("a patient's key is named patient/ORGANIZATION/ID"))
}

async fn wait_for_rewrapping(client: &KeeperClient, begun: Instant) -> Result<(), Failure> {
    let mut patients_count = 0;
    loop {
        let rewrapping = status(client).await?.rewrapping;
        match rewrapping.iter().map(|(_, count)| *count).max() {
            Some(count) => patients_count = patients_count.max(count),
            None => break,
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    println!(
        "All patients are wrapped again ({:.1} s, {patients_count} seen on the way); the key of before is destroyed.",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Prints keys, guard, kit and due dates.
pub fn print_status(status: &KeysStatus) {
    println!("Root key: {}", status.guard);
    match &status.guard_away {
        None => println!("          it is there"),
        Some(why) => println!("          AWAY, no key is released: {why}"),
    }
    println!(
        "Memory:   {}",
        match status.memory_locked {
            true => "locked: the keeper's pages do not reach swap",
            false => "NOT locked: turn swap off or encrypt it, or allow the keeper to lock memory",
        }
    );
    match status.kit {
        Some(kit) => println!(
            "Recovery: kit of {} for generation {}, {} of {} shares",
            kit.created.date(),
            kit.generation,
            kit.needed,
            kit.shares
        ),
        None => println!("Recovery: NO KIT; `holdfast keys escrow` makes one"),
    }
    let root = status.lines.iter().find(|line| line.name == "root");
    if let (Some(kit), Some(root)) = (status.kit, root)
        && kit.generation != root.generation
    {
        println!("          IT IS OF AN OLDER ROOT: make a new one");
    }
    for (organization, count) in &status.rewrapping {
        println!("Wrapping patients of {organization} again: {count} so far");
    }
    println!();
    println!("{:<44} {:>10}  {:<12} due", "key", "generation", "made");
    for line in &status.lines {
        let made = line.created.map_or("not known".to_owned(), |at| at.date().to_string());
        let due = match status.due_at(line) {
            Some(due) if due <= status.now => "DUE NOW".to_owned(),
            Some(due) => {
                format!("{} ({} days)", due.date(), due.millis_since(status.now) / DAY_MS)
            }
            None if !line.newest => "opens only".to_owned(),
            None => "not rotated".to_owned(),
        };
        println!("{:<44} {:>10}  {made:<12} {due}", line.name, line.generation);
    }
}

/// Recovers the root from shares, and lets a keeper prove that it opens the table.
async fn recovered(folder: &Folder, paths: &[PathBuf], new: &NewPassphrase) -> Result<(), Failure> {
    let texts: Vec<Zeroizing<String>> =
        paths.iter().map(|path| read_text(path)).collect::<Result<_, _>>()?;
    let client = KeeperClient::new(folder.socket());
    if client.keys_status().await.is_ok() {
        return Err(Failure::new("a keeper runs on this folder: stop it first"));
    }
    let passphrase = new_passphrase(new)?;
    let shares: Vec<&str> = texts.iter().map(|text| text.as_str()).collect();
    recover(&folder.keeper(), &shares, passphrase.as_bytes())
        .map_err(|error| Failure::new(chain(&error)))?;
    let keeper = KeeperProcess::start(folder, passphrase.clone()).await?;
    let noted = client.note_recovery(passphrase.as_bytes(), "recovered from a kit").await;
    keeper.stop().await;
    noted.map_err(|error| told(&error))?;
    println!("The root key is recovered and opens with the new passphrase.");
    Ok(())
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::io("read", path, &e))?;
    Ok(Zeroizing::new(text))
}

fn read_secret(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = read_text(path)?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn ask_secret(question: &str) -> Result<Zeroizing<String>, Failure> {
    rpassword::prompt_password(question)
        .map(Zeroizing::new)
        .map_err(|_| Failure::new("no terminal to ask on: give the secret in a file"))
}

/// The new passphrase: from the file, or asked for twice.
fn new_passphrase(new: &NewPassphrase) -> Result<Zeroizing<String>, Failure> {
    let passphrase = match &new.new_passphrase_file {
        Some(path) => read_secret(path)?,
        None => {
            let first = ask_secret("New passphrase: ")?;
            if *first != *ask_secret("Again: ")? {
                return Err(Failure::new("the two are not the same"));
            }
            first
        }
    };
    match weakness(passphrase.as_bytes()) {
        Some(why) => Err(Failure::new(why)),
        None => Ok(passphrase),
    }
}
