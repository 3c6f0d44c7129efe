//! `holdfast demo`: a whole exchange in one command, through its real doors.

mod community;
mod present;
pub mod stream;

use std::sync::Arc;

use holdfast_exchange::Ask;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::admin::first::operator_name;
use crate::cli::DemoArguments;
use crate::client::{Client, Credentials, refuse_inside, write_private};
use crate::commands::ask;
use crate::config::Config;
use crate::failure::Failure;
use crate::init::random_passphrase;
use crate::serve::{run_doors, stop_signal};
use crate::tls::Authority;
use crate::wiring::{self, Folder, KeeperProcess, SystemClock};

/// Record numbers that are looked up to find one that is still in use.
const EXAMPLES_TRIED: usize = 6;

/// Runs the demo.
///
/// # Errors
/// One sentence about what keeps it from running.
pub async fn run(options: DemoArguments) -> Result<(), Failure> {
    let folder = Folder::at(&options.dir);
    make_room(&folder, options.yes)?;
    let secrets = [&options.credentials, &options.passphrase_file, &options.certificates];
    for path in secrets.into_iter().flatten() {
        refuse_inside(&options.dir, path)?;
    }
    let passphrase = random_passphrase();
    let mut settings = vec![
        ("server.https", options.https.to_string()),
        ("server.mllp", options.mllp.to_string()),
    ];
    settings.extend(options.store.url.clone().map(|url| ("store.url", url)));
    folder.initialise(&passphrase, &settings)?;
    if let Some(path) = &options.passphrase_file {
        write_private(path, format!("{passphrase}\n").as_bytes())?;
    }
    let config = Config::read(&options.dir)?;
    wiring::start_logging(&config);

    let keeper = KeeperProcess::start(&folder, Zeroizing::new(passphrase.clone())).await?;
    let exchange = wiring::open_exchange(&folder, &config).await?;
    let outcome = async {
        let authority = Authority::of(&exchange, folder.path()).await?;
        let operator =
            exchange.set_up(operator_name()).map_err(|error| Failure::new(error.to_string()))?;
        let community = holdfast_sample::community();
        let people =
            community::create(&exchange, &Ask::new(operator), &community, &authority).await?;
        let credentials = Credentials { people: people.credentials.clone() };
        if let Some(path) = &options.credentials {
            credentials.write(path)?;
        }
        if let Some(folder) = &options.certificates {
            community::write_certificates(folder, &people)?;
        }

        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, listening) = oneshot::channel::<()>();
        let doors = {
            let (exchange, folder, config) =
                (Arc::clone(&exchange), folder.clone(), config.clone());
            tokio::spawn(async move {
                let announce = move |_: &holdfast_server::Bound| {
                    let _ = ready.send(());
                };
                let stop = async move {
                    let _ = stopped.await;
                };
                run_doors(&exchange, &folder, &config, announce, stop).await
            })
        };
        if listening.await.is_err() {
            return doors.await.unwrap_or_else(|_| Err(Failure::new("the doors did not open")));
        }
        let shown = show(&options, &config, &community, &people, &credentials, &passphrase).await;
        if shown.is_ok() && !options.exit {
            stop_signal().await;
            eprintln!("\nstopping");
        }
        let _ = stop.send(());
        let served = doors.await.unwrap_or_else(|_| Err(Failure::new("the doors failed")));
        shown.and(served)
    }
    .await;
    drop(exchange);
    keeper.stop().await;
    outcome
}

/// Loads the stream and says how to go on.
async fn show(
    options: &DemoArguments,
    config: &Config,
    community: &holdfast_sample::Community,
    people: &community::People,
    credentials: &Credentials,
    passphrase: &str,
) -> Result<(), Failure> {
    let sample = holdfast_sample::Options {
        patients: options.patients,
        seed: options.seed,
        ..Default::default()
    };
    let summary = stream::send(&options.dir, config, people, &sample).await?;
    let anonymous = Client::of_folder(&options.dir, config)?;
    let security = credentials
        .with_role("security-officer")
        .ok_or(Failure::new("the community has no security officer"))?;
    let watcher = anonymous.clone().sign_in_as(security, &SystemClock).await?;
    let counts = watcher.get("/ops/status").await?.accepted()?.json()?;
    community::plant_honey(&options.dir, config, community, people, &watcher).await?;
    present::summary(&summary, &counts["counts"]);
    let clinician =
        credentials.with_role("clinician").ok_or(Failure::new("the community has no clinician"))?;
    let reader = anonymous.sign_in_as(clinician, &SystemClock).await?;
    let example = example(&sample, &reader, &clinician.organization).await?;
    present::welcome(options, community, credentials, passphrase, &reader, clinician, &example);
    Ok(())
}

/// Somebody of the clinician's organization, for the requests that are printed. Looked
/// up by number, as staff do: listing everybody meets honey.
async fn example(
    sample: &holdfast_sample::Options,
    reader: &Client,
    organization: &str,
) -> Result<present::Example, Failure> {
    let truth = holdfast_sample::stream(sample).truth;
    let own =
        truth.iter().filter(|row| row.organization == organization && row.merged_into.is_none());
    for row in own.take(EXAMPLES_TRIED) {
        let form = format!("identifier={}", row.record_number).into_bytes();
        let search = format!("/fhir/{organization}/Patient/_search");
        let answer = reader.post(&search, "application/x-www-form-urlencoded", form).await?;
        if let Some(patient) = answer.accepted()?.json()?["entry"][0]["resource"]["id"].as_str() {
            let record_number = row.record_number.clone();
            return Ok(present::Example { record_number, patient: patient.to_owned() });
        }
    }
    Ok(present::Example { record_number: "none".into(), patient: "none".into() })
}

/// Makes sure that the folder is free, and replaces an older demo only if told to.
fn make_room(folder: &Folder, yes: bool) -> Result<(), Failure> {
    let path = folder.path();
    let occupied = path.exists()
        && std::fs::read_dir(path).map_err(|e| Failure::io("read", path, &e))?.next().is_some();
    if !occupied {
        return Ok(());
    }
    if !folder.is_ours() {
        return Err(Failure::new(format!(
            "{} is not empty and no data folder of Holdfast; choose another with --dir",
            path.display()
        )));
    }
    let sure = yes || {
        let answer = ask(&format!("{} exists. Delete it and begin anew? [y/N] ", path.display()))?;
        answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes")
    };
    if !sure {
        return Err(Failure::new(format!(
            "left {0} as it is; `holdfast serve --dir {0}` continues it",
            path.display()
        )));
    }
    std::fs::remove_dir_all(path).map_err(|error| Failure::io("delete", path, &error))
}
