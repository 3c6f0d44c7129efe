//! The keeper as a process: hung, killed, under another user.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use holdfast_keeper::{KeeperAddress, KeeperClient, KeeperError, initialise};
use tempfile::TempDir;

const PASSPHRASE: &str = "correct horse battery staple";
/// Users that exist nowhere and need not.
const KEEPER_UID: u32 = 61_101;
const STRANGER_UID: u32 = 61_102;

struct Keeper {
    child: Child,
    dir: TempDir,
}

impl Keeper {
    /// Starts `holdfast keeper` in a new folder, as `uid` if that is given.
    fn start(uid: Option<u32>, settings: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("hfk").tempdir().unwrap();
        std::fs::create_dir(dir.path().join("run")).unwrap();
        initialise(&dir.path().join("keeper"), PASSPHRASE.as_bytes()).unwrap();
        std::fs::write(dir.path().join("holdfast.toml"), settings).unwrap();
        if let Some(uid) = uid {
            give(dir.path(), uid);
            let open = std::fs::Permissions::from_mode(0o711);
            std::fs::set_permissions(dir.path(), open).unwrap();
        }
        let child = spawn(dir.path(), uid);
        Self { child, dir }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("run/keeper.sock")
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn give(path: &Path, uid: u32) {
    chown(path, Some(uid), Some(uid)).unwrap();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap().flatten() {
            give(&entry.path(), uid);
        }
    }
}

fn spawn(dir: &Path, uid: Option<u32>) -> Child {
    // Another user may not be able to reach the built program where it lies.
    let program = dir.join("holdfast");
    if !program.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_holdfast"), &program).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(program);
    command.args(["keeper", "--passphrase-stdin", "--dir", dir.to_str().unwrap()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).env_remove("HOLDFAST_PASSPHRASE");
    if let Some(uid) = uid {
        command.uid(uid).gid(uid);
    }
    // Whatever another test forks while the copy is being written has it open for
    // writing, too, until it has become what it runs.
    let mut child = loop {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(5));
            }
            spawned => break spawned.unwrap(),
        }
    };
    writeln!(child.stdin.as_mut().unwrap(), "{PASSPHRASE}").unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "ready");
    child
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p14_a_keeper_that_hangs_or_dies_releases_nothing_and_comes_back_by_itself() {
    let mut keeper = Keeper::start(None, "");
    let quick = KeeperClient::with_timeout(keeper.socket(), Duration::from_millis(500));
    let patient = KeeperClient::with_timeout(keeper.socket(), Duration::from_secs(60));
    patient.service_keys("start").await.unwrap();
    quick.status().await.unwrap();
    keeper.signal("-STOP");
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let quick = quick.clone();
        asked.spawn(async move { quick.service_keys("hung").await.map(drop) });
    }
    while let Some(answered) = asked.join_next().await {
        assert_eq!(answered.unwrap(), Err(KeeperError::TimedOut));
    }
    // One that never had a connection does not wait for ever either.
    let fresh = KeeperClient::with_timeout(keeper.socket(), Duration::from_millis(500));
    assert_eq!(fresh.status().await.map(drop), Err(KeeperError::TimedOut));
    keeper.signal("-CONT");
    patient.status().await.unwrap();
    patient.service_keys("again").await.unwrap();

    keeper.child.kill().unwrap();
    keeper.child.wait().unwrap();
    assert_eq!(patient.status().await.map(drop), Err(KeeperError::Unreachable));
    keeper.child = spawn(keeper.dir.path(), None);
    patient.service_keys("after its death").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_under_its_own_user_hears_the_front_and_keeps_its_files_from_it() {
    let own = tempfile::tempdir().unwrap();
    if std::fs::metadata(own.path()).unwrap().uid() != 0 {
        assert!(std::env::var_os("CI").is_none(), "CI runs as root");
        eprintln!("skipped: only root can start a keeper as another user");
        return;
    }
    // This test is the front process: root. The keeper is somebody else.
    let keeper = Keeper::start(Some(KEEPER_UID), "[keeper]\nfront-uid = \"0\"\n");
    let at = |keeper_uid| KeeperAddress::Unix { socket: keeper.socket(), keeper_uid };
    let client = |keeper_uid| KeeperClient::with_timeout(at(keeper_uid), Duration::from_secs(60));
    client(Some(KEEPER_UID)).service_keys("start").await.unwrap();
    let wrong = client(None).status().await.unwrap_err();
    assert_eq!(wrong, KeeperError::Protocol { what: "it runs as another user" });
    // A third user is not heard, and reads no file of the keeper.
    let root_key = keeper.dir.path().join("keeper/root.key");
    let read = Command::new("cat").arg(&root_key).uid(STRANGER_UID).output().unwrap();
    assert!(!read.status.success() && read.stdout.is_empty());
    // A keeper that was told of another front does not hear this one.
    let deaf = Keeper::start(Some(KEEPER_UID), "[keeper]\nfront-uid = \"61102\"\n");
    let address = KeeperAddress::Unix { socket: deaf.socket(), keeper_uid: Some(KEEPER_UID) };
    let deaf = KeeperClient::with_timeout(address, Duration::from_secs(60));
    assert_eq!(deaf.status().await.map(drop), Err(KeeperError::Unreachable));
}
