//! TLS of the doors: our certificate, and the authority of the systems that send.

use std::sync::Arc;

use holdfast_base::{PrincipalId, Sensitive};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use crate::serve::ServeError;

/// What the server shows, and whose certificates it believes.
pub struct ServerIdentity {
    /// Its certificate and those between it and its root, PEM.
    pub certificate_pem: String,
    /// Its private key, PEM.
    pub key_pem: Sensitive<String>,
    /// The authority that has issued the certificates of sending systems, PEM.
    pub client_authority_pem: String,
    /// Signs certificates of new systems; without it none are made here.
    pub issuer: Option<Arc<dyn CertificateIssuer>>,
}

/// Signs certificates of sending systems with the key of [`ServerIdentity`]'s
/// `client_authority_pem`, which no door holds.
pub trait CertificateIssuer: Send + Sync {
    /// A client certificate for `principal` over the key of a PKCS#10 request (PEM).
    ///
    /// # Errors
    /// What is wrong with the request, in a sentence.
    fn issue(
        &self,
        principal: &PrincipalId,
        request_pem: &str,
    ) -> Result<IssuedCertificate, &'static str>;
}

/// A certificate that was made.
#[derive(Debug, Clone)]
pub struct IssuedCertificate {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// SHA-256 of its DER bytes.
    pub fingerprint: [u8; 32],
}

/// Whether a client has to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientCertificate {
    /// It may: people have none.
    Optional,
    /// It must.
    Required,
}

/// SHA-256 of a certificate in DER form: what a system's account is bound to.
pub fn fingerprint(certificate_der: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate_der);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

/// TLS 1.2 and 1.3 with the provider's default suites (all with forward secrecy).
pub(crate) fn server_config(
    identity: &ServerIdentity,
    client: ClientCertificate,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, ServeError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates(&identity.certificate_pem, "the server's certificate")?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.expose().as_bytes())
        .map_err(|_| ServeError::Pem { what: "the server's key" })?;
    let verifier = client_verifier(identity, client, Arc::clone(&provider))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ServeError::Tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(ServeError::Tls)?;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

fn client_verifier(
    identity: &ServerIdentity,
    client: ClientCertificate,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, ServeError> {
    let mut authorities = RootCertStore::empty();
    for authority in certificates(&identity.client_authority_pem, "the authority's certificate")? {
        authorities.add(authority).map_err(ServeError::Tls)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
    let builder = match client {
        ClientCertificate::Optional => builder.allow_unauthenticated(),
        ClientCertificate::Required => builder,
    };
    builder.build().map_err(|_| ServeError::Pem { what: "the authority's certificate" })
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(ServeError::Pem { what }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> ServerIdentity {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
            .expect("a certificate");
        ServerIdentity {
            certificate_pem: made.cert.pem(),
            key_pem: made.signing_key.serialize_pem().into(),
            client_authority_pem: made.cert.pem(),
            issuer: None,
        }
    }

    #[test]
    fn a_fingerprint_is_the_sha_256_of_the_bytes() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(data_encoding::HEXLOWER.encode(&fingerprint(b"abc")), expected);
    }

    #[test]
    fn an_identity_that_is_none_is_named() {
        let broken = ServerIdentity { certificate_pem: "no PEM".into(), ..identity() };
        let error = server_config(&broken, ClientCertificate::Optional, &[]).err();
        assert!(matches!(error, Some(ServeError::Pem { what: "the server's certificate" })));
        let broken = ServerIdentity { key_pem: String::new().into(), ..identity() };
        let error = server_config(&broken, ClientCertificate::Optional, &[]).err();
        assert!(matches!(error, Some(ServeError::Pem { what: "the server's key" })));
    }

    #[test]
    fn a_whole_identity_makes_a_configuration() {
        for client in [ClientCertificate::Optional, ClientCertificate::Required] {
            let config = server_config(&identity(), client, &[b"h2"]).expect("a configuration");
            assert_eq!(config.alpn_protocols, [b"h2".to_vec()]);
        }
    }
}
