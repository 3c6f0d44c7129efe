//! What each command does, the larger ones aside.

use std::io::Write as _;
use std::path::Path;

use holdfast_base::Timestamp;
use holdfast_ledger::verify::{Policy, Tampering, Violation, verify_path};
use holdfast_ledger::{Checkpoint, Placed, VerifierKey, in_words};
use serde::Deserialize as _;

use crate::cli::{
    Arguments, Command, LedgerTask, RespondStep, ScopeArguments, ScopeFormat, SignInArguments,
};
use crate::client::{Client, Credential, Credentials};
use crate::config::{Config, OTHER_VARIABLES, SETTINGS};
use crate::failure::Failure;
use crate::wiring::{Folder, SystemClock};
use crate::{
    admin, crypto, demo, drill, forget, grants, init, keys, load, migrate, recovery, serve,
};

/// Does what the command line says.
///
/// # Errors
/// What the person at the terminal should read.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Demo(options) => demo::run(options).await,
        Command::Init { dir, store, passphrase_file, first } => {
            init::run(&dir.dir, store.url, passphrase_file.as_deref(), &first).await
        }
        Command::Serve { dir, store } => serve::serve(&dir.dir, store.url).await,
        Command::Keeper { dir, passphrase_stdin } => {
            serve::keeper(&dir.dir, passphrase_stdin).await
        }
        Command::Sample { patients, seed, format, out } => sample(patients, seed, &format, &out),
        Command::Load { sign_in, certificate, organization, paths } => {
            load::run(&sign_in, certificate.as_deref(), organization.as_deref(), &paths).await
        }
        Command::Token(sign_in) => token(&sign_in).await,
        Command::Drill { attack: _, dir, credentials, victim } => {
            drill::run(&dir.dir, &credentials, victim.as_deref()).await
        }
        Command::Scope { sign_in, query, format } => scope(&sign_in, &query, format).await,
        Command::Incident { sign_in, number } => incident(&sign_in, number).await,
        Command::Respond { step: RespondStep::Draft { sign_in, incident, out } } => {
            draft(&sign_in, incident, &out).await
        }
        Command::Account { task } => admin::accounts::run(task).await,
        Command::Budget(budget) => admin::accounts::set_budget(budget).await,
        Command::Profiles { task } => admin::profiles::run(task).await,
        Command::Organization { task } => admin::organizations::run(task).await,
        Command::Message { task } => admin::messages::run(task).await,
        Command::Grant { step } => grants::run(step).await,
        Command::Bulk { task } => crate::bulk::run(task).await,
        Command::Subscription { task } => crate::subscriptions::run(task).await,
        Command::Ledger { task } => ledger(task).await,
        Command::Migrate { from, to } => migrate::run(&from, &to),
        Command::Witness { task } => crate::witness::run(task).await,
        Command::Keys { dir, task } => keys::run(&dir.dir, task).await,
        Command::Crypto { dir, cbom } => crypto::run(dir.as_deref(), cbom).await,
        Command::Forget { sign_in, organization, patient, reason, confirm } => {
            forget::run(&sign_in, (&organization, &patient), &reason, confirm.as_deref()).await
        }
        Command::Backup { sign_in, to, verify } => recovery::backup(&sign_in, &to, verify).await,
        Command::Restore(arguments) => recovery::restore(&arguments).await,
        Command::Config => {
            print_config();
            Ok(())
        }
    }
}

/// Makes `out` and writes files below it.
///
/// # Errors
/// When it is there and not empty, or cannot be written.
pub fn write_files(
    out: &Path,
    files: impl Iterator<Item = (impl AsRef<Path>, impl AsRef<[u8]>)>,
) -> Result<usize, Failure> {
    if out.exists() && std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::new(format!("{} exists and is not empty", out.display())));
    }
    let mut count = 0;
    for (name, bytes) in files {
        let path = out.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Failure::io("create", folder, &e))?;
        }
        crate::client::write_private(&path, bytes.as_ref())?;
        count += 1;
    }
    Ok(count)
}

