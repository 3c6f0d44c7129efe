//! One configuration file, environment variables over it, all from one table:
//! what is not in [`SETTINGS`] does not exist.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use holdfast_base::Sensitive;
use holdfast_exchange::TlsIdentity;
use holdfast_keeper::RotationDue;

use crate::failure::Failure;

/// Name of the configuration file in a data folder.
pub const FILE_NAME: &str = "holdfast.toml";

/// One setting: where it stands, what it means, what it is when nobody says.
pub struct Setting {
    /// `table.key` in the file.
    pub key: &'static str,
    /// The environment variable that overrides the file.
    pub variable: &'static str,
    /// The value when neither says anything.
    pub default: &'static str,
    /// What it does, for `holdfast config`.
    pub meaning: &'static str,
}

/// Every setting.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "server.https",
        variable: "HOLDFAST_HTTPS",
        default: "127.0.0.1:8443",
        meaning: "Address of the console and the FHIR API, with TLS.",
    },
    Setting {
        key: "server.mllp",
        variable: "HOLDFAST_MLLP",
        default: "127.0.0.1:2575",
        meaning: "Address for HL7 v2 over MLLP, with TLS and client certificates.",
    },
    Setting {
        key: "server.http",
        variable: "HOLDFAST_HTTP",
        default: "",
        meaning: "Address for plain HTTP behind a reverse proxy or for load tests; loopback only. \
                  Empty: none.",
    },
    Setting {
        key: "server.name",
        variable: "HOLDFAST_NAME",
        default: "localhost",
        meaning: "Host name in the server's certificate and in the URLs that it gives out.",
    },
    Setting {
        key: "keeper.start",
        variable: "HOLDFAST_KEEPER_START",
        default: "true",
        meaning: "Whether `serve` starts the keeper as a process of its own. `false`: one runs already.",
    },
    Setting {
        key: "keeper.address",
        variable: "HOLDFAST_KEEPER_ADDRESS",
        default: "",
        meaning: "Where the server finds its keeper, and a keeper listens: `unix:/path` or \
                  `tcp://host:port` (mutual TLS). Empty: run/keeper.sock in the data folder.",
    },
    Setting {
        key: "keeper.listen",
        variable: "HOLDFAST_KEEPER_LISTEN",
        default: "",
        meaning: "For a keeper on its own host: address and port on which it hears servers of other \
                  hosts, with mutual TLS. Empty: none.",
    },
    Setting {
        key: "keeper.certificate",
        variable: "HOLDFAST_KEEPER_CERTIFICATE",
        default: "",
        meaning: "Between hosts: PEM file with the certificate that this side shows the other.",
    },
    Setting {
        key: "keeper.key",
        variable: "HOLDFAST_KEEPER_KEY",
        default: "",
        meaning: "Between hosts: PEM file with the private key of keeper.certificate.",
    },
    Setting {
        key: "keeper.authority",
        variable: "HOLDFAST_KEEPER_AUTHORITY",
        default: "",
        meaning: "Between hosts: PEM file with the authority that signed the other side's certificate.",
    },
    Setting {
        key: "keeper.front-uid",
        variable: "HOLDFAST_KEEPER_FRONT_UID",
        default: "",
        meaning: "User id of the server, when the keeper runs as another user: the keeper hears it.",
    },
    Setting {
        key: "keeper.uid",
        variable: "HOLDFAST_KEEPER_UID",
        default: "",
        meaning: "User id of the keeper, when the server runs as another user: the server believes it.",
    },
    Setting {
        key: "keeper.passphrase-file",
        variable: "HOLDFAST_PASSPHRASE_FILE",
        default: "",
        meaning: "File with the passphrase that opens the root key, on another medium than the data. \
                  Empty: HOLDFAST_PASSPHRASE, or a question on the terminal.",
    },
    Setting {
        key: "keys.root-due-days",
        variable: "HOLDFAST_KEYS_ROOT_DUE_DAYS",
        default: "365",
        meaning: "After how many days the root key is due for rotation; then there is an alert a day.",
    },
    Setting {
        key: "keys.due-days",
        variable: "HOLDFAST_KEYS_DUE_DAYS",
        default: "365",
        meaning: "After how many days keys of the service, the ledger and organizations are due.",
    },
    Setting {
        key: "store.url",
        variable: "HOLDFAST_STORE",
        default: "",
        meaning: "PostgreSQL to keep the store in, as postgres://user@host/database?sslmode=verify-full&sslrootcert=FILE. \
                  Prefer the variable when it holds a password. Empty: the embedded engine.",
    },
    Setting {
        key: "ledger.policy",
        variable: "HOLDFAST_LEDGER_POLICY",
        default: "",
        meaning: "Policy file (`holdfast ledger policy`) with the witnesses that are asked to cosign the \
                  ledger, each with its url. Empty: none is asked.",
    },
    Setting {
        key: "ledger.witness-alert-minutes",
        variable: "HOLDFAST_WITNESS_ALERT_MINUTES",
        default: "10",
        meaning: "After how many minutes without a witness's cosignature there is an alert.",
    },
    Setting {
        key: "log.level",
        variable: "HOLDFAST_LOG",
        default: "warn",
        meaning: "What is logged: error, warn, info, debug; per module as in `info,holdfast_store=debug`.",
    },
    Setting {
        key: "log.format",
        variable: "HOLDFAST_LOG_FORMAT",
        default: "text",
        meaning: "`text` for people, `json` for machines.",
    },
];

