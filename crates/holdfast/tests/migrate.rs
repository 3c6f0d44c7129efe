//! P14, P15: the store of a data folder moves into a database and back, also when
//! the move is killed.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use common::{Demo, command, holdfast, text, told};
use holdfast_testkit_postgres::Postgres;

fn counts(demo: &Demo) -> serde_json::Value {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = demo.client_of(&demo.user_with("security-officer")).await;
        let status = client.get("/ops/status").await.unwrap().accepted().unwrap();
        status.json().unwrap()["counts"].clone()
    })
}

/// Writes `url` into the configuration, or takes it out.
fn set_store(demo: &Demo, url: &str) {
    let path = demo.dir.join("holdfast.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().filter(|line| !line.trim_start_matches("# ").starts_with("url = "));
    let mut kept: Vec<String> = lines.map(str::to_owned).collect();
    let table = kept.iter().position(|line| line == "[store]").unwrap();
    kept.insert(table + 1, format!("url = {url:?}"));
    std::fs::write(&path, kept.join("\n")).unwrap();
}

#[test]
fn p14_a_store_moves_to_a_database_and_back_through_kills() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.create_database();
    let demo = Demo::make(25);
    let dir = demo.dir.to_str().unwrap();
    let before = {
        let serving = demo.serve();
        // Nobody moves a store that is in use.
        let refused = holdfast(&["migrate", "--from", dir, "--to", &url]);
        assert!(!refused.status.success());
        assert!(told(&refused).contains("is open elsewhere"), "{}", told(&refused));
        let counts = counts(&demo);
        assert!(serving.stop());
        counts
    };

    for lines in 1..3 {
        let mut child = command(&["migrate", "--from", dir, "--to", &url])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
        for _ in 0..lines {
            assert!(told.next().is_some_and(|line| line.unwrap().ends_with(" rows")));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let moved = holdfast(&["migrate", "--from", dir, "--to", &url]);
    assert!(moved.status.success(), "{}", told(&moved));
    assert!(text(&moved).contains("were there from an attempt before"), "{}", text(&moved));

    // The folder says where its store is now.
    let lost = holdfast(&["migrate", "--from", dir, "--to", &url]);
    assert!(told(&lost).contains("lies in a database"), "{}", told(&lost));
    set_store(&demo, &url);
    let serving = demo.serve();
    let there = counts(&demo);
    for of in ["patients", "persons", "reviews", "pending"] {
        assert_eq!(there[of], before[of], "{of}");
    }
    assert!(before["patients"].as_u64().unwrap() > 5);
    assert!(serving.stop());

    let back = holdfast(&["migrate", "--from", &url, "--to", dir]);
    assert!(back.status.success(), "{}", told(&back));
    set_store(&demo, "");
    let serving = demo.serve();
    assert_eq!(counts(&demo)["patients"], before["patients"]);
    assert!(serving.stop());
}

#[test]
fn a_wrong_address_is_told_without_its_password() {
    let outside = tempfile::tempdir().unwrap();
    let dir = outside.path().join("data");
    for url in
        ["postgres://a:s3cret@db.example/x", "postgres://a:s3cret@db.example/x?sslmode=require"]
    {
        let made = holdfast(&["init", "--dir", dir.to_str().unwrap(), "--store", url]);
        assert!(!made.status.success());
        assert!(told(&made).contains("verify-full"), "{}", told(&made));
        assert!(!told(&made).contains("s3cret"), "{}", told(&made));
        assert!(!dir.exists(), "nothing is made");
    }
    let no_folder =
        holdfast(&["migrate", "--from", dir.to_str().unwrap(), "--to", "postgres://localhost/x"]);
    assert!(told(&no_folder).contains("is no data folder"), "{}", told(&no_folder));
}
