//! `holdfast backup` and `holdfast restore`.

use std::path::Path;
use std::sync::Arc;

use holdfast_backup::{BackupError, Missing, Moment, Source, Target, wrapped_key};
use holdfast_base::{CommitNumber, PrincipalId, disk};
use holdfast_keeper::{Offline, StartError, SystemKey, backup_key};
use holdfast_ledger::Actor;

use crate::cli::{RestoreArguments, SignInArguments};
use crate::commands::signed_in;
use crate::config::{self, Config};
use crate::failure::{Failure, chain};
use crate::serve::ORIGIN;
use crate::wiring::{self, Folder, SystemClock};

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        Self::new(chain(&error))
    }
}

/// Asks the running exchange for a backup, or reads and proves those that are there.
///
/// # Errors
/// One sentence for the person at the terminal.
pub async fn backup(sign_in: &SignInArguments, to: &str, verify: bool) -> Result<(), Failure> {
    if verify {
        let folder = Folder::at(&sign_in.dir.dir);
        let verified = open(to, &folder).await?.verify().await?;
        println!(
            "whole: {} backups, {} objects; {} commits linked, the content of {} hashed again; {} \
             ledger entries",
            verified.backups_count,
            verified.objects_count,
            verified.commits_count,
            verified.hashed_count,
            verified.entries_count
        );
        return Ok(());
    }
    // The server works in a folder of its own.
    let to = match to.contains("://") {
        true => to.to_owned(),
        false => std::path::absolute(to)
            .map_err(|error| Failure::io("find", Path::new(to), &error))?
            .display()
            .to_string(),
    };
    let client = signed_in(sign_in, &["administrator", "security-officer"]).await?;
    let body = serde_json::json!({ "to": to });
    let report = client.post_json("/ops/backup", &body).await?.accepted()?.json()?;
    println!(
        "backup {} in {to}: up to commit {}, {} commits more; {} ledger entries; {} objects, {} bytes \
         written",
        report["number"],
        report["commit"],
        report["commits"],
        report["entries"],
        report["objects"],
        report["bytes"]
    );
    Ok(())
}

async fn open(target: &str, folder: &Folder) -> Result<Source, Failure> {
    wiring::install_tls_provider();
    let target = Target::parse(target, false)?;
    let wrapped = wrapped_key(&target).await?;
    let passphrase = wiring::passphrase(&Config::read(folder.path())?)?;
    let dir = folder.keeper();
    let opening =
        tokio::task::spawn_blocking(move || backup_key(&dir, passphrase.as_bytes(), &wrapped));
    let key: SystemKey = match opening.await {
        Ok(Ok(key)) => key,
        Ok(Err(StartError::KeyTable { .. })) => return Err(BackupError::OtherKeeper.into()),
        Ok(Err(StartError::WrongPassphrase)) => {
            return Err(Failure::new(
                "the passphrase is wrong: the root key does not open with it",
            ));
        }
        Ok(Err(error)) => return Err(Failure::new(chain(&error))),
        Err(_) => return Err(Failure::new("internal fault: a thread ended")),
    };
    Ok(Source::open(target, key).await?)
}