/// Environment variables that are no settings, with what they do.
pub const OTHER_VARIABLES: &[(&str, &str)] = &[
    ("HOLDFAST_PASSPHRASE", "The passphrase itself, for tests and containers; prefer the file."),
    ("HOLDFAST_TOKEN", "A bearer token from `holdfast token`, for commands that sign in."),
    ("HOLDFAST_DIR", "The data folder, when `--dir` does not say."),
];

/// The settings in force.
#[derive(Debug, Clone)]
pub struct Config {
    /// Console and FHIR API.
    pub https: SocketAddr,
    /// HL7 v2.
    pub mllp: SocketAddr,
    /// Plain HTTP, loopback only.
    pub http: Option<SocketAddr>,
    /// Host name.
    pub name: String,
    /// Whether to start the keeper.
    pub start_keeper: bool,
    /// Where the keeper is, and how it is spoken to.
    pub keeper: KeeperSettings,
    /// Where the passphrase is.
    pub passphrase_file: Option<PathBuf>,
    /// After how many days keys are due for rotation.
    pub rotation_due: RotationDue,
    /// Where the store lies, if not in the folder: may hold a password.
    pub store_url: Sensitive<String>,
    /// Which witnesses are asked.
    pub ledger_policy: Option<PathBuf>,
    /// When a witness that is away is alerted about.
    pub witness_alert_minutes: u32,
    /// Log filter.
    pub log_level: String,
    /// Log format.
    pub log_json: bool,
}

/// Where the keeper is, and how it is spoken to.
#[derive(Debug, Clone)]
pub struct KeeperSettings {
    /// `unix:/path`, `tcp://host:port`, or nothing.
    pub address: String,
    /// Where it listens for servers of other hosts.
    pub listen: Option<SocketAddr>,
    /// PEM file of the own certificate.
    pub certificate: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
    /// PEM file of the authority of the other side.
    pub authority: PathBuf,
    /// User id of the server.
    pub front_uid: Option<u32>,
    /// User id of the keeper.
    pub uid: Option<u32>,
}

impl KeeperSettings {
    /// The socket of a keeper of this host; `default` when nothing is said.
    ///
    /// # Errors
    /// When the address is of another form.
    pub fn socket(&self, default: PathBuf) -> Result<PathBuf, Failure> {
        match self.address.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(path.into()),
            None if self.address.is_empty() || self.tcp().is_some() => Ok(default),
            _ => Err(Failure::new(format!(
                "keeper.address must be unix:/path or tcp://host:port, not {:?}",
                self.address
            ))),
        }
    }

    /// `host:port` of a keeper of another host.
    pub fn tcp(&self) -> Option<&str> {
        self.address.strip_prefix("tcp://").filter(|rest| rest.contains(':'))
    }

    /// What this side shows and whom it believes, read from the files.
    ///
    /// # Errors
    /// When a file is not named or cannot be read.
    pub fn identity(&self) -> Result<TlsIdentity, Failure> {
        let read = |key: &str, path: &Path| {
            if path.as_os_str().is_empty() {
                return Err(Failure::new(format!("{key} must name a PEM file to speak over TCP")));
            }
            std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))
        };
        Ok(TlsIdentity {
            certificate_pem: read("keeper.certificate", &self.certificate)?,
            key_pem: read("keeper.key", &self.key)?.into(),
            authority_pem: read("keeper.authority", &self.authority)?,
        })
    }
}

