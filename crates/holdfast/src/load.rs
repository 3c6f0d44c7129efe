//! `holdfast load`: files and folders of files through the real door.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use holdfast_exchange::{Format, detect};

use crate::cli::SignInArguments;
use crate::client::Client;
use crate::commands::signed_in;
use crate::config::Config;
use crate::failure::Failure;
use crate::tls::Identity;

/// Largest file that is sent: what the door takes.
const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Sends every file below `paths` and says what became of each.
///
/// # Errors
/// When nothing can be sent at all; exit code 1 when something was refused.
pub async fn run(
    sign_in: &SignInArguments,
    certificate: Option<&Path>,
    organization: Option<&str>,
    paths: &[PathBuf],
) -> Result<(), Failure> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    if files.is_empty() {
        return Err(Failure::new("there are no files to send"));
    }
    let client = match certificate {
        Some(path) => {
            let config = Config::read(&sign_in.dir.dir)?;
            Client::of_system(&sign_in.dir.dir, &config, &Identity::read(path)?)?
        }
        None => signed_in(sign_in, &["registrar", "clinician", "nurse"]).await?,
    };
    let organization = match organization {
        Some(organization) => organization.to_owned(),
        None => own_organization(&client).await?,
    };
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for file in &files {
        for told in send(&client, &organization, file).await? {
            println!("{:<10} {}{}", told.outcome, file.display(), told.detail);
            *outcomes.entry(told.outcome).or_default() += 1;
        }
    }
    let summary: Vec<_> = outcomes.iter().map(|(name, count)| format!("{count} {name}")).collect();
    println!("{} files: {}", files.len(), summary.join(", "));
    let bad = ["refused", "unsent"].iter().filter_map(|name| outcomes.get(*name)).sum::<usize>();
    if bad > 0 {
        return Err(Failure::negative(format!("{bad} payload(s) did not become part of a record")));
    }
    Ok(())
}

/// What became of one payload.
struct Told {
    outcome: String,
    detail: String,
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let facts = std::fs::metadata(path).map_err(|error| Failure::io("read", path, &error))?;
    if !facts.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(|error| Failure::io("read", path, &error))?;
    let mut below: Vec<_> = entries.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
    below.sort();
    below.iter().try_for_each(|path| collect(path, files))
}

async fn own_organization(client: &Client) -> Result<String, Failure> {
    let status = client.get("/ops/status").await?.accepted()?.json()?;
    let organization = status["caller"]["organization"].as_str();
    organization.map(str::to_owned).ok_or(Failure::new("say which --organization sends"))
}

async fn send(client: &Client, organization: &str, file: &Path) -> Result<Vec<Told>, Failure> {
    let size = std::fs::metadata(file).map_err(|e| Failure::io("read", file, &e))?.len();
    if size > FILE_BYTES_MAX {
        return Ok(vec![Told { outcome: "unsent".into(), detail: ": larger than 32 MB".into() }]);
    }
    let bytes = std::fs::read(file).map_err(|error| Failure::io("read", file, &error))?;
    let payloads = match detect(&bytes) {
        _ if is_ndjson(file) => ndjson_lines(&bytes),
        Some(_) => vec![bytes],
        None => {
            let detail = ": neither HL7 v2, C-CDA nor FHIR".into();
            return Ok(vec![Told { outcome: "unsent".into(), detail }]);
        }
    };
    let mut told = Vec::new();
    for payload in payloads {
        let content_type = match detect(&payload) {
            Some(Format::Hl7v2) => "application/hl7-v2",
            Some(Format::Ccda) => "application/xml",
            _ => "application/fhir+json",
        };
        let answer = client.post(&format!("/intake/{organization}"), content_type, payload).await?;
        told.extend(read_answer(answer.accepted()?.json()?));
    }
    Ok(told)
}

fn is_ndjson(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "ndjson")
}

fn ndjson_lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let lines = bytes.split(|byte| *byte == b'\n');
    lines.map(|line| line.trim_ascii().to_vec()).filter(|line| !line.is_empty()).collect()
}

fn read_answer(answer: serde_json::Value) -> Vec<Told> {
    let admissions = answer["admissions"].as_array().cloned().unwrap_or_default();
    admissions
        .iter()
        .map(|admission| {
            let mut detail = String::new();
            if let Some(reason) = admission["reason"].as_str() {
                detail = format!(": {reason}");
            }
            let written = admission["written"].as_array().map_or(0, Vec::len);
            if written > 0 {
                detail.push_str(&format!("  ({written} resources)"));
            }
            let outcome = admission["outcome"].as_str().unwrap_or("unsent").to_owned();
            Told { outcome, detail }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_line_of_ndjson_is_a_payload_of_its_own() {
        let lines = super::ndjson_lines(b"{\"a\":1}\r\n\n{\"b\":2}");
        assert_eq!(lines, [b"{\"a\":1}".to_vec(), b"{\"b\":2}".to_vec()]);
    }
}
