//! Stops the key table, and the root file with it, after every write of every kind
//! of change, reopens them and looks: every key that was given out is there, no
//! change is half done.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::root::OpenRoot;
use crate::root::tests::{PASSPHRASE, write_v1};

const NOW: Timestamp = Timestamp::from_millis(1_780_000_000_000);
const LATER: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn lakeside() -> OrganizationId {
    OrganizationId::new("lakeside").expect("a valid name")
}

/// Every generation of every key, by name.
type Everything = BTreeMap<String, Vec<(u32, [u8; 32])>>;

fn everything(table: &KeyTable, patients: &[PatientId]) -> Everything {
    let mut all = Everything::new();
    for (name, line) in &table.held.read().named {
        let line = line.iter().map(|one| (one.number, *one.secret.bytes())).collect();
        // Wrapping keys are nobody's but the table's: what they wrap counts.
        if !name.ends_with("/wrap") {
            all.insert(name.clone(), line);
        }
    }
    let Some(organization) = table.organization(&lakeside()) else { return all };
    for patient in patients {
        if let Found::Key(keys) = table.find(&organization, *patient).expect("reads") {
            let mut line: Vec<_> = keys.all().map(|(n, secret)| (n, *secret.bytes())).collect();
            line.sort_unstable();
            all.insert(format!("patient {patient}"), line);
        }
    }
    all
}

/// The changes, each as a keeper makes them.
const CHANGES: [&str; 8] = [
    "create-organization",
    "create-patients",
    "forget",
    "rotate-service",
    "rotate-root",
    "rotate-wrap",
    "rotate-patient",
    "retire",
];

fn change(
    what: &str,
    root: &mut OpenRoot,
    table: &KeyTable,
    patients: &[PatientId],
) -> Result<(), Box<dyn std::error::Error>> {
    match what {
        "create-organization" => {
            table.create_organization(&OrganizationId::new("hillside")?, LATER)?;
        }
        "create-patients" => {
            let organization = table.organization(&lakeside()).ok_or("no organization")?;
            let new =
                [1, 2].map(|_| (Arc::clone(&organization), PatientId::random(), Secret::random()));
            table.create(&new, LATER)?;
        }
        "forget" => table.forget(&lakeside(), patients[0])?,
        "rotate-service" => drop(table.rotate("system", LATER)?),
        "rotate-root" => {
            let roots = root.begin_rotation()?.clone();
            table.rewrap_named(&roots, LATER)?;
            root.settle()?;
        }
        "rotate-wrap" => {
            table.rotate(&named::of_organization(&lakeside(), "wrap"), LATER)?;
            rewrap(table, 2)?;
        }
        "rotate-patient" => drop(table.rotate_patient(&lakeside(), patients[1], LATER)?),
        "retire" => {
            table.rotate("ledger-signer", LATER)?;
            table.retire("ledger-signer")?;
        }
        other => unreachable!("{other} is no change"),
    }
    Ok(())
}

