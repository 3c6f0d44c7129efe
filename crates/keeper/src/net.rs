//! Where a keeper listens and is found: a Unix socket, or TCP with mutual TLS for a
//! keeper on a host of its own. The protocol is the same.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use holdfast_base::Sensitive;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// What one side of a TLS connection shows, and whom it believes: one authority that
/// signs keepers and front processes and nobody else.
#[derive(Debug, Clone)]
pub struct TlsIdentity {
    /// The own certificate, as PEM.
    pub certificate_pem: String,
    /// Its private key, as PEM.
    pub key_pem: Sensitive<String>,
    /// The authority that signed the other side's certificate, as PEM.
    pub authority_pem: String,
}

/// Where a keeper listens for front processes of other hosts.
#[derive(Debug, Clone)]
pub struct TcpListen {
    /// Address and port.
    pub address: SocketAddr,
    /// What it shows and whom it hears.
    pub identity: TlsIdentity,
}

/// Where a front process finds its keeper.
#[derive(Debug, Clone)]
pub enum KeeperAddress {
    /// On this host.
    Unix {
        /// The socket.
        socket: PathBuf,
        /// The user id that the keeper runs as; nothing: the own one.
        keeper_uid: Option<u32>,
    },
    /// On a host of its own.
    Tcp {
        /// `host:port`; the host must stand in the keeper's certificate.
        address: String,
        /// What the front process shows and whom it believes.
        identity: TlsIdentity,
    },
}

impl From<PathBuf> for KeeperAddress {
    fn from(socket: PathBuf) -> Self {
        Self::Unix { socket, keeper_uid: None }
    }
}

/// A certificate, key or authority that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the keeper's {what} cannot be used: {why}")]
pub struct TlsError {
    what: &'static str,
    why: String,
}

fn unusable(what: &'static str) -> impl Fn(&dyn std::fmt::Display) -> TlsError {
    move |why| TlsError { what, why: why.to_string() }
}

impl TlsIdentity {
    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        certificates(&self.certificate_pem, "certificate")
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(self.key_pem.expose().as_bytes())
            .map_err(|error| unusable("key")(&error))
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.authority_pem, "authority")? {
            roots.add(certificate).map_err(|error| unusable("authority")(&error))?;
        }
        Ok(Arc::new(roots))
    }

    /// TLS 1.3 only, both sides are ours; a client without a certificate of the
    /// authority is not heard.
    pub(crate) fn server(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.roots()?, Arc::clone(&provider))
                .build()
                .map_err(|error| unusable("authority")(&error))?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| unusable("protocol")(&error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain()?, self.key()?)
            .map_err(|error| unusable("certificate")(&error))?;
        Ok(Arc::new(config))
    }

    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| unusable("protocol")(&error))?
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(self.chain()?, self.key()?)
            .map_err(|error| unusable("certificate")(&error))?;
        Ok(Arc::new(config))
    }
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let read = read.map_err(|error| unusable(what)(&error))?;
    if read.is_empty() { Err(unusable(what)(&"it has no certificate")) } else { Ok(read) }
}
