//! P13: keys rotate, move, are escrowed and recovered by the built command, while it
//! serves and while it does not; and P7, P9 after a patient was forgotten.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{Demo, holdfast, holdfast_with, text, told};
use holdfast::client::Client;

const MODULES: [&str; 2] =
    ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
const PIN: &str = "87654321";

/// A new data folder, with its passphrase in a file beside it.
struct Fresh {
    outside: tempfile::TempDir,
}

impl Fresh {
    fn make() -> Self {
        let outside = tempfile::Builder::new().prefix("hf").tempdir().unwrap();
        let fresh = Self { outside };
        let made = holdfast(&["init", "--dir", fresh.at("data").to_str().unwrap()]);
        assert!(made.status.success(), "{}", told(&made));
        let shown = text(&made);
        let passphrase = shown.lines().find_map(|line| line.strip_prefix("    ")).unwrap();
        std::fs::write(fresh.at("passphrase"), passphrase.trim()).unwrap();
        fresh
    }

    fn at(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    fn keys(&self, arguments: &[&str]) -> Output {
        keys(&self.at("data"), &self.at("passphrase"), arguments, &[])
    }
}

fn keys(dir: &Path, secret: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let all = [&["keys", "--dir", dir.to_str().unwrap()], arguments].concat();
    let secret = [("HOLDFAST_PASSPHRASE_FILE", secret.to_str().unwrap())];
    holdfast_with(&all, &[&secret, environment].concat())
}

fn works(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", text(output), told(output));
    text(output)
}

/// The generation that the status shows of the key, the newest first.
fn generation(status: &str, key: &str) -> u32 {
    let lines = status.lines().filter_map(|line| line.strip_prefix(key));
    let numbers = lines.filter_map(|rest| rest.split_whitespace().next()?.parse().ok());
    numbers.max().unwrap_or_else(|| panic!("{key} is not in {status}"))
}

#[test]
fn p13_root_and_service_keys_rotate_and_the_passphrase_changes_while_nothing_runs() {
    let fresh = Fresh::make();
    let before = works(&fresh.keys(&["status"]));
    assert!(before.contains("NO KIT") && before.contains("Memory:"), "{before}");
    for key in ["root", "system", "mpi-seal", "ledger-signer", "ledger-bodies", "marks", "people"] {
        assert_eq!(generation(&before, key), 1);
        works(&fresh.keys(&["rotate", key]));
    }
    let after = works(&fresh.keys(&["status"]));
    for key in ["root", "system", "mpi-seal", "ledger-signer", "ledger-bodies", "marks", "people"] {
        assert_eq!(generation(&after, key), 2, "{key}");
    }
    works(&fresh.keys(&["retire-signer"]));

    let refused = fresh.keys(&["rotate", "mpi-token"]);
    assert!(told(&refused).contains("equality tokens"), "{}", told(&refused));
    let refused = fresh.keys(&["rotate", "no-such-key"]);
    assert!(!refused.status.success());

    let new = fresh.at("new");
    std::fs::write(&new, "password1234\n").unwrap();
    let change = ["change-passphrase", "--new-passphrase-file", new.to_str().unwrap()];
    let weak = fresh.keys(&change);
    assert!(told(&weak).contains("guessed"), "{}", told(&weak));
    std::fs::write(&new, "paper walrus trumpet seventeen\n").unwrap();
    works(&fresh.keys(&change));
    let old = fresh.keys(&["status"]);
    assert!(told(&old).contains("passphrase is wrong"), "{}", told(&old));
    works(&keys(&fresh.at("data"), &new, &["status"], &[]));

    let ring = works(&holdfast(&["crypto"]));
    assert!(ring.contains("XAES-256-GCM") && ring.contains("aws-lc-rs"), "{ring}");
    let data = fresh.at("data");
    let bom = holdfast_with(
        &["crypto", "--cbom", "--dir", data.to_str().unwrap()],
        &[("HOLDFAST_PASSPHRASE_FILE", new.to_str().unwrap())],
    );
    let bom: serde_json::Value = serde_json::from_str(&works(&bom)).unwrap();
    let components = bom["components"].as_array().unwrap();
    let key = components.iter().find(|one| one["name"] == "system/2").unwrap();
    let material = &key["cryptoProperties"]["relatedCryptoMaterialProperties"];
    assert_eq!((&material["state"], &material["size"]), (&"active".into(), &256.into()));
}

#[test]
fn p14_a_lost_root_key_and_passphrase_come_back_from_the_kit() {
    let fresh = Fresh::make();
    let out = fresh.at("kit");
    works(&fresh.keys(&[
        "escrow",
        "--needed",
        "2",
        "--shares",
        "3",
        "--out",
        out.to_str().unwrap(),
    ]));
    let status = works(&fresh.keys(&["status"]));
    assert!(status.contains("2 of 3 shares"), "{status}");
    std::fs::remove_file(fresh.at("data/keeper/root.key")).unwrap();
    let new = fresh.at("new");
    std::fs::write(&new, "paper walrus trumpet seventeen\n").unwrap();
    let share = |n: u8| out.join(format!("share-{n}.txt")).to_str().unwrap().to_owned();
    let recover = |shares: &[String]| {
        let mut all = vec!["recover"];
        all.extend(shares.iter().map(String::as_str));
        all.extend(["--new-passphrase-file", new.to_str().unwrap()]);
        fresh.keys(&all)
    };
    let few = recover(&[share(2)]);
    assert!(told(&few).contains("2 different shares are needed"), "{}", told(&few));
    works(&recover(&[share(3), share(1)]));
    let status = works(&keys(&fresh.at("data"), &new, &["status"], &[]));
    assert_eq!(generation(&status, "system"), 1);

    // A kit of before a rotation is told from one that fits.
    works(&keys(&fresh.at("data"), &new, &["rotate", "root"], &[]));
    std::fs::remove_file(fresh.at("data/keeper/root.key")).unwrap();
    let stale = recover(&[share(1), share(2)]);
    assert!(told(&stale).contains("after the last rotation"), "{}", told(&stale));
}

/// The patient whose record the tests read, by a message that anybody could send.
fn load_patient(demo: &Demo, number: &str) {
    let file = demo.outside(&format!("{number}.hl7"));
    let message = format!(
        "MSH|^~\\&|A|EARLY|C|D|20260101||ADT^A04^ADT_A01|{number}|P|2.5.1\rPID|1||{number}^^^EARLY^MR||Early^Erin||19700101|F\r"
    );
    std::fs::write(&file, message).unwrap();
    let certificate = demo.certificates.join("hl7v2@lakeside-family.pem");
    let loaded = demo.run(&[
        "load",
        "--certificate",
        certificate.to_str().unwrap(),
        "--organization",
        "lakeside-family",
        file.to_str().unwrap(),
    ]);
    assert!(text(&loaded).contains("1 accepted"), "{}{}", text(&loaded), told(&loaded));
}

struct Doctor {
    runtime: tokio::runtime::Runtime,
    user: String,
    client: Client,
}

impl Doctor {
    fn of(demo: &Demo) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let people = demo.people();
        // The demo signs in as the first one.
        let is_right = |one: &&holdfast::client::Credential| {
            one.role == "clinician" && one.organization == "lakeside-family"
        };
        let person = people.people.iter().rfind(is_right).unwrap();
        let client = runtime.block_on(demo.client_of(&person.user));
        Self { runtime, user: person.user.clone(), client }
    }