impl Config {
    /// Reads the file in `dir`, if there is one, and the environment.
    ///
    /// # Errors
    /// One sentence about the first wrong key or value.
    pub fn read(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(FILE_NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Failure::io("read", &path, &error)),
        };
        let environment = |name: &str| std::env::var(name).ok();
        Self::from_text(&text, &environment)
    }

    fn from_text(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let mut values = flatten(text)?;
        let mut value = |key: &str| -> String {
            let setting = SETTINGS.iter().find(|s| s.key == key);
            let from_file = values.remove(key);
            setting
                .and_then(|s| variable(s.variable))
                .or(from_file)
                .or(setting.map(|s| s.default.to_owned()))
                .unwrap_or_default()
        };
        let config = Self {
            https: address("server.https", &value("server.https"))?,
            mllp: address("server.mllp", &value("server.mllp"))?,
            http: match value("server.http").as_str() {
                "" => None,
                text => Some(loopback(address("server.http", text)?)?),
            },
            name: value("server.name"),
            start_keeper: truth("keeper.start", &value("keeper.start"))?,
            keeper: KeeperSettings {
                address: value("keeper.address"),
                listen: match value("keeper.listen").as_str() {
                    "" => None,
                    text => Some(address("keeper.listen", text)?),
                },
                certificate: value("keeper.certificate").into(),
                key: value("keeper.key").into(),
                authority: value("keeper.authority").into(),
                front_uid: user_id("keeper.front-uid", &value("keeper.front-uid"))?,
                uid: user_id("keeper.uid", &value("keeper.uid"))?,
            },
            passphrase_file: Some(value("keeper.passphrase-file"))
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            rotation_due: RotationDue {
                root_days: days("keys.root-due-days", &value("keys.root-due-days"))?,
                keys_days: days("keys.due-days", &value("keys.due-days"))?,
            },
            store_url: value("store.url").into(),
            ledger_policy: Some(value("ledger.policy"))
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            witness_alert_minutes: minutes(
                "ledger.witness-alert-minutes",
                &value("ledger.witness-alert-minutes"),
            )?,
            log_level: value("log.level"),
            log_json: value("log.format") == "json",
        };
        match values.keys().next() {
            None => Ok(config),
            Some(unknown) => Err(Failure::new(unknown_key(unknown))),
        }
    }
}

/// The file that a new data folder gets: every setting, documented, as a comment.
pub fn documented(values: &[(&str, String)]) -> String {
    let mut text =
        String::from("# Holdfast. Every setting, with its default; see `holdfast config`.\n");
    let mut table = "";
    for setting in SETTINGS {
        let (of, key) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if of != table {
            text.push_str(&format!("\n[{of}]\n"));
            table = of;
        }
        text.push_str(&format!("# {}\n", setting.meaning));
        text.push_str(&format!("# Environment: {}\n", setting.variable));
        match values.iter().find(|(name, _)| *name == setting.key) {
            Some((_, value)) => text.push_str(&format!("{key} = {value:?}\n")),
            None => text.push_str(&format!("# {key} = {:?}\n", setting.default)),
        }
    }
    text
}

fn flatten(text: &str) -> Result<BTreeMap<String, String>, Failure> {
    let tables: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        Failure::new(format!("{FILE_NAME} is not valid TOML: {}", error.message()))
    })?;
    let mut values = BTreeMap::new();
    for (table, entries) in tables {
        let toml::Value::Table(entries) = entries else {
            return Err(Failure::new(unknown_key(&table)));
        };
        for (key, value) in entries {
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Boolean(truth) => truth.to_string(),
                toml::Value::Integer(number) => number.to_string(),
                _ => {
                    return Err(Failure::new(format!(
                        "{table}.{key} in {FILE_NAME} must be a string"
                    )));
                }
            };
            values.insert(format!("{table}.{key}"), text);
        }
    }
    Ok(values)
}

