//! P14: backup and restore by the built command, as an operator would.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Demo, holdfast_with, text, told};
use holdfast::demo::stream::{MllpConnection, read_acknowledgement};
use holdfast::tls::Identity;

const SYSTEM: &str = "hl7v2@lakeside-family";

fn message(number: usize) -> Vec<u8> {
    format!(
        "MSH|^~\\&|BACKUP|SENDER|HOLDFAST|X|20260101120000||ADT^A04^ADT_A01|B{number}|P|2.5.1\r\
         EVN|A04|20260101120000\r\
         PID|1||B{number:05}^^^BACKUP^MR||Restored{number}^Patient||19600{}0{}|F\r\
         PV1|1|O|CLINIC^1|||||||||||||||V{number:05}^^^BACKUP\r",
        1 + number % 9,
        1 + number / 9 % 9,
    )
    .into_bytes()
}

async fn send(demo: &Demo, numbers: std::ops::Range<usize>) {
    let identity = Identity::read(&demo.certificates.join(format!("{SYSTEM}.pem"))).unwrap();
    let mut connection = MllpConnection::open(&demo.dir, &demo.config(), &identity).await.unwrap();
    for number in numbers {
        let answer = connection.send(&message(number)).await.unwrap();
        let (code, why) = read_acknowledgement(&answer);
        assert_eq!(code, "AA", "{why:?}");
    }
}

async fn status(demo: &Demo) -> serde_json::Value {
    let client = demo.client_of(&officer(demo)).await;
    client.get("/ops/status").await.unwrap().accepted().unwrap().json().unwrap()["counts"].clone()
}

/// A file of the backup whose name has `part` in it.
fn object(dir: &Path, part: &str) -> PathBuf {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found.into_iter().find(|path| path.to_str().unwrap().contains(part)).unwrap()
}