    /// Status of the answer, and the ids of the patients in it.
    fn read(&self) -> (u16, Vec<String>) {
        let path = "/fhir/lakeside-family/Patient?family=early";
        let answer = self.runtime.block_on(self.client.get(path)).unwrap();
        let found = answer.json().ok();
        let entries = found.and_then(|bundle| bundle["entry"].as_array().cloned());
        let id = |entry: &serde_json::Value| Some(entry["resource"]["id"].as_str()?.to_owned());
        (answer.status, entries.into_iter().flatten().filter_map(|entry| id(&entry)).collect())
    }
}

#[test]
fn p13_every_level_rotates_under_a_running_exchange_and_a_forgotten_patient_stays_counted() {
    let demo = Demo::make(1);
    let serving = demo.serve();
    load_patient(&demo, "E1");
    let doctor = Doctor::of(&demo);
    let (status, patients) = doctor.read();
    assert_eq!((status, patients.len()), (200, 1));
    let keys = |arguments: &[&str]| keys(&demo.dir, &demo.passphrase, arguments, &[]);
    let wrong = holdfast_with(
        &["keys", "--dir", demo.dir.to_str().unwrap(), "rotate", "root"],
        &[("HOLDFAST_PASSPHRASE", "not the passphrase at all")],
    );
    assert!(told(&wrong).contains("passphrase or PIN is wrong"), "{}", told(&wrong));

    let privacy = demo.user_with("privacy-officer");
    let policy = demo.outside("before.toml");
    let policy = policy.to_str().unwrap();
    works(&demo.run_as(&privacy, &["ledger", "policy", "--out", policy]));
    for key in ["root", "system", "mpi-seal", "ledger-bodies", "ledger-signer", "people"] {
        works(&keys(&["rotate", key]));
        assert_eq!(doctor.read().0, 200, "after rotating {key}");
    }
    // Passwords, codes and sessions of before are good, and new sessions open.
    assert!(demo.run(&["token", "--user", "colleen.prendergast"]).status.success());
    let wrapped = works(&keys(&["rotate", "organization/lakeside-family/wrap"]));
    assert!(wrapped.contains("wrapped again"), "{wrapped}");
    works(&keys(&["rotate", "organization/lakeside-family/inbox"]));
    // What arrives now is sealed by the new generations, and what was there opens.
    load_patient(&demo, "E2");
    assert_eq!(doctor.read(), (200, doctor.read().1));
    assert_eq!(doctor.read().1.len(), 2, "one sealed before, one after");

    // Both signers sign: the policy of before still verifies.
    let ledger = demo.dir.join("keeper/ledger");
    let verify = |policy: &str| {
        holdfast(&["ledger", "verify", ledger.to_str().unwrap(), "--policy", policy])
    };
    works(&verify(policy));

    let patient = patients[0].as_str();
    let forget = |more: &[&str]| {
        let named = ["forget", "--organization", "lakeside-family", "--patient", patient];
        let reason = ["--reason", "asked for by the patient"];
        demo.run_as(&privacy, &[&named[..], &reason, more].concat())
    };
    let unsure = forget(&["--confirm", "00000000"]);
    assert!(!unsure.status.success(), "another code forgets nobody");
    works(&forget(&["--confirm", "yes"]));
    assert_eq!(doctor.read().1.len(), 1, "the other one");
    let gone = doctor
        .runtime
        .block_on(doctor.client.get(&format!("/fhir/lakeside-family/Patient/{patient}")));
    assert_eq!(gone.unwrap().status, 404);
    assert!(!forget(&["--confirm", "yes"]).status.success(), "there is nobody to forget any more");

    let after = demo.outside("after.toml");
    let after = after.to_str().unwrap();
    works(&keys(&["retire-signer"]));
    works(&demo.run_as(&privacy, &["ledger", "policy", "--out", after]));
    assert!(serving.stop());
    works(&verify(after));
    assert_eq!(verify(policy).status.code(), Some(1), "the former key signs no more");

    // Everything is there after a restart, under keys that are not those of before.
    let serving = demo.serve();
    let scope = ["scope", "--principal", &doctor.user, "--format", "json"];
    let scope = demo.run_as(&privacy, &scope);
    let scope: serde_json::Value = serde_json::from_str(&works(&scope)).unwrap();
    assert_eq!(scope["totals"]["patients"], 2, "the forgotten one counts: {scope}");
    let status = works(&keys(&["status"]));
    assert_eq!(generation(&status, "root"), 2);
    assert_eq!(generation(&status, "people"), 2);
    assert_eq!(generation(&status, "organization/lakeside-family/wrap"), 2);
    // Principals and sessions that the former generation sealed are open, too.
    assert_eq!(doctor.read().0, 200);
    assert!(demo.run(&["token", "--user", "desmond.achterberg"]).status.success());
    assert!(serving.stop());
}

