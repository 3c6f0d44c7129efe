//! `corpora [DIR]`: sends every message and document of the public corpora through
//! detection, splitting, parsing, conversion and validation, as the way in does,
//! and prints what became of them.
//!
//! A refusal with a reason is a good answer. A panic, an answer that takes longer
//! than [`TIME_MAX`], and a file out of which nothing comes are failures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use holdfast_base::OrganizationId;
use holdfast_fhir::{Limits, parse_resource, validate};
use holdfast_intake::{
    Converted, Format, Settings, convert_ccda, convert_fhir, convert_hl7v2, detect, hl7v2, mllp,
    pan,
};

use crate::{Outcome, reference};

/// Longest time that one payload may take. The slowest takes a small part of a
/// second, so this tells a hang from a slow machine.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Reasons that are listed for one set; the others are summed up.
const REASONS_MAX: usize = 6;

/// The families of the corpora and the files of each that are payloads; what else
/// lies there (expected outcomes, notes) is counted as beside.
const FAMILIES: &[(&str, &[&str])] =
    &[("hl7v2", &["hl7", "txt", "bin"]), ("ccda", &["xml"]), ("fhir", &["json"])];

/// What became of one payload.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// Converted; whether everything that came out is valid R4.
    Converted { valid: bool },
    /// Refused, and why; no value of the payload.
    Refused(String),
    /// The thread panicked.
    Panicked,
    /// No answer within [`TIME_MAX`].
    Hung,
    /// The file gave no payload and no reason.
    Vanished,
}

/// The row of one set.
#[derive(Debug, Default)]
struct Tally {
    files: usize,
    beside: usize,
    payloads: usize,
    converted: usize,
    valid: usize,
    reasons: BTreeMap<String, usize>,
    failures: Vec<String>,
}

impl Tally {
    fn count(&mut self, name: &str, fate: Fate) {
        self.payloads += 1;
        match fate {
            Fate::Converted { valid } => {
                self.converted += 1;
                self.valid += usize::from(valid);
            }
            Fate::Refused(reason) => *self.reasons.entry(reason).or_default() += 1,
            Fate::Panicked => self.failures.push(format!("{name}: panicked")),
            Fate::Hung => self.failures.push(format!("{name}: no answer in {TIME_MAX:?}")),
            Fate::Vanished => self.failures.push(format!("{name}: vanished")),
        }
    }

    fn refused(&self) -> usize {
        self.reasons.values().sum()
    }
}

/// Runs the verb.
pub fn run(arguments: &[String]) -> Outcome {
    let folder = match arguments {
        [] => crate::tidy::workspace().join("../shared/corpora"),
        [folder] => PathBuf::from(folder),
        _ => return Err("corpora takes one folder".into()),
    };
    if !folder.is_dir() {
        println!("corpora skipped: there are none at {}", folder.display());
        return Ok(());
    }
    let (mut answered, mut failures) = (0, Vec::new());
    println!(
        "{:32} {:>6} {:>6} {:>8} {:>9} {:>7} {:>7}",
        "set", "files", "beside", "payloads", "converted", "valid", "refused"
    );
    for (family, endings) in FAMILIES {
        for set in subfolders(&folder.join(family))? {
            let tally = tally(&set, family, endings)?;
            print(&format!("{family}/{}", name_of(&set)), &tally);
            answered += tally.payloads - tally.failures.len();
            failures.extend(tally.failures);
        }
    }
    crate::fhirpath_suite::report(&folder)?;
    let official = folder.join("fhir/validator-r4");
    if official.is_dir() {
        failures.extend(reference::report(&official));
    }
    failures.iter().for_each(|failure| println!("FAILED {failure}"));
    println!("{answered} passed, {} failed", failures.len());
    match failures.len() {
        0 => Ok(()),
        count => Err(format!(
            "corpora: {count} payloads panicked, hung or vanished, or differ unexplained"
        )
        .into()),
    }
}

fn tally(set: &Path, family: &str, endings: &[&str]) -> Result<Tally, std::io::Error> {
    let mut tally = Tally::default();
    for path in files(set)? {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let name = name_of(&path);
        // Conformance resources describe interfaces, not patients.
        let conformance = path.components().any(|part| part.as_os_str() == "conformance");
        let expected = family != "fhir" && ending == "json";
        if !endings.contains(&ending) || conformance || expected {
            tally.beside += 1;
            continue;
        }
        tally.files += 1;
        let bytes = std::fs::read(&path)?;
        for fate in fates(bytes) {
            tally.count(&name, fate);
        }
    }
    Ok(tally)
}

fn print(set: &str, tally: &Tally) {
    println!(
        "{set:32} {:>6} {:>6} {:>8} {:>9} {:>7} {:>7}",
        tally.files,
        tally.beside,
        tally.payloads,
        tally.converted,
        tally.valid,
        tally.refused()
    );
    let mut reasons: Vec<_> = tally.reasons.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (reason, count) in reasons.iter().take(REASONS_MAX) {
        println!("{count:>10} × {reason}");
    }
    let others: usize = reasons.iter().skip(REASONS_MAX).map(|(_, count)| **count).sum();
    if others > 0 {
        println!("{others:>10} × for other reasons");
    }
}