#[test]
fn p14_a_lost_folder_comes_back_from_its_backups_and_says_what_is_missing() {
    let demo = Arc::new(Demo::make(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let to = demo.outside("backups");
    let to = to.to_str().unwrap().to_owned();
    let serving = demo.serve();
    let first = demo.run_as(&officer(&demo), &["backup", "--to", &to]);
    assert!(first.status.success(), "{}", told(&first));

    // The second one while messages come in, one of them before it in any case.
    runtime.block_on(send(&demo, 0..1));
    let second = runtime.block_on(async {
        let sending = send(&demo, 1..12);
        let backing = async {
            let (demo, to, user) = (Arc::clone(&demo), to.clone(), officer(&demo));
            let run = move || demo.run_as(&user, &["backup", "--to", &to]);
            tokio::task::spawn_blocking(run).await.unwrap()
        };
        tokio::join!(sending, backing).1
    });
    assert!(second.status.success(), "{}", told(&second));
    assert!(text(&second).starts_with("backup 2"), "{}", text(&second));
    let third = demo.run_as(&officer(&demo), &["backup", "--to", &to]);
    assert!(text(&third).starts_with("backup 3"), "{}{}", text(&third), told(&third));
    let counts = runtime.block_on(status(&demo));

    // Written after the last backup: lost with the folder.
    runtime.block_on(send(&demo, 12..14));
    assert!(serving.stop());
    let pass = demo.passphrase.to_str().unwrap().to_owned();
    let with = [("HOLDFAST_PASSPHRASE_FILE", pass.as_str())];
    let dir = demo.dir.to_str().unwrap().to_owned();
    let verify = ["backup", "--verify", "--to", &to, "--dir", &dir];
    let verified = holdfast_with(&verify, &with);
    assert!(text(&verified).starts_with("whole: 3 backups"), "{}", told(&verified));

    // Everything is gone but the root key and the settings.
    let lost = demo.outside("lost");
    std::fs::rename(&demo.dir, &lost).unwrap();
    let key = lost.join("keeper").join("root.key");
    let restore = ["restore", "--from", &to, "--to", &dir, "--root-key", key.to_str().unwrap()];
    let other = holdfast_with(&restore[..5], &with);
    assert!(told(&other).contains("root.key is missing"), "{}", told(&other));
    std::fs::copy(lost.join("holdfast.toml"), demo.dir.join("holdfast.toml")).unwrap();
    let restored = holdfast_with(&restore, &with);
    let shown = text(&restored);
    // A read is an entry, too: the ledger may be ahead by what came with backup 3.
    assert!(restored.status.success(), "{shown}{}", told(&restored));
    assert!(shown.contains("equal to what the ledger acknowledged"), "{shown}");
    let serving = demo.serve();
    assert_eq!(runtime.block_on(status(&demo)), counts, "as at the last backup");
    // What was lost is sent again.
    runtime.block_on(send(&demo, 0..14));
    assert!(serving.stop());
    let again = holdfast_with(&restore, &with);
    assert!(told(&again).contains("holds a store"), "{}", told(&again));

    // Back to a moment in the middle, with the ledger that survived.
    std::fs::rename(demo.dir.join("store"), demo.outside("store-aside")).unwrap();
    let newest: u64 = number_after(&text(&third), "up to commit ");
    let middle = format!("commit:{}", newest - 3);
    let mut back = restore.to_vec();
    back.extend(["--at", middle.as_str()]);
    let refused = holdfast_with(&back, &with);
    assert!(!refused.status.success());
    assert!(told(&refused).contains("give --reason"), "{}", told(&refused));
    assert!(text(&refused).contains(&format!("commits {} to", newest - 2)), "{}", text(&refused));
    back.extend(["--reason", "a drill"]);
    let restored = holdfast_with(&back, &with);
    assert!(restored.status.success(), "{}", told(&restored));
    assert!(text(&restored).contains("written into the ledger"), "{}", text(&restored));
    let serving = demo.serve();
    runtime.block_on(send(&demo, 0..14));
    // A new line of backups begins where the old one was left.
    let fourth = demo.run_as(&officer(&demo), &["backup", "--to", &to]);
    assert!(text(&fourth).starts_with("backup 4"), "{}{}", text(&fourth), told(&fourth));
    assert!(serving.stop());
    let verified = holdfast_with(&verify, &with);
    assert!(text(&verified).starts_with("whole: 4 backups"), "{}", told(&verified));

    // Damage and loss are named; another keeper is refused.
    for part in ["commits/0000000002", "keys/0000000003", "ledger/0000000001"] {
        let path = object(Path::new(&to), part);
        let bytes = std::fs::read(&path).unwrap();
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        let damaged = holdfast_with(&verify, &with);
        assert!(!damaged.status.success());
        let said = told(&damaged);
        assert!(said.contains(part) && said.contains("is damaged"), "{said}");
        std::fs::remove_file(&path).unwrap();
        let missing = told(&holdfast_with(&verify, &with));
        assert!(missing.contains(part) && missing.contains("is missing"), "{missing}");
        std::fs::write(&path, &bytes).unwrap();
    }
    let stranger = demo.outside("stranger");
    let made = common::holdfast(&["init", "--dir", stranger.to_str().unwrap()]);
    let passphrase = text(&made);
    let passphrase = passphrase.lines().find_map(|line| line.strip_prefix("    ")).unwrap();
    let file = demo.outside("stranger-passphrase");
    std::fs::write(&file, passphrase).unwrap();
    let with = [("HOLDFAST_PASSPHRASE_FILE", file.to_str().unwrap())];
    let told = told(&holdfast_with(
        &["backup", "--verify", "--to", &to, "--dir", stranger.to_str().unwrap()],
        &with,
    ));
    assert!(told.contains("another root key"), "{told}");
}

fn officer(demo: &Demo) -> String {
    demo.user_with("security-officer")
}

fn number_after(text: &str, before: &str) -> u64 {
    let rest = text.split(before).nth(1).unwrap();
    rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse().unwrap()
}