/// A token of SoftHSM in a folder of its own.
struct Hsm {
    folder: tempfile::TempDir,
    module: &'static str,
}

impl Hsm {
    /// Nothing where SoftHSM is not installed; that is a failure in CI.
    fn make() -> Option<Self> {
        let module = MODULES.into_iter().find(|module| Path::new(module).exists());
        let Some(module) = module else {
            assert!(std::env::var_os("CI").is_none(), "CI needs softhsm2");
            println!("skipped: softhsm2 is not installed");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("hsm").tempdir().unwrap();
        let hsm = Self { folder, module };
        std::fs::create_dir(hsm.tokens()).unwrap();
        let conf = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            hsm.tokens().display()
        );
        std::fs::write(hsm.conf(), conf).unwrap();
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", "exchange"])
            .args(["--so-pin", "12345678", "--pin", PIN])
            .env("SOFTHSM2_CONF", hsm.conf())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", told(&made));
        Some(hsm)
    }

    fn tokens(&self) -> PathBuf {
        self.folder.path().join("tokens")
    }

    fn conf(&self) -> PathBuf {
        self.folder.path().join("softhsm2.conf")
    }

    fn pull_out(&self) {
        std::fs::rename(self.tokens(), self.folder.path().join("away")).unwrap();
        std::fs::create_dir(self.tokens()).unwrap();
    }

