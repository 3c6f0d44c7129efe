//! The built command, run as a person would run it.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses its part")]

pub mod bucket;

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;

use holdfast::client::{Client, Credentials};
use holdfast::config::Config;
use holdfast::wiring::SystemClock;
use tempfile::TempDir;

/// A demo in a temporary folder.
pub struct Demo {
    pub dir: PathBuf,
    pub credentials: PathBuf,
    pub passphrase: PathBuf,
    pub certificates: PathBuf,
    pub shown: String,
    /// Tokens by sign-in name: a code works once, so whoever signs in for every command
    /// waits half a minute for each.
    sessions: Mutex<HashMap<String, String>>,
    outside: TempDir,
}

pub const SEED: u64 = 11;

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Demo {
    /// Runs `holdfast demo --exit`.
    pub fn make(patients: u32) -> Self {
        let outside = tempfile::Builder::new().prefix("hf").tempdir().unwrap();
        let at = |name: &str| outside.path().join(name);
        let (dir, credentials) = (at("data"), at("credentials.toml"));
        let (passphrase, certificates) = (at("passphrase"), at("certificates"));
        let output = holdfast(&[
            "demo",
            "--exit",
            "--yes",
            "--patients",
            &patients.to_string(),
            "--seed",
            &SEED.to_string(),
            "--dir",
            dir.to_str().unwrap(),
            "--credentials",
            credentials.to_str().unwrap(),
            "--passphrase-file",
            passphrase.to_str().unwrap(),
            "--certificates",
            certificates.to_str().unwrap(),
            "--https",
            &free_port().to_string(),
            "--mllp",
            &free_port().to_string(),
        ]);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let sessions = Mutex::default();
        Self { dir, credentials, passphrase, certificates, shown, sessions, outside }
    }

    /// A path outside of the data folder.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    pub fn config(&self) -> Config {
        Config::read(&self.dir).unwrap()
    }

    pub fn people(&self) -> Credentials {
        Credentials::read(&self.credentials).unwrap()
    }

    /// Sign-in name of the first person with this role.
    pub fn user_with(&self, role: &str) -> String {
        self.people().with_role(role).unwrap().user.clone()
    }

    /// Runs a command in the session of `user`, which is opened when there is none.
    pub fn run_as(&self, user: &str, arguments: &[&str]) -> Output {
        for _ in 0..2 {
            let known = self.sessions.lock().unwrap().get(user).cloned();
            let token = known.unwrap_or_else(|| {
                let token = self.run(&["token", "--user", user]);
                assert!(token.status.success(), "{}", told(&token));
                text(&token).trim().to_owned()
            });
            let all = [arguments, &["--dir", self.dir.to_str().unwrap()]].concat();
            let output = holdfast_with(&all, &[("HOLDFAST_TOKEN", &token)]);
            if !told(&output).contains("(401)") {
                self.sessions.lock().unwrap().insert(user.to_owned(), token);
                return output;
            }
            self.sessions.lock().unwrap().remove(user);
        }
        panic!("{user} has no session for {arguments:?}");
    }

    /// A client in the session of `user`, which is opened when there is none.
    pub async fn client_of(&self, user: &str) -> Client {
        let anonymous = Client::of_folder(&self.dir, &self.config()).unwrap();
        let known = self.sessions.lock().unwrap().get(user).cloned();
        if let Some(token) = known {
            let client = anonymous.clone().with_token(token.into());
            if client.get("/ops/status").await.unwrap().status == 200 {
                return client;
            }
        }
        let people = self.people();
        let client = anonymous.sign_in_as(people.of_user(user).unwrap(), &SystemClock).await;
        let client = client.unwrap();
        let token = client.token().unwrap().expose().clone();
        self.sessions.lock().unwrap().insert(user.to_owned(), token);
        client
    }

    /// Runs a command that signs in to this demo's exchange.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut all = arguments.to_vec();
        let (dir, credentials) = (self.dir.to_str().unwrap(), self.credentials.to_str().unwrap());
        all.extend(["--dir", dir, "--credentials", credentials]);
        holdfast(&all)
    }

    /// Starts `holdfast serve` and waits until it listens.
    pub fn serve(&self) -> Serving {
        self.serve_with(&[])
    }

    /// As [`serve`](Self::serve), with more environment variables.
    pub fn serve_with(&self, environment: &[(&str, &str)]) -> Serving {
        self.try_serve_with(&self.dir, environment)
            .unwrap_or_else(|told| panic!("the server ended before it listened: {told}"))
    }

    /// Serves another folder with this demo's passphrase, or says why not.
    pub fn try_serve_at(&self, dir: &Path) -> Result<Serving, String> {
        self.try_serve_with(dir, &[])
    }

    /// As [`try_serve_at`](Self::try_serve_at), with more environment variables.
    pub fn try_serve_with(
        &self,
        dir: &Path,
        environment: &[(&str, &str)],
    ) -> Result<Serving, String> {
        let mut program = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        without_settings(&mut program).envs(environment.iter().copied());
        start(program.env("HOLDFAST_PASSPHRASE_FILE", &self.passphrase), dir)
    }

    /// As [`serve`](Self::serve), with every change of a file recorded in `trace`.
    pub fn serve_recorded(&self, trace: &Path) -> Serving {
        let program = Path::new(env!("CARGO_BIN_EXE_holdfast"));
        let mut program = holdfast_testkit_power::record::under_strace(program, trace, &[]);
        without_settings(&mut program).env("HOLDFAST_PASSPHRASE_FILE", &self.passphrase);
        let mut serving = start(&mut program, &self.dir).unwrap_or_else(|told| panic!("{told}"));
        // The recorder's child is the server; the server's is the keeper.
        let server = children_of(serving.child.id())[0];
        serving.server = server;
        serving.keeper = children_of(server).first().copied();
        serving
    }
}

