//! The README's tour, and what the command says when something is wrong.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Demo, copy, holdfast, text, told};
use holdfast::client::Client;
use holdfast::wiring::SystemClock;

fn json(output: &std::process::Output) -> serde_json::Value {
    serde_json::from_str(&text(output))
        .unwrap_or_else(|_| panic!("{}{}", text(output), told(output)))
}

/// One exchange serves all of it: making one takes longer than using it.
#[test]
fn the_tour_works_as_the_readme_shows_it() {
    let demo = Demo::make(60);
    assert!(demo.shown.contains("accepted"), "{}", demo.shown);
    assert!(!demo.shown.contains("refused"), "the demo's own messages are all accepted");
    let serving = demo.serve();

    loading_is_idempotent_and_says_what_became_of_each_file(&demo);
    let principal = the_drill_is_detected_and_contained(&demo);
    the_scope_says_whom_it_reached(&demo, &principal);
    notices_are_drafted(&demo);
    the_ledger_verifies_and_tampering_is_found(&demo);
    a_second_server_on_the_folder_is_refused(&demo);

    assert!(serving.stop(), "Ctrl-C ends it cleanly");
    a_wrong_passphrase_is_one_clear_sentence(&demo);
}

fn loading_is_idempotent_and_says_what_became_of_each_file(demo: &Demo) {
    let files = demo.outside("files");
    std::fs::create_dir_all(files.join("below")).unwrap();
    let options = holdfast_sample::Options { patients: 9, seed: 77, ..Default::default() };
    let items = holdfast_sample::stream(&options).items;
    let of_lakeside: Vec<_> = items
        .iter()
        .filter(|item| item.interface.as_str() == "hl7v2@lakeside-family")
        .take(8)
        .collect();
    std::fs::write(files.join("one.hl7"), &of_lakeside[0].bytes).unwrap();
    let batch: Vec<u8> = of_lakeside[1..].iter().flat_map(|item| item.bytes.clone()).collect();
    std::fs::write(files.join("below").join("batch.hl7"), batch).unwrap();
    let patient = r#"{"resourceType":"Patient","identifier":[{"system":"urn:x","value":"N1"}]}"#;
    std::fs::write(
        files.join("lines.ndjson"),
        format!("{patient}\n\n{}\n", patient.replace("N1", "N2")),
    )
    .unwrap();

    let certificate = demo.certificates.join("hl7v2@lakeside-family.pem");
    let arguments =
        ["load", "--certificate", certificate.to_str().unwrap(), files.to_str().unwrap()];
    let first = demo.run(&arguments);
    assert!(first.status.success(), "{}{}", text(&first), told(&first));
    assert!(text(&first).contains("3 files: 10 accepted"), "{}", text(&first));
    let second = demo.run(&arguments);
    assert!(text(&second).contains("3 files: 10 duplicate"), "{}", text(&second));

    std::fs::write(files.join("broken.hl7"), "MSH|^~\\&|A|B|C|D|2026||ADT^A01|Q|P|2.5\rPV1|1|I\r")
        .unwrap();
    std::fs::write(files.join("photo.raw"), [0_u8, 1, 2, 3]).unwrap();
    let third = demo.run(&arguments);
    assert_eq!(third.status.code(), Some(1), "something did not become part of a record");
    assert!(
        text(&third).contains("1 refused") && text(&third).contains("1 unsent"),
        "{}",
        text(&third)
    );
}

fn the_drill_is_detected_and_contained(demo: &Demo) -> String {
    let drill = demo.run(&["drill", "mie-2015"]);
    let story = text(&drill);
    assert!(drill.status.success(), "{story}{}", told(&drill));
    for part in ["tester", "injections", "suspended", "copies the data folder", "Suspended "] {
        assert!(story.contains(part), "the timeline lacks {part:?}: {story}");
    }
    demo.people().with_role("clinician").unwrap().user.clone()
}

/// Who answers for it at the practice whose doctor's token was stolen.
fn office(demo: &Demo) -> String {
    demo.user_with("privacy-officer")
}