fn sample(patients: u32, seed: u64, format: &str, out: &Path) -> Result<(), Failure> {
    let options = holdfast_sample::Options { patients, seed, ..Default::default() };
    let count = match format {
        // One at a time: whole records of many persons fit no memory.
        "fhir" => write_files(out, holdfast_sample::charts(&options))?,
        _ => write_files(out, holdfast_sample::files(&options).into_iter())?,
    };
    println!("{count} files of {patients} persons in {} (seed {seed})", out.display());
    Ok(())
}

/// A signed-in client, by token, credentials file or questions.
///
/// # Errors
/// When none of them works.
pub async fn signed_in(arguments: &SignInArguments, roles: &[&str]) -> Result<Client, Failure> {
    let config = Config::read(&arguments.dir.dir)?;
    let client = Client::of_folder(&arguments.dir.dir, &config)?;
    if let Ok(token) = std::env::var("HOLDFAST_TOKEN")
        && arguments.user.is_none()
        && arguments.credentials.is_none()
    {
        return Ok(client.with_token(token.into()));
    }
    if let Some(path) = &arguments.credentials {
        let credentials = Credentials::read(path)?;
        let person = pick(&credentials, arguments.user.as_deref(), roles)
            .ok_or_else(|| Failure::new(format!("{} has nobody who fits", path.display())))?;
        return client.sign_in_as(person, &SystemClock).await;
    }
    let user = match &arguments.user {
        Some(user) => user.clone(),
        None => ask("User: ")?,
    };
    let no_terminal =
        |_| Failure::new("no terminal to ask on: give --credentials or HOLDFAST_TOKEN");
    let password = rpassword::prompt_password("Password: ").map_err(no_terminal)?;
    let code = ask("Code: ")?;
    client.sign_in(&user, &password, code.trim()).await
}

fn pick<'a>(
    credentials: &'a Credentials,
    user: Option<&str>,
    roles: &[&str],
) -> Option<&'a Credential> {
    match user {
        Some(user) => credentials.of_user(user),
        None => roles.iter().find_map(|role| credentials.with_role(role)),
    }
}

/// Asks on the terminal.
///
/// # Errors
/// When there is none.
pub fn ask(question: &str) -> Result<String, Failure> {
    eprint!("{question}");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    if !matches!(read, Ok(bytes) if bytes > 0) {
        return Err(Failure::new("no terminal to ask on"));
    }
    Ok(line.trim().to_owned())
}

async fn token(sign_in: &SignInArguments) -> Result<(), Failure> {
    let client = signed_in(sign_in, &["clinician"]).await?;
    if let Some(token) = client.token() {
        println!("{}", token.expose());
    }
    Ok(())
}

pub(crate) fn query_string(query: &ScopeArguments) -> Result<String, Failure> {
    let mut pairs = Vec::new();
    let mut push = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            let encoded: String = value
                .bytes()
                .map(|b| match b {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                        (b as char).to_string()
                    }
                    other => format!("%{other:02X}"),
                })
                .collect();
            pairs.push(format!("{name}={encoded}"));
        }
    };
    for (name, value) in [("from", &query.from), ("to", &query.to)] {
        if let Some(text) = value {
            text.parse::<Timestamp>().map_err(|_| {
                Failure::new(format!(
                    "--{name} must be a time such as 2026-05-07T00:00:00Z, not {text:?}"
                ))
            })?;
        }
        push(name, value);
    }
    push("principal", &query.principal);
    push("session", &query.session);
    push("token", &query.token);
    push("address", &query.address);
    push("organization", &query.organization);
    Ok(pairs.join("&"))
}

pub(crate) const OFFICE: &[&str] = &["privacy-officer", "security-officer"];

async fn scope(
    sign_in: &SignInArguments,
    query: &ScopeArguments,
    format: ScopeFormat,
) -> Result<(), Failure> {
    let query = query_string(query)?;
    if query.is_empty() {
        return Err(Failure::new(
            "say whose: --principal, --token, --session, --address, --from or --to",
        ));
    }
    let client = signed_in(sign_in, OFFICE).await?;
    let format = match format {
        ScopeFormat::Text => "text",
        ScopeFormat::Csv => "csv",
        ScopeFormat::Json => "json",
    };
    let answer = client.get(&format!("/ops/scope?{query}&format={format}")).await?.accepted()?;
    print!("{}", String::from_utf8_lossy(&answer.body));
    Ok(())
}