/// What becomes of a file: one fate for each of its payloads.
fn fates(bytes: Vec<u8>) -> Vec<Fate> {
    let payloads = match bounded(move || payloads(&bytes)) {
        Ok(payloads) => payloads,
        Err(fate) => return vec![fate],
    };
    if payloads.is_empty() {
        return vec![Fate::Vanished];
    }
    payloads
        .into_iter()
        .map(|payload| bounded(move || fate(&payload)).unwrap_or_else(|f| f))
        .collect()
}

/// Runs `work` on a thread of its own, for at most [`TIME_MAX`]. A thread that
/// hangs is left behind; the process ends soon.
fn bounded<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fate> {
    let (sender, receiver) = mpsc::sync_channel(1);
    // A panic drops the sender, which the receiver tells from a time-out.
    std::thread::spawn(move || drop(sender.send(work())));
    receiver.recv_timeout(TIME_MAX).map_err(|error| match error {
        mpsc::RecvTimeoutError::Timeout => Fate::Hung,
        mpsc::RecvTimeoutError::Disconnected => Fate::Panicked,
    })
}

/// The payloads of a file: MLLP frames are taken off, batches taken apart.
fn payloads(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    if bytes.contains(&0x0B) {
        let mut decoder = mllp::Decoder::default();
        decoder.feed(bytes);
        blocks.extend(std::iter::from_fn(|| decoder.next()).filter_map(Result::ok));
        blocks.extend(decoder.next_without_return());
    }
    if blocks.is_empty() {
        blocks.push(bytes.to_vec());
    }
    let split = |block: Vec<u8>| -> Vec<Vec<u8>> {
        if detect(&block) != Some(Format::Hl7v2) {
            return vec![block];
        }
        hl7v2::split(&block).iter().map(|message| message.to_vec()).collect()
    };
    blocks.into_iter().flat_map(split).collect()
}

/// What becomes of one payload.
fn fate(payload: &[u8]) -> Fate {
    match convert(payload) {
        Ok(converted) => Fate::Converted { valid: is_valid(&converted) },
        Err(reason) => Fate::Refused(reason),
    }
}

/// The steps of the way in, with the reason for a refusal as it is told the sender,
/// places left out so that equal reasons count as equal.
fn convert(payload: &[u8]) -> Result<Converted, String> {
    let (payload, _) = pan::mask(payload);
    let format = detect(&payload).ok_or("the format is not known")?;
    let organization = OrganizationId::new("corpora").map_err(|error| error.to_string())?;
    let settings = Settings::new(organization);
    let converted = match format {
        Format::Hl7v2 => {
            let message = hl7v2::parse(&payload).map_err(|error| error.to_string())?;
            convert_hl7v2(&message, &settings)
        }
        Format::Ccda => convert_ccda(&payload, &settings),
        Format::Fhir => {
            let value = parse_resource(&payload, Limits::default())
                .map_err(|issue| without_place(&issue.diagnostics))?;
            convert_fhir(&value)
        }
    };
    converted.map_err(|refusal| without_place(&refusal.to_string()))
}

/// `… at PID-3`, `…, line 3 column 9`, `… (12)` without the place.
fn without_place(reason: &str) -> String {
    let cut = [" at ", ", line ", " ("].iter().filter_map(|mark| reason.find(mark)).min();
    reason[..cut.unwrap_or(reason.len())].to_owned()
}

fn is_valid(converted: &Converted) -> bool {
    let resources = converted.resources.iter().map(|part| &part.resource);
    converted
        .patient
        .iter()
        .chain(resources.filter(|resource| !resource.is_null()))
        .all(|resource| !validate(resource).iter().any(|issue| issue.is_error()))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn subfolders(folder: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    if !folder.is_dir() {
        println!("skipped: no {}", folder.display());
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "MSH|^~\\&|LAB|ACME|HF|IN|20150526||ADT^A08|7|P|2.5\r\
                           PID|1||77^^^ACME^MR||Roe^Jo\r";

    #[test]
    fn a_good_message_is_converted_to_valid_resources() {
        assert_eq!(fates(MESSAGE.into()), [Fate::Converted { valid: true }]);
    }

    #[test]
    fn a_batch_has_a_fate_for_each_of_its_messages() {
        assert_eq!(fates(MESSAGE.repeat(3).into()).len(), 3);
        let framed = [mllp::frame(MESSAGE.as_bytes()), mllp::frame(MESSAGE.as_bytes())].concat();
        assert_eq!(fates(framed).len(), 2);
    }

    #[test]
    fn what_is_not_converted_says_why() {
        for bytes in [&b"%PDF-1.7"[..], b"", b"{", b"MSH|^~\\&|", b"<ClinicalDocument/>"] {
            assert!(
                matches!(fates(bytes.to_vec())[..], [Fate::Refused(ref why)] if !why.is_empty())
            );
        }
    }

    #[test]
    fn a_panic_is_caught_and_counted_as_a_failure() {
        let panicked = bounded(|| -> u8 { panic!("on purpose, to show that it is caught") });
        assert_eq!(panicked, Err(Fate::Panicked));
        let mut tally = Tally::default();
        tally.count("a.hl7", Fate::Panicked);
        tally.count("b.hl7", Fate::Refused("why".into()));
        assert_eq!((tally.payloads, tally.refused(), tally.failures.len()), (2, 1, 1));
    }
}
