#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Oldest version that the store takes.
const VERSION_MIN: u32 = 15;
/// Role that owns everything.
const USER: &str = "holdfast";
/// As in production, but smaller, and without a network.
const SETTINGS: &str = "
listen_addresses = ''
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 64MB
max_connections = 200
logging_collector = off
";
/// Waits for the end of the test process, then removes everything.
const WATCH: &str = "
\"$1/pg_ctl\" -D \"$2/data\" -l \"$2/log\" -w -t 60 start >/dev/null 2>&1 && echo ready || cat \"$2/log\"
exec >/dev/null
cat >/dev/null
\"$1/pg_ctl\" -D \"$2/data\" -w stop -m immediate >/dev/null 2>&1
rm -rf \"$2\"
";

/// A running PostgreSQL of our own.
pub struct Postgres {
    bin: PathBuf,
    dir: PathBuf,
    owner: Option<(u32, u32)>,
    databases: AtomicU32,
    port: u16,
    /// Closing it ends the server.
    _alive: ChildStdin,
    _watch: Child,
}

impl Postgres {
    /// The server of this test binary, started at the first call. `None`, with a
    /// line that says so, where there is no PostgreSQL to start.
    ///
    /// # Panics
    /// When it does not start, and in CI (`CI=true`) when there is none.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// A server for one test, to be restarted and worse.
    ///
    /// # Panics
    /// As [`shared`](Self::shared).
    pub fn start() -> Option<Self> {
        Self::start_with(None)
    }

    /// As [`start`](Self::start), also listening on `localhost` with TLS and this
    /// certificate and key, and there on nothing else.
    ///
    /// # Panics
    /// As [`shared`](Self::shared).
    pub fn start_with_tls(certificate_pem: &str, key_pem: &str) -> Option<Self> {
        Self::start_with(Some((certificate_pem, key_pem)))
    }

    fn start_with(tls: Option<(&str, &str)>) -> Option<Self> {
        let Some(bin) = programs() else {
            assert!(std::env::var_os("CI").is_none(), "no PostgreSQL to test with");
            println!("skipped: no PostgreSQL {VERSION_MIN} or later on this machine");
            return None;
        };
        let dir = tempfile::Builder::new().prefix("hfpg").tempdir().expect("a folder").keep();
        let owner = owner();
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(&dir, Some(user), Some(group)).expect("given away");
        }
        let data = dir.join("data");
        let made = as_owner(Command::new(bin.join("initdb")), owner)
            .args(["--no-sync", "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "-D"])
            .arg(&data)
            .current_dir(&dir)
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let conf = data.join("postgresql.conf");
        let text = std::fs::read_to_string(&conf).expect("the configuration");
        let socket = format!("unix_socket_directories = '{}'\n", dir.display());
        let mut settings = format!("{text}\n{SETTINGS}{socket}");
        let mut port = 5432;
        if let Some(tls) = tls {
            port = free_port();
            settings.push_str(&with_tls(tls, port, &data, owner));
        }
        std::fs::write(&conf, settings).expect("configured");

        let mut watch = as_owner(Command::new("sh"), owner)
            .args(["-c", WATCH, "sh"])
            .args([&bin, &dir])
            .current_dir(&dir)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let alive = watch.stdin.take().expect("its input");
        let mut line = String::new();
        let output = watch.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), "ready", "PostgreSQL did not start");
        Some(Self {
            bin,
            dir,
            owner,
            databases: AtomicU32::new(0),
            port,
            _alive: alive,
            _watch: watch,
        })
    }

    /// A new, empty database; gives its URL.
    ///
    /// # Panics
    /// When it is not made.
    pub fn create_database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        self.sql("postgres", &format!("CREATE DATABASE store{number}"));
        self.url(&format!("store{number}"))
    }

    /// Where it listens with TLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database of this server.
    pub fn url(&self, database: &str) -> String {
        let socket = self.dir.display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{socket}:{}/{database}", self.port)
    }

    /// Runs a statement with `psql`; gives what it prints.
    ///
    /// # Panics
    /// When it fails.
    pub fn sql(&self, database: &str, text: &str) -> String {
        let done = self.try_sql(database, text);
        done.unwrap_or_else(|told| panic!("{text}: {told}"))
    }

    /// As [`sql`](Self::sql); gives what went wrong.
    ///
    /// # Errors
    /// What `psql` says.
    ///
    /// # Panics
    /// When there is no `psql`.
    pub fn try_sql(&self, database: &str, text: &str) -> Result<String, String> {
        let done = Command::new(self.bin.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", database])
            .arg("-h")
            .arg(&self.dir)
            .args(["-p", &self.port.to_string(), "-c", text])
            .output()
            .expect("psql runs");
        if done.status.success() {
            Ok(String::from_utf8_lossy(&done.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&done.stderr).into_owned())
        }
    }

    /// Ends every process of the server at once, as a power failure would, and
    /// starts it again.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn restart_immediately(&self) {
        self.control(&["restart", "-m", "immediate"]);
    }

    /// Ends the server in good order.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&self) {
        self.control(&["stop", "-m", "fast"]);
    }

    /// Starts the server again after [`stop`](Self::stop).
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self) {
        self.control(&["start"]);
    }

    fn control(&self, arguments: &[&str]) {
        let done = as_owner(Command::new(self.bin.join("pg_ctl")), self.owner)
            .arg("-D")
            .arg(self.data_dir())
            .arg("-l")
            .arg(self.dir.join("log"))
            .args(["-w", "-t", "60"])
            .args(arguments)
            .current_dir(&self.dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("pg_ctl runs");
        assert!(done.success(), "pg_ctl {arguments:?}");
    }

    /// The server's files: what a thief of its disk has.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Settings for TLS, whose files it writes.
fn with_tls(
    (certificate, key): (&str, &str),
    port: u16,
    data: &Path,
    owner: Option<(u32, u32)>,
) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    for (name, text) in [("server.crt", certificate), ("server.key", key)] {
        let path = data.join(name);
        std::fs::write(&path, text).expect("written");
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, private).expect("private");
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(&path, Some(user), Some(group)).expect("given away");
        }
    }
    let rules = "local all all trust\nhostssl all all 127.0.0.1/32 trust\n\
                 hostssl all all ::1/128 trust\n";
    std::fs::write(data.join("pg_hba.conf"), rules).expect("written");
    format!("listen_addresses = 'localhost'\nport = {port}\nssl = on\n")
}

fn as_owner(mut command: Command, owner: Option<(u32, u32)>) -> Command {
    if let Some((user, group)) = owner {
        command.gid(group).uid(user);
    }
    command
}

/// PostgreSQL refuses to run as root; then it runs as somebody else.
fn owner() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    let own = std::fs::metadata("/proc/self").map(|about| about.uid()).unwrap_or(1);
    if own != 0 {
        return None;
    }
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody"))
}

/// The folder with the programs of the newest version.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .filter(|(version, path): &(u32, PathBuf)| {
            *version >= VERSION_MIN && path.join("bin/initdb").is_file()
        })
        .max();
    if let Some((_, path)) = newest {
        return Some(path.join("bin"));
    }
    let found = Command::new("pg_config").arg("--bindir").output().ok()?;
    let bin = Path::new(String::from_utf8(found.stdout).ok()?.trim()).to_owned();
    bin.join("initdb").is_file().then_some(bin)
}