async fn incident(sign_in: &SignInArguments, number: Option<u64>) -> Result<(), Failure> {
    let client = signed_in(sign_in, OFFICE).await?;
    match number {
        Some(number) => {
            let answer =
                client.get(&format!("/ops/incidents/{number}")).await?.accepted()?.json()?;
            println!("{}", serde_json::to_string_pretty(&answer).unwrap_or_default());
        }
        None => {
            let answer = client.get("/ops/incidents").await?.accepted()?.json()?;
            let incidents = answer["incidents"].as_array().cloned().unwrap_or_default();
            if incidents.is_empty() {
                println!("no incidents");
            }
            for incident in incidents {
                println!(
                    "{:>4}  {}  {:<16} {}",
                    incident["id"],
                    incident["opened"].as_str().unwrap_or_default(),
                    incident["status"].as_str().unwrap_or_default(),
                    incident["principal"].as_str().unwrap_or_default(),
                );
            }
        }
    }
    Ok(())
}

async fn draft(sign_in: &SignInArguments, incident: u64, out: &Path) -> Result<(), Failure> {
    let client = signed_in(sign_in, &["privacy-officer"]).await?;
    let answer = client
        .post_json(&format!("/ops/incidents/{incident}/draft"), &serde_json::json!({}))
        .await?
        .accepted()?
        .json()?;
    let mut files = Vec::new();
    for file in answer["files"].as_array().into_iter().flatten() {
        let path = file["path"].as_str().unwrap_or_default().to_owned();
        let safe = !path.is_empty()
            && Path::new(&path)
                .components()
                .all(|part| matches!(part, std::path::Component::Normal(_)));
        let bytes =
            data_encoding::BASE64.decode(file["base64"].as_str().unwrap_or_default().as_bytes());
        match bytes {
            Ok(bytes) if safe => files.push((path, bytes)),
            _ => return Err(Failure::new("the exchange sent a file that cannot be written")),
        }
    }
    let count = write_files(out, files.iter().map(|(path, bytes)| (path.as_str(), &bytes[..])))?;
    println!("{count} drafts in {}", out.display());
    if let Some((_, text)) = files.iter().find(|(path, _)| path == "deadlines.txt") {
        println!();
        print!("{}", String::from_utf8_lossy(text));
    }
    Ok(())
}