fn the_scope_says_whom_it_reached(demo: &Demo, principal: &str) {
    let scope =
        json(&demo.run_as(&office(demo), &["scope", "--principal", principal, "--format", "json"]));
    let rows = scope["rows"].as_array().unwrap();
    assert!(!rows.is_empty());
    assert_eq!(scope["totals"]["patients"], rows.len());
    let csv =
        text(&demo.run_as(&office(demo), &["scope", "--principal", principal, "--format", "csv"]));
    assert_eq!(csv.lines().count(), rows.len() + 1, "a header and a row for each record");
    let nobody = json(
        &demo.run_as(&office(demo), &["scope", "--principal", "dr.nobody", "--format", "json"]),
    );
    assert_eq!(nobody["totals"]["patients"], 0);
    let unclear = demo.run(&["scope"]);
    assert_eq!(unclear.status.code(), Some(2));
}

fn notices_are_drafted(demo: &Demo) {
    let out = demo.outside("notices");
    let drafted = demo.run_as(
        &office(demo),
        &["respond", "draft", "--incident", "1", "--out", out.to_str().unwrap()],
    );
    assert!(drafted.status.success(), "{}", told(&drafted));
    assert!(out.join("deadlines.txt").is_file() && out.join("index.txt").is_file());
    let letters = std::fs::read_dir(out.join("letters")).unwrap().count();
    assert!(letters > 0, "somebody is told");
    let again = demo.run_as(
        &office(demo),
        &["respond", "draft", "--incident", "1", "--out", out.to_str().unwrap()],
    );
    assert_eq!(again.status.code(), Some(2), "drafts are never written over");
}

fn the_ledger_verifies_and_tampering_is_found(demo: &Demo) {
    let policy = demo.outside("policy.toml");
    let policy = policy.to_str().unwrap();
    assert!(demo.run_as(&office(demo), &["ledger", "policy", "--out", policy]).status.success());
    let bundle = demo.outside("evidence.bundle");
    let bundle = bundle.to_str().unwrap();
    let made =
        demo.run_as(&office(demo), &["ledger", "evidence", "--policy", policy, "--out", bundle]);
    assert!(made.status.success(), "{}", told(&made));
    let verified = holdfast(&["ledger", "verify", bundle, "--policy", policy]);
    assert!(verified.status.success(), "{}", text(&verified));

    let stolen = demo.outside("ledger");
    copy(&demo.dir.join("keeper").join("ledger"), &stolen);
    let whole = holdfast(&["ledger", "verify", stolen.to_str().unwrap(), "--policy", policy]);
    assert!(whole.status.success(), "{}", text(&whole));
    let tile = stolen.join("tile").join("0").join("000");
    let tile = if tile.is_file() { tile } else { stolen.join("checkpoint") };
    let mut bytes = std::fs::read(&tile).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&tile, bytes).unwrap();
    let changed = holdfast(&["ledger", "verify", stolen.to_str().unwrap(), "--policy", policy]);
    assert_eq!(changed.status.code(), Some(1), "{}", text(&changed));
    assert!(text(&changed).contains("VIOLATION"));
}

fn a_second_server_on_the_folder_is_refused(demo: &Demo) {
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["serve", "--dir", demo.dir.to_str().unwrap()])
        .env("HOLDFAST_PASSPHRASE_FILE", &demo.passphrase)
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(2), "{}", told(&second));
    assert_eq!(told(&second).trim().lines().count(), 1, "one sentence: {}", told(&second));
}

fn a_wrong_passphrase_is_one_clear_sentence(demo: &Demo) {
    let wrong = std::process::Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["serve", "--dir", demo.dir.to_str().unwrap()])
        .env("HOLDFAST_PASSPHRASE", "open sesame")
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(told(&wrong).contains("passphrase is wrong"), "{}", told(&wrong));
    assert_eq!(told(&wrong).trim().lines().count(), 1, "{}", told(&wrong));
}

/// A registration of somebody who is called `name`.
fn registration(name: &str) -> String {
    format!(
        "MSH|^~\\&|A|{name}|C|D|20260101||ADT^A04^ADT_A01|{name}1|P|2.5.1\r\
         PID|1||{name}1^^^{name}^MR||{name}^Lara||19700101|F\r"
    )
}

