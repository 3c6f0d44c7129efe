//! The ledger at ten million entries: appends, opening, scope, verification.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use holdfast_base::{
    ClassSet, ElementClass, OrganizationId, PatientId, PersonId, PrincipalId, Purpose, SessionId,
    Timestamp,
};
use holdfast_keeper::throwaway_ledger_keys;
use holdfast_ledger::verify::{Policy, verify_path};
use holdfast_ledger::{Action, Actor, Entry, Event, Filter, Ledger, Touch, VerifierKey};

use crate::Failure;
use crate::figure::{Figure, Target};
use crate::rig::{Options, RunClock, folder, now};

const ORIGIN: &str = "bench.example/ledger";
const PRINCIPALS: u64 = 5_000;
const PATIENTS: u64 = 1_000_000;
const ORGANIZATIONS: u64 = 300;
/// Who opens one record in a hundred: a stolen account of an interface.
const THIEF: &str = "sys.engine@org-7";
const THREADS: u64 = 4;
const BATCH: u64 = 512;
/// A record of the baseline.
const RECORD_BYTES: usize = 4096;
/// Records of the baseline that share a sync: as many as entries do here.
const GROUP: usize = (THREADS * BATCH) as usize;

/// Entries are a tenth of a second apart.
const ENTRY_MS: i64 = 100;
const BEGIN_MS: i64 = 1_735_689_600_000;

fn mixed(n: u64, salt: u64) -> u64 {
    let mut x = n.wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

fn principal(n: u64) -> Result<PrincipalId, Failure> {
    Ok(PrincipalId::new(&format!("user.{n:04}@org-{}", n % ORGANIZATIONS))?)
}

fn address(n: u64) -> String {
    format!("10.{}.{}.{}", n % 7, n / 7 % 200, n % 250)
}

/// The n-th entry: who works in it, and whose record, vary; a patient's record lies
/// at one of two organizations.
fn entry(n: u64) -> Result<Entry, Failure> {
    let (who, whose) = (mixed(n, 1) % PRINCIPALS, mixed(n, 2) % PATIENTS);
    let stolen = mixed(n, 3).is_multiple_of(100);
    let kept = (whose + mixed(n, 4) % 8 / 7 * 31) % ORGANIZATIONS;
    let organization = OrganizationId::new(&format!("org-{kept}"))?;
    let patient = PatientId::from_bytes(u128::from(mixed(whose, 5)).to_be_bytes());
    let purpose = Purpose::Treatment;
    let event = match mixed(n, 6) % 100 {
        0..48 => Event::KeyRelease {
            organization,
            patient,
            classes: ClassSet::from_bits(1 + (mixed(n, 7) % 31) as u8),
            purpose,
            reason: "own-organization".to_owned(),
        },
        48..88 => Event::Access {
            organization,
            patient,
            action: [Action::Read, Action::Search, Action::Write][(mixed(n, 8) % 3) as usize],
            purpose,
            relationship: "care-team".to_owned(),
            touches: (0..1 + mixed(n, 9) % 3)
                .map(|touch| Touch {
                    resource_type: ["Observation", "Encounter", "DocumentReference"]
                        [(touch % 3) as usize]
                        .to_owned(),
                    id: format!("{:024x}", mixed(whose * 32 + mixed(n, 10 + touch) % 32, 11)),
                    version: 1,
                    classes: ClassSet::of(ElementClass::ALL[(touch % 5) as usize]),
                })
                .collect(),
        },
        88..98 => Event::PatientProfile {
            organization,
            patient,
            person: PersonId::from_bytes(u128::from(mixed(whose / 2, 12)).to_be_bytes()),
            residence: Some(["IN", "CA", "MA", "TX", "NY"][(whose % 5) as usize].to_owned()),
        },
        _ => Event::Session { change: "opened".to_owned() },
    };
    let at = Timestamp::from_millis(BEGIN_MS + n as i64 * ENTRY_MS);
    let session = mixed(who * 1_000 + n / 200_000, 13);
    let actor = Actor {
        principal: if stolen { PrincipalId::new(THIEF)? } else { principal(who)? },
        session: Some(SessionId::from_bytes(u128::from(session).to_be_bytes())),
        organization: None,
        address: Some(if stolen { "203.0.113.9".to_owned() } else { address(who) }),
    };
    Ok(Entry { at, actor, request: None, event })
}

/// Fills a ledger, four threads at once, a checkpoint each second. Gives the rates of
/// appending and, between, of the disk alone.
fn fill(ledger: &Ledger, dir: &Path, count: u64, rounds: u64) -> Result<[Vec<f64>; 2], Failure> {
    let (mut appended, mut disk) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let (from, to) = (count * round / rounds, count * (round + 1) / rounds);
        disk.push(group_commits(dir)?);
        let next = AtomicU64::new(from);
        let done = AtomicBool::new(false);
        let started = now();
        std::thread::scope(|scope| {
            let publisher = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::thread::park_timeout(Duration::from_secs(1));
                    ledger.publish_checkpoint()?;
                }
                Ok::<(), Failure>(())
            });
            let writers: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        loop {
                            let first = next.fetch_add(BATCH, Ordering::Relaxed);
                            if first >= to {
                                return Ok::<(), Failure>(());
                            }
                            let entries: Vec<Entry> = (first..to.min(first + BATCH))
                                .map(entry)
                                .collect::<Result<_, _>>()?;
                            ledger.append(&entries)?;
                        }
                    })
                })
                .collect();
            for writer in writers {
                writer.join().map_err(|_| "a writer failed")??;
            }
            appended.push((to - from) as f64 / started.elapsed().as_secs_f64());
            done.store(true, Ordering::Relaxed);
            publisher.thread().unpark();
            publisher.join().map_err(|_| "the publisher failed")?
        })?;
    }
    Ok([appended, disk])
}