async fn ledger(task: LedgerTask) -> Result<(), Failure> {
    match task {
        LedgerTask::Verify { path, policy } => verify(&path, &policy),
        LedgerTask::Policy { sign_in, out } => {
            let client = signed_in(&sign_in, OFFICE).await?;
            let state = client.get("/ops/ledger/state").await?.accepted()?.json()?;
            let text = |name: &str| state[name].as_str().unwrap_or_default().to_owned();
            let key = VerifierKey::parse(&text("verifier_key"))
                .map_err(|_| Failure::new("the exchange gave no verifier key"))?;
            let checkpoint = Checkpoint::parse(&text("checkpoint"), serve::ORIGIN, &key)
                .map_err(|_| Failure::new("the exchange gave no checkpoint of its own"))?;
            let mut policy = Policy::new(serve::ORIGIN, key).having_seen(&checkpoint);
            if let Ok(second) = VerifierKey::parse(&text("second_key")) {
                policy = policy.with_log_key(second);
            }
            crate::client::write_private(&out, policy.to_toml().as_bytes())?;
            println!("{} trusts the log as of {} entries", out.display(), state["size"]);
            Ok(())
        }
        LedgerTask::Prove { sign_in, entry, size, consistency } => {
            let mut query = match (entry, consistency.as_deref()) {
                (Some(entry), None) => format!("entry={entry}"),
                (None, Some([from, to])) => format!("from={from}&size={to}"),
                _ => return Err(Failure::new("say --entry N, or --consistency A B")),
            };
            if let Some(size) = size {
                query.push_str(&format!("&size={size}"));
            }
            let client = signed_in(&sign_in, OFFICE).await?;
            let answer = client.get(&format!("/ops/ledger/proof?{query}")).await?.accepted()?;
            println!("{}", String::from_utf8_lossy(&answer.body));
            Ok(())
        }
        LedgerTask::Entries { sign_in, query, patient, kind, after, limit, words } => {
            let mut query = query_string(&query)?;
            if let Some(patient) = patient {
                query.push_str(&format!("&patient={patient}"));
            }
            if !kind.is_empty() {
                query.push_str(&format!("&kind={}", kind.join(",")));
            }
            query.push_str(&format!("&after={}", after.map_or(-1, |n| n as i64)));
            query.push_str(&format!("&limit={limit}"));
            let client = signed_in(&sign_in, OFFICE).await?;
            let path = format!("/ops/ledger/entries?{query}");
            let answer = client.get(&path).await?.accepted()?.json()?;
            for placed in answer["entries"].as_array().into_iter().flatten() {
                match Placed::deserialize(placed) {
                    Ok(Placed { index, entry }) if words => println!("{}", in_words(index, &entry)),
                    // An entry of a newer exchange is shown as it came.
                    _ => println!("{placed}"),
                }
            }
            if let Some(next) = answer["next"].as_u64() {
                eprintln!("there are more: --after {next}");
            }
            Ok(())
        }
        LedgerTask::Reconcile { sign_in, from, to, state } => {
            crate::reconcile::run(&sign_in, from, to, state).await
        }
        LedgerTask::Evidence { sign_in, query, policy, witnessed, out } => {
            let policy = policy.as_deref().map(read_policy).transpose()?;
            let seen = policy.as_ref().and_then(|policy| policy.seen).map(|seen| seen.size);
            let witnessed = witnessed || policy.is_some_and(|p| p.witnesses_required > 0);
            let client = signed_in(&sign_in, OFFICE).await?;
            let mut query = query_string(&query)?;
            if let Some(size) = seen {
                query.push_str(&format!("&seen={size}"));
            }
            if witnessed {
                query.push_str("&witnessed=true");
            }
            let answer = client.get(&format!("/ops/ledger/bundle?{query}")).await?.accepted()?;
            crate::client::write_private(&out, &answer.body)?;
            println!(
                "{}: {} bytes; check it with `holdfast ledger verify`",
                out.display(),
                answer.body.len()
            );
            Ok(())
        }
    }
}

/// Reads a policy file.
///
/// # Errors
/// When it cannot be read or is none.
pub fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::io("read", path, &e))?;
    Policy::parse(&text)
        .map_err(|error| Failure::new(format!("{} is no policy: {error}", path.display())))
}

fn verify(path: &Path, policy: &Path) -> Result<(), Failure> {
    let policy = read_policy(policy)?;
    let folder = Folder::at(path);
    let path = if folder.is_ours() { folder.ledger() } else { path.to_owned() };
    match verify_path(&path, &policy) {
        Ok(report) => {
            println!("verified: {report}");
            Ok(())
        }
        Err(violations) => {
            for violation in &violations {
                println!("VIOLATION {violation}");
            }
            let unwitnessed = |v: &Violation| matches!(v.what, Tampering::Witnesses { .. });
            let verdict = match violations.iter().all(unwitnessed) {
                true => {
                    "not verified: it holds together, and too few witnesses vouch for it".into()
                }
                false => format!("{} violation(s): this was tampered with", violations.len()),
            };
            Err(Failure::negative(verdict))
        }
    }
}

fn print_config() {
    println!(
        "Settings of {} in the data folder; the environment goes over the file.\n",
        crate::config::FILE_NAME
    );
    for setting in SETTINGS {
        let default = if setting.default.is_empty() { "(empty)" } else { setting.default };
        println!(
            "{}  [{}]\n    default {default}\n    {}\n",
            setting.key, setting.variable, setting.meaning
        );
    }
    println!("Other environment variables:\n");
    for (name, meaning) in OTHER_VARIABLES {
        println!("{name}\n    {meaning}\n");
    }
}