#[test]
fn without_a_keeper_reads_fail_closed_and_intake_goes_on() {
    let demo = Demo::make(4);
    let serving = demo.serve();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let people = demo.people();
    let (doctor, certificate) = (
        people.with_role("clinician").unwrap(),
        demo.certificates.join("hl7v2@lakeside-family.pem"),
    );
    let arguments = [
        "load",
        "--certificate",
        certificate.to_str().unwrap(),
        "--organization",
        "lakeside-family",
    ];
    let early = demo.outside("early.hl7");
    std::fs::write(&early, registration("EARLY")).unwrap();
    let accepted = demo.run(&[&arguments[..], &[early.to_str().unwrap()]].concat());
    assert!(text(&accepted).contains("1 accepted"), "{}{}", text(&accepted), told(&accepted));
    // Somebody in particular: whoever lists everybody meets a honey record.
    let path = format!("/fhir/{}/Patient?family=early", doctor.organization);
    let client = runtime.block_on(async {
        let client = Client::of_folder(&demo.dir, &demo.config()).unwrap();
        client.sign_in_as(doctor, &SystemClock).await.unwrap()
    });
    assert_eq!(runtime.block_on(client.get(&path)).unwrap().status, 200);

    serving.kill_keeper();
    let closed = runtime.block_on(client.get(&path)).unwrap();
    assert_eq!(closed.status, 503);
    let told_why = String::from_utf8_lossy(&closed.body).into_owned();
    assert!(told_why.contains("keeper"), "{told_why}");

    let file = demo.outside("late.hl7");
    std::fs::write(
        &file,
        "MSH|^~\\&|A|LATE|C|D|20260101||ADT^A04^ADT_A01|L1|P|2.5.1\rPID|1||L1^^^LATE^MR||Late^Lara||19700101|F\r",
    )
    .unwrap();
    let arguments = [
        "load",
        "--certificate",
        certificate.to_str().unwrap(),
        "--organization",
        "lakeside-family",
    ];
    let queued = demo.run(&[&arguments[..], &[file.to_str().unwrap()]].concat());
    assert!(text(&queued).contains("queued"), "{}{}", text(&queued), told(&queued));

    let mut keeper = std::process::Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["keeper", "--dir", demo.dir.to_str().unwrap()])
        .env("HOLDFAST_PASSPHRASE_FILE", &demo.passphrase)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut applied = false;
    for _ in 0..150 {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let status = runtime.block_on(client.get("/ops/status")).unwrap();
        if status.status == 200 && status.json().unwrap()["counts"]["pending"] == 0 {
            applied = runtime.block_on(client.get(&path)).unwrap().status == 200;
            if applied {
                break;
            }
        }
    }
    keeper.kill().unwrap();
    keeper.wait().unwrap();
    assert!(applied, "the spool was not caught up, or reads did not come back");
}

#[test]
fn what_is_wrong_is_said_in_one_sentence_with_exit_code_2() {
    let nowhere = holdfast(&["serve", "--dir", "no-such-folder"]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(told(&nowhere).contains("holdfast init"), "{}", told(&nowhere));

    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("thesis.txt"), "years of work").unwrap();
    let occupied = holdfast(&["demo", "--yes", "--dir", temp.path().to_str().unwrap()]);
    assert_eq!(occupied.status.code(), Some(2), "a stranger's folder is never deleted");
    assert!(temp.path().join("thesis.txt").exists());

    let fresh = temp.path().join("fresh");
    let inside = fresh.join("secrets.toml");
    let both = holdfast(&[
        "demo",
        "--yes",
        "--dir",
        fresh.to_str().unwrap(),
        "--credentials",
        inside.to_str().unwrap(),
    ]);
    assert_eq!(both.status.code(), Some(2), "secrets do not go into the data folder");
    assert!(!fresh.exists());

    let made = holdfast(&["init", "--dir", fresh.to_str().unwrap()]);
    assert!(made.status.success());
    std::fs::write(fresh.join("holdfast.toml"), "[server]\nhtps = \"127.0.0.1:1\"\n").unwrap();
    let unknown = holdfast(&["serve", "--dir", fresh.to_str().unwrap()]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(told(&unknown).contains("did you mean `server.https`"), "{}", told(&unknown));
}

#[test]
fn a_port_in_use_is_named() {
    let demo = Demo::make(1);
    let taken = std::net::TcpListener::bind(demo.config().mllp).unwrap();
    let refused = std::process::Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["serve", "--dir", demo.dir.to_str().unwrap()])
        .env("HOLDFAST_PASSPHRASE_FILE", &demo.passphrase)
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let port = taken.local_addr().unwrap().port().to_string();
    assert!(told(&refused).contains(&port), "{}", told(&refused));
}