/// Starts `holdfast serve` on a folder and waits until it listens.
pub fn serve_in(dir: &Path, environment: &[(String, String)]) -> Serving {
    let mut program = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    without_settings(&mut program).envs(environment.iter().cloned());
    start(&mut program, dir)
        .unwrap_or_else(|told| panic!("the server ended before it listened: {told}"))
}

/// Serves a folder with the built program, or says why it ended.
fn start(program: &mut Command, dir: &Path) -> Result<Serving, String> {
    let mut child = program
        .args(["serve", "--dir", dir.to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    loop {
        let mut line = String::new();
        let read = lines.read_line(&mut line).unwrap();
        if read == 0 {
            child.wait().unwrap();
            return Err(told);
        }
        told.push_str(&line);
        if line.starts_with("serving") {
            break;
        }
    }
    let (server, keeper) = (child.id(), children_of(child.id()).first().copied());
    std::thread::spawn(move || {
        let _ = lines.read_to_string(&mut String::new());
    });
    Ok(Serving { child, server, keeper })
}

/// A running exchange; killed when the test is over.
pub struct Serving {
    child: Child,
    /// The child, or the child's child when it is recorded.
    server: u32,
    keeper: Option<u32>,
}

impl Serving {
    /// `kill -9` of the server, the keeper or both.
    pub fn kill(mut self, server: bool, keeper: bool) {
        if keeper && let Some(id) = self.keeper {
            signal("-KILL", id);
        }
        signal(if server { "-KILL" } else { "-TERM" }, self.server);
        self.child.wait().unwrap();
        if let Some(id) = self.keeper {
            while Path::new(&format!("/proc/{id}/exe")).exists() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }

    /// `kill -9` of the keeper alone.
    pub fn kill_keeper(&self) {
        signal("-KILL", self.keeper.unwrap());
    }

    /// Ctrl-C; gives whether it ended cleanly.
    pub fn stop(mut self) -> bool {
        signal("-INT", self.server);
        self.child.wait().unwrap().success()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Once it was waited for, its number may be somebody else's.
        if matches!(self.child.try_wait(), Ok(None)) && self.server != self.child.id() {
            signal("-KILL", self.server);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(name: &str, id: u32) {
    let _ = Command::new("kill").args([name, &id.to_string()]).status();
}

fn children_of(id: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{id}/task")).unwrap().flatten() {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|text| text.parse::<u32>().ok()));
    }
    found
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    without_settings(&mut command).args(arguments).stdin(Stdio::null());
    command
}

/// Whatever the environment of the tests says about an exchange is not theirs.
fn without_settings(command: &mut Command) -> &mut Command {
    for name in [
        "HOLDFAST_TOKEN",
        "HOLDFAST_PASSPHRASE",
        "HOLDFAST_DIR",
        "HOLDFAST_PASSPHRASE_FILE",
        "HOLDFAST_STORE",
    ] {
        command.env_remove(name);
    }
    command
}

/// Runs the command to its end.
pub fn holdfast(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// Runs the command to its end, with more environment variables.
pub fn holdfast_with(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    command(arguments).envs(environment.iter().copied()).output().unwrap()
}

/// Standard output as text.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard error as text.
pub fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder, copied.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