/// Makes a data folder from a backup.
///
/// # Errors
/// One sentence for the person at the terminal.
pub async fn restore(arguments: &RestoreArguments) -> Result<(), Failure> {
    let folder = Folder::at(&arguments.to);
    if let Some(url) = &arguments.store {
        // Before anything is made.
        holdfast_store::StoreLocation::parse(url, &folder.store())
            .map_err(|error| Failure::new(chain(&error)))?;
    }
    prepare(&folder, arguments.root_key.as_deref())?;
    let moment: Moment = arguments.at.parse()?;
    let source = open(&arguments.from, &folder).await?;
    let newest = source.newest().await?;
    for made in source.restore_keeper(&newest, &folder.keeper()).await? {
        println!("{made}: restored from backup {}", newest.number);
    }
    let passphrase = wiring::passphrase(&Config::read(folder.path())?)?;
    let dir = folder.keeper();
    let opening = tokio::task::spawn_blocking(move || {
        let clock = Arc::new(SystemClock);
        let keeper = Offline::open(&dir, ORIGIN, passphrase.as_bytes(), clock)?;
        let acknowledged = keeper.acknowledged()?;
        Ok::<_, StartError>((keeper, acknowledged))
    });
    let opened = opening.await.map_err(|_| Failure::new("internal fault: a thread ended"))?;
    let (keeper, acknowledged) = opened.map_err(|error| Failure::new(chain(&error)))?;
    println!("ledger: {} entries, whole by its signed checkpoint", keeper.ledger_len());

    let plan = source.plan(moment, &acknowledged).await?;
    let missing = plan.missing(&acknowledged);
    let reason = arguments.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    if let Some(missing) = &missing {
        println!("the ledger is ahead of this moment. Missing: {missing}");
        if reason.is_none() {
            return Err(ahead(missing, plan.commit));
        }
    }
    let store = folder.store();
    let (commit, chain) = source.restore_store(&plan, &store, &acknowledged).await?;
    println!("store: commit {commit}, every commit linked, equal to what the ledger acknowledged");
    if let (Some(missing), Some(reason)) = (missing, reason) {
        record(&keeper, arguments, commit, chain, &missing, reason)?;
        println!("written into the ledger: restored to commit {commit} from {}", missing.to);
    }
    if let Some(url) = &arguments.store {
        drop(keeper);
        let to = arguments.to.display().to_string();
        let (url, home) = (url.clone(), to.clone());
        let moving = tokio::task::spawn_blocking(move || crate::migrate::run(&home, &url));
        moving.await.map_err(|_| Failure::new("internal fault: a thread ended"))??;
        println!(
            "restored into the database; with store.url set, `holdfast serve --dir {to}` serves it"
        );
        return Ok(());
    }
    println!("restored; `holdfast serve --dir {}` serves it", folder.path().display());
    Ok(())
}

fn ahead(missing: &Missing, commit: u64) -> Failure {
    Failure::new(format!(
        "the ledger acknowledged {missing}; at commit {commit} the store would lack them. To go back all \
         the same give --reason: it is written into the ledger, and senders must send again what is \
         missing"
    ))
}

fn record(
    keeper: &Offline,
    arguments: &RestoreArguments,
    commit: CommitNumber,
    chain_value: String,
    missing: &Missing,
    reason: &str,
) -> Result<(), Failure> {
    let principal = PrincipalId::new(&arguments.by)
        .map_err(|_| Failure::new(format!("--by {:?} is no name of an account", arguments.by)))?;
    let actor = Actor { principal, session: None, organization: None, address: None };
    let seen = CommitNumber(missing.to);
    keeper
        .record_restored(&actor, commit, chain_value, seen, reason)
        .map_err(|error| Failure::new(chain(&error)))
}

/// The folder with the root key, and nothing that a restore would write over.
fn prepare(folder: &Folder, root_key: Option<&Path>) -> Result<(), Failure> {
    let store = folder.store();
    if store.join("format").exists() {
        return Err(Failure::new(format!(
            "{} holds a store; restore into an empty folder, or move that store away first",
            folder.path().display()
        )));
    }
    for dir in [folder.path().to_owned(), folder.keeper(), folder.path().join("run")] {
        disk::make_folder(&dir).map_err(|error| Failure::io("create", &dir, &error))?;
    }
    let own = folder.keeper().join("root.key");
    if let Some(from) = root_key
        && !own.exists()
    {
        let bytes = std::fs::read(from).map_err(|error| Failure::io("read", from, &error))?;
        disk::write_file(&own, &bytes, true).map_err(|error| Failure::io("write", &own, &error))?;
    }
    if !own.exists() {
        return Err(Failure::new(format!(
            "{} is missing: a backup never holds it; give your own copy with --root-key",
            own.display()
        )));
    }
    let settings = folder.path().join(config::FILE_NAME);
    if !settings.exists() {
        disk::write_file(&settings, config::documented(&[]).as_bytes(), false)
            .map_err(|error| Failure::io("write", &settings, &error))?;
    }
    Ok(())
}