/// As the keeper does it at a rotation, and at the start after a crash.
fn rewrap(table: &KeyTable, limit: usize) -> Result<(), TableError> {
    for id in table.organizations_to_rewrap() {
        let mut from = Some(PatientId::NONE);
        while let Some(start) = from {
            from = table.rewrap_patients(&id, start, limit)?.next;
        }
        table.retire(&named::of_organization(&id, "wrap"))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}

fn start(dir: &Path, steps: &Steps) -> Result<(OpenRoot, KeyTable), Box<dyn std::error::Error>> {
    let mut root = OpenRoot::open(dir, PASSPHRASE, steps.clone())?;
    let table = KeyTable::open(&dir.join("keys"), root.roots(), LATER, steps.clone())?;
    root.settle()?;
    Ok((root, table))
}

#[test]
fn stopped_after_any_write_every_key_is_there_and_no_change_is_half_done() {
    let folder = tempfile::tempdir().expect("temp dir");
    let whole = folder.path().join("whole");
    crate::initialise(&whole, PASSPHRASE).expect("initialises");
    let patients = [1, 2, 3, 4, 5].map(|n| PatientId::from_bytes([n; 16]));
    {
        let (_, table) = start(&whole, &Steps::default()).expect("opens");
        let (organization, _) = table.create_organization(&lakeside(), NOW).expect("creates");
        let new = patients.map(|p| (Arc::clone(&organization), p, Secret::random()));
        table.create(&new, NOW).expect("creates");
    }
    for what in CHANGES {
        for stop in 0.. {
            let dir = folder.path().join(format!("{what}-{stop}"));
            copy(&whole, &dir);
            let steps = Steps::stop_after(stop);
            let (before, done) = {
                let (_, table) = start(&dir, &Steps::default()).expect("opens");
                let before = everything(&table, &patients);
                drop(table);
                let (mut root, table) = start(&dir, &steps).expect("needs no write");
                (before, change(what, &mut root, &table, &patients))
            };
            let (root, table) = start(&dir, &Steps::default()).expect("opens after the stop");
            rewrap(&table, 2).expect("goes on");
            let after = everything(&table, &patients);
            for (name, line) in &before {
                let may_go = (what == "forget" && *name == format!("patient {}", patients[0]))
                    || (what == "retire" && name == "ledger-signer");
                let kept = after.get(name).is_some_and(|now| line.iter().all(|g| now.contains(g)));
                assert!(kept || may_go, "{what} stopped after {stop}: {name} is gone");
            }
            assert_eq!(root.roots().newest().number, table.held.read().root.0);
            let wrap = named::of_organization(&lakeside(), "wrap");
            let wraps_count = table.held.read().named[&wrap].len();
            assert_eq!(wraps_count, 1, "{what} stopped after {stop}: wrapped half");
            drop(root);
            let (_, again) = {
                drop(table);
                start(&dir, &Steps::default()).expect("opens again")
            };
            assert_eq!(everything(&again, &patients), after, "the same at the next start");
            if done.is_ok() {
                assert!(stop > 1, "{what} has a write to stop at");
                break;
            }
        }
    }
}

/// The table as the version before this one wrote it.
fn write_layout_1(dir: &Path, root: &Secret, patient: PatientId) -> Everything {
    let database = Database::builder(dir).open().expect("opens");
    let keyspace = |name| database.keyspace(name, KeyspaceCreateOptions::default).expect("opens");
    let (organizations, patients) = (keyspace("organizations"), keyspace("patients"));
    let (key, of_patient) = (Secret::random(), Secret::random());
    let id = lakeside();
    let at = place("holdfast/v1/key/organization", &[id.as_str().as_bytes()]);
    let wrapped = root.derive("holdfast/v1/root/wrap-organizations").seal(&at, key.bytes());
    let wrap = key.derive("holdfast/v1/organization/wrap-patients");
    let mut batch = database.batch().durability(Some(PersistMode::SyncAll));
    batch.insert(&organizations, id.as_str(), wrapped);
    for (patient, secret) in [(patient, &of_patient), (PatientId::NONE, &Secret::random())] {
        let at = [id.as_str().as_bytes(), &patient.as_bytes()[..]];
        let sealed = wrap.seal(&place("holdfast/v1/key/patient", &at), secret.bytes());
        batch.insert(&patients, patient_row(&id, patient), sealed);
    }
    batch.commit().expect("writes");
    let mut all = Everything::new();
    for (name, label) in named::SERVICE {
        all.insert(name.to_owned(), vec![(FIRST, *root.derive(label).bytes())]);
    }
    for (part, label) in named::OF_ORGANIZATION.iter().filter(|(part, _)| *part != "wrap") {
        let name = named::of_organization(&id, part);
        all.insert(name, vec![(FIRST, *key.derive(label).bytes())]);
    }
    all.insert(format!("patient {patient}"), vec![(FIRST, *of_patient.bytes())]);
    all
}

#[test]
fn a_folder_of_the_version_before_keeps_every_key_wherever_its_upgrade_is_stopped() {
    let folder = tempfile::tempdir().expect("temp dir");
    let whole = folder.path().join("whole");
    let (root, patient) = (Secret::random(), PatientId::random());
    write_v1(&whole, &root, PASSPHRASE);
    let keys = write_layout_1(&whole.join("keys"), &root, patient);
    for stop in 0.. {
        let dir = folder.path().join(stop.to_string());
        copy(&whole, &dir);
        let done = start(&dir, &Steps::stop_after(stop)).map(drop);
        let (root, table) = start(&dir, &Steps::default()).expect("opens after the stop");
        assert_eq!(everything(&table, &[patient]), keys, "stopped after {stop}");
        assert!(!root.roots().is_of_layout_1());
        assert_eq!(table.patients_count(), 1);
        // What was imported can be rotated as what was made new.
        table.rotate(&named::of_organization(&lakeside(), "wrap"), LATER).expect("rotates");
        rewrap(&table, 1).expect("wraps again");
        assert_eq!(everything(&table, &[patient]), keys);
        if done.is_ok() {
            assert!(stop > 4, "an upgrade has several writes");
            break;
        }
    }
}