/// Records of 4 KiB a second that the disk takes, each group with one sync.
fn group_commits(dir: &Path) -> Result<f64, Failure> {
    use std::io::Write;
    let path = dir.join("records");
    let mut file = fs::File::create(&path)?;
    let group = vec![0x5a; RECORD_BYTES * GROUP];
    let (started, mut records) = (now(), 0);
    while started.elapsed() < Duration::from_millis(1_500) {
        file.write_all(&group)?;
        file.sync_data()?;
        records += GROUP;
    }
    let rate = records as f64 / started.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    Ok(rate)
}

/// Memory of this process in MiB, from the system's own account of it.
fn resident_mib() -> Result<f64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
    Ok(kib.ok_or("no account of memory")? / 1024.0)
}

/// The questions that are asked: a name, and a filter for each round.
fn questions(count: u64) -> Result<Vec<(&'static str, Vec<Filter>)>, Failure> {
    let base = || Filter {
        kinds: ["key-release", "access", "delivery"].map(str::to_owned).to_vec(),
        ..Filter::default()
    };
    let at = |part: u64| Timestamp::from_millis(BEGIN_MS + (count / 100 * part) as i64 * ENTRY_MS);
    let rounds = 0..5_u64;
    let principals = rounds
        .clone()
        .map(|n| Ok::<_, Failure>(Filter { principal: Some(principal(17 + n * 900)?), ..base() }));
    let thief = Filter { principal: Some(PrincipalId::new(THIEF)?), ..base() };
    let organizations = rounds.clone().map(|n| {
        let organization = Some(OrganizationId::new(&format!("org-{}", 11 + n * 50))?);
        Ok::<_, Failure>(Filter { organization, ..base() })
    });
    let windows = rounds.clone().map(|n| Filter {
        from: Some(at(10 + n * 15)),
        to: Some(at(11 + n * 15)),
        ..base()
    });
    let addresses = rounds.map(|n| Filter { address: Some(address(23 + n * 777)), ..base() });
    Ok(vec![
        ("scope of a principal", principals.collect::<Result<_, _>>()?),
        ("scope of an address", addresses.collect()),
        ("scope of a stolen account, 1% of all entries", vec![thief; 3]),
        ("scope of an organization", organizations.collect::<Result<_, _>>()?),
        ("scope of a window of time, 1% of all entries", windows.collect()),
    ])
}