fn unknown_key(key: &str) -> String {
    let near = SETTINGS
        .iter()
        .map(|setting| (strsim::jaro_winkler(key, setting.key), setting.key))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((likeness, near)) if likeness > 0.75 => {
            format!("{FILE_NAME} has an unknown key `{key}`; did you mean `{near}`?")
        }
        _ => format!("{FILE_NAME} has an unknown key `{key}`; `holdfast config` lists every key"),
    }
}

fn address(key: &str, text: &str) -> Result<SocketAddr, Failure> {
    text.parse().map_err(|_| {
        Failure::new(format!(
            "{key} must be an address and port such as 127.0.0.1:8443, not {text:?}"
        ))
    })
}

fn loopback(address: SocketAddr) -> Result<SocketAddr, Failure> {
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(Failure::new(
        "server.http is plain HTTP and may only listen on loopback (127.0.0.1 or ::1)",
    ))
}

fn minutes(key: &str, text: &str) -> Result<u32, Failure> {
    text.parse()
        .map_err(|_| Failure::new(format!("{key} must be a number of minutes, not {text:?}")))
}

fn user_id(key: &str, text: &str) -> Result<Option<u32>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |_| Failure::new(format!("{key} must be a number (`id -u NAME`), not {text:?}"));
    text.parse().map(Some).map_err(wrong)
}

fn truth(key: &str, text: &str) -> Result<bool, Failure> {
    text.parse().map_err(|_| Failure::new(format!("{key} must be true or false, not {text:?}")))
}

fn days(key: &str, text: &str) -> Result<u32, Failure> {
    let days = text.parse().ok().filter(|days| (1..=36_500).contains(days));
    days.ok_or_else(|| Failure::new(format!("{key} must be a number of days, not {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Config, String> {
        Config::from_text(text, &|_| None).map_err(|failure| failure.to_string())
    }

    #[test]
    fn an_empty_file_gives_the_documented_defaults() {
        let config = check("").expect("the defaults are valid");
        assert_eq!(config.https.to_string(), "127.0.0.1:8443");
        assert!(config.start_keeper && config.http.is_none());
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_right_one() {
        let told = check("[server]\nhtps = \"x\"").expect_err("unknown");
        assert!(told.contains("did you mean `server.https`"), "{told}");
        assert!(check("[zebra]\nstripes = 3").expect_err("unknown").contains("holdfast config"));
    }

    #[test]
    fn a_keeper_is_found_by_socket_or_by_host() {
        let socket = |text: &str| {
            let config = check(&format!("[keeper]\naddress = \"{text}\"")).expect("valid");
            config.keeper.socket("/default".into()).map_err(|failure| failure.to_string())
        };
        assert_eq!(socket(""), Ok("/default".into()));
        assert_eq!(socket("unix:/run/k.sock"), Ok("/run/k.sock".into()));
        assert!(socket("tcp://keeper.example:7443").is_ok());
        assert!(socket("http://keeper.example").expect_err("wrong").contains("tcp://host:port"));
        assert!(check("[keeper]\nfront-uid = \"holdfast\"").is_err());
        let config = check("[keeper]\naddress = \"tcp://h:1\"").expect("valid");
        assert_eq!(config.keeper.tcp(), Some("h:1"));
        assert!(config.keeper.identity().expect_err("no files").to_string().contains("PEM"));
    }

    #[test]
    fn plain_http_listens_on_loopback_only() {
        assert!(check("[server]\nhttp = \"0.0.0.0:80\"").is_err());
        assert!(check("[server]\nhttp = \"[::1]:8080\"").is_ok());
    }

    #[test]
    fn the_environment_goes_over_the_file() {
        let config = Config::from_text("[server]\nname = \"a\"", &|name| {
            (name == "HOLDFAST_NAME").then(|| "b".to_owned())
        });
        assert_eq!(config.expect("valid").name, "b");
    }

    #[test]
    fn the_documented_file_is_a_valid_file() {
        let text = documented(&[("server.https", "127.0.0.1:9443".into())]);
        assert_eq!(check(&text).expect("valid").https.port(), 9443);
    }
}