    fn put_back(&self) {
        std::fs::remove_dir_all(self.tokens()).unwrap();
        std::fs::rename(self.folder.path().join("away"), self.tokens()).unwrap();
    }
}

/// Asks until `right` holds, for a minute at most.
fn until(what: &str, mut right: impl FnMut() -> bool) {
    for _ in 0..300 {
        if right() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    panic!("{what} did not come");
}

#[test]
fn p03_without_the_token_nothing_starts_and_no_key_is_released_until_it_is_back() {
    let Some(hsm) = Hsm::make() else { return };
    let demo = Demo::make(1);
    let conf = hsm.conf();
    let environment = [("SOFTHSM2_CONF", conf.to_str().unwrap())];
    let keys = |arguments: &[&str]| keys(&demo.dir, &demo.passphrase, arguments, &environment);
    let pin = demo.outside("pin");
    std::fs::write(&pin, PIN).unwrap();
    let moving = |token: &str| {
        keys(&[
            "move-to-token",
            "--module",
            hsm.module,
            "--token",
            token,
            "--pin-file",
            pin.to_str().unwrap(),
        ])
    };
    let missing = moving("another");
    assert!(told(&missing).contains("no token with the label"), "{}", told(&missing));
    works(&moving("exchange"));
    let old = keys(&["status"]);
    assert!(told(&old).contains("wrong"), "the passphrase opens nothing now: {}", told(&old));
    std::fs::write(&demo.passphrase, "00000000").unwrap();
    assert!(told(&keys(&["status"])).contains("wrong"), "a wrong PIN");
    std::fs::write(&demo.passphrase, PIN).unwrap();
    let status = works(&keys(&["status"]));
    assert!(status.contains("PKCS#11 token \"exchange\""), "{status}");

    // Missing at the start.
    hsm.pull_out();
    let away = keys(&["status"]);
    assert!(told(&away).contains("shows no token"), "{}", told(&away));
    hsm.put_back();

    // Pulled out while it serves.
    let serving = demo.serve_with(&environment);
    load_patient(&demo, "E1");
    let doctor = Doctor::of(&demo);
    hsm.pull_out();
    until("the keeper's notice", || text(&keys(&["status"])).contains("AWAY"));
    let (refused, _) = doctor.read();
    assert_eq!(refused, 503, "no token, no key, no bytes");
    hsm.put_back();
    until("the token's return", || !text(&keys(&["status"])).contains("AWAY"));
    assert_eq!(doctor.read().0, 200);
    // The keeper's own alerts are for the office of those who run the exchange.
    let officer = demo.user_with("security-officer");
    let bundle = demo.outside("b");
    let export = ["ledger", "evidence", "--out", bundle.to_str().unwrap()];
    works(&demo.run_as(&officer, &export));
    let bundle = std::fs::read_to_string(demo.outside("b")).unwrap();
    for told in ["root-guard", "no key is released", "keys are released again"] {
        assert!(bundle.contains(told), "the ledger does not say {told:?}");
    }

    // A new root under the token, and back to a passphrase.
    works(&keys(&["rotate", "root"]));
    assert_eq!(doctor.read().0, 200);
    let new = demo.outside("new");
    std::fs::write(&new, "paper walrus trumpet seventeen").unwrap();
    works(&keys(&["change-passphrase", "--new-passphrase-file", new.to_str().unwrap()]));
    assert!(serving.stop());
    std::fs::copy(&new, &demo.passphrase).unwrap();
    assert!(works(&keys(&["status"])).contains("sealed by passphrase"));
}
