//! Where a PostgreSQL is and how to talk to it. Nothing here prints a password.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::AddressError;

/// A server that does not answer in this time is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that nobody acknowledges for so long end the connection.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);

/// A PostgreSQL database, from a URL such as
/// `postgres://holdfast@db.example/holdfast?sslmode=verify-full&sslrootcert=/etc/holdfast/db.pem`.
/// `Display` and `Debug` leave out user and password.
#[derive(Clone)]
pub struct PostgresAddress {
    pub(super) config: Arc<tokio_postgres::Config>,
    pub(super) tls: Option<MakeRustlsConnect>,
    place: String,
}

impl PostgresAddress {
    /// Reads the URL. TLS is on exactly if it says `sslmode=verify-full`; then
    /// `sslrootcert` names the file with the authorities. Without TLS only a Unix
    /// socket or a loopback address is taken.
    ///
    /// # Errors
    /// [`AddressError`], which repeats nothing of the URL.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => roots = Some(unescaped(value)),
                _ => rest.push(pair),
            }
        }
        let kept =
            if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let mut config =
            tokio_postgres::Config::from_str(&kept).map_err(|_| AddressError::Malformed)?;
        if config.get_hosts().is_empty() {
            return Err(AddressError::Malformed);
        }
        let tls = match mode {
            Some("verify-full") => {
                let path = roots.ok_or(AddressError::NoAuthorities)?;
                config.ssl_mode(SslMode::Require);
                Some(connector(Path::new(&path))?)
            }
            None | Some("disable") => {
                if !config.get_hosts().iter().all(is_local) {
                    return Err(AddressError::NotVerified);
                }
                config.ssl_mode(SslMode::Disable);
                None
            }
            Some(_) => return Err(AddressError::NotVerified),
        };
        config
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(SILENCE_TIMEOUT)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(3);
        let place = place_of(&config);
        Ok(Self { config: Arc::new(config), tls, place })
    }
}

impl std::fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place)
    }
}

impl std::fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place)
    }
}

/// `postgres://host:port/database` and no more.
fn place_of(config: &tokio_postgres::Config) -> String {
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate().map(|(number, host)| {
        let port = ports.get(number).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(path) => format!("{}:{port}", path.display()),
        }
    });
    let hosts: Vec<String> = hosts.collect();
    format!("postgres://{}/{}", hosts.join(","), config.get_dbname().unwrap_or("postgres"))
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

fn connector(path: &Path) -> Result<MakeRustlsConnect, AddressError> {
    let unusable = || AddressError::Authorities { path: path.to_owned() };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|_| unusable())? {
        roots.add(certificate.map_err(|_| unusable())?).map_err(|_| unusable())?;
    }
    if roots.is_empty() {
        return Err(unusable());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| unusable())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// `%2F` and the like.
fn unescaped(value: &str) -> String {
    percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_ever_printed() {
        let url = "postgres://alice:s3cret@127.0.0.1:6000/records";
        let address = PostgresAddress::parse(url).expect("a local address");
        for shown in [format!("{address}"), format!("{address:?}"), format!("{:?}", address.config)]
        {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        assert_eq!(address.to_string(), "postgres://127.0.0.1:6000/records");
        let wrong = PostgresAddress::parse("postgres://alice:s3cret@host:port/x");
        assert!(!format!("{wrong:?}").contains("s3cret"));
    }

    #[test]
    fn beyond_this_host_only_verified_tls_is_taken() {
        for url in [
            "postgres://db.example/records",
            "postgres://db.example/records?sslmode=require",
            "postgres://db.example/records?sslmode=disable",
            "postgres://127.0.0.1,db.example/records",
            "postgres://127.0.0.1/records?sslmode=prefer",
        ] {
            assert!(matches!(PostgresAddress::parse(url), Err(AddressError::NotVerified)), "{url}");
        }
        let url = "postgres://db.example/records?sslmode=verify-full";
        assert!(matches!(PostgresAddress::parse(url), Err(AddressError::NoAuthorities)));
        let url = format!("{url}&sslrootcert=/nowhere.pem");
        assert!(matches!(PostgresAddress::parse(&url), Err(AddressError::Authorities { .. })));
        for url in ["postgres://localhost/x", "postgres://u@%2Frun%2Fpg/x", "postgres://[::1]/x"] {
            assert!(PostgresAddress::parse(url).is_ok(), "{url}");
        }
    }
}