/// Every file below `dir`.
fn files(dir: &Path, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for item in fs::read_dir(dir)? {
        let path = item?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// Bytes of what a verifier reads, and how long the library takes to hash them,
/// reading left out.
fn hashed(dir: &Path) -> Result<(f64, f64), Failure> {
    let mut found = Vec::new();
    for part in ["tile", "bodies"] {
        files(&dir.join(part), &mut found)?;
    }
    let (mut bytes_count, mut took) = (0, Duration::ZERO);
    for file in found {
        let bytes = fs::read(file)?;
        let started = now();
        let mut context = Context::new(&SHA256);
        context.update(&bytes);
        std::hint::black_box(context.finish());
        took += started.elapsed();
        bytes_count += bytes.len();
    }
    Ok((bytes_count as f64, took.as_secs_f64()))
}

/// The ledger's figures.
pub fn figures(options: &Options) -> Result<Vec<Figure>, Failure> {
    let count: u64 = if options.quick { 300_000 } else { 10_000_000 };
    let dir = folder()?;
    let path = dir.path().join("ledger");
    let open = |root: [u8; 32]| {
        let keys = throwaway_ledger_keys(root, ORIGIN).ok_or("no name of a log")?;
        Ok::<_, Failure>(Ledger::open(&path, ORIGIN, keys, Arc::new(RunClock::start()))?)
    };
    let row = |name: String, unit, measured, baseline, target| Figure {
        name,
        unit,
        measured,
        baseline,
        target,
    };
    let millions = format!("of {} entries", count);
    let root = [7; 32];
    let ledger = open(root)?;
    let rounds = if options.quick { 2 } else { 10 };
    let [appended, disk] = fill(&ledger, dir.path(), count, rounds)?;
    ledger.publish_checkpoint()?;
    let vkey = VerifierKey::parse(&ledger.vkey())?;
    drop(ledger);
    let mut figures = vec![row(
        "ledger: appends, durable, batched".to_owned(),
        "/s",
        appended,
        disk,
        Target::AtLeast(25_000.0),
    )];

    let before = resident_mib()?;
    let mut opening = Vec::new();
    for _ in 0..2 {
        let started = now();
        drop(open(root)?);
        opening.push(started.elapsed().as_secs_f64());
    }
    let ledger = open(root)?;
    figures.push(row(
        format!("ledger {millions}: open"),
        "s",
        opening,
        vec![],
        Target::AtMost(10.0),
    ));

    let mut wrong = HashSet::new();
    for (name, filters) in questions(count)? {
        let mut took = Vec::new();
        let mut records = 0;
        for filter in filters {
            let started = now();
            let touched = ledger.touched(&filter)?;
            took.push(started.elapsed().as_secs_f64());
            records = records.max(touched.len());
            if touched.is_empty() {
                wrong.insert(name);
            }
        }
        let name = format!("ledger {millions}: {name} (up to {records} records)");
        figures.push(row(name, "s", took, vec![], Target::AtMost(1.0)));
    }
    if !wrong.is_empty() {
        return Err(format!("nothing was found by {wrong:?}").into());
    }
    let grown = (resident_mib()? - before).max(0.0);
    let name = format!("ledger {millions}: memory that opening and scopes add");
    figures.push(row(name, "MiB", vec![grown], vec![], Target::AtMost(512.0)));
    drop(ledger);

    let policy = Policy::new(ORIGIN, vkey);
    let (mut verified, mut baseline) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let (bytes, took) = hashed(&path)?;
        baseline.push(bytes / took / 1e6);
        let started = now();
        let report = verify_path(&path, &policy).map_err(|found| format!("{found:?}"))?;
        verified.push(bytes / started.elapsed().as_secs_f64() / 1e6);
        if report.size != count + 1 {
            return Err("another number of entries was verified".into());
        }
    }
    let name = format!("ledger {millions}: offline verification");
    figures.push(row(name, "MB/s", verified, baseline, Target::Ratio(0.25)));
    Ok(figures)
}
