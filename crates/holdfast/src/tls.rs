//! Certificates that the exchange makes for itself: an authority, the server's
//! certificate, and one for each system that sends. Private keys of the exchange
//! are sealed in the store; only the authority's certificate lies in the folder.

use std::path::{Path, PathBuf};

use holdfast_base::{PrincipalId, Sensitive, disk};
use holdfast_exchange::Exchange;
use holdfast_server::{CertificateIssuer, IssuedCertificate};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::failure::Failure;

const AUTHORITY: &str = "tls/authority";
const SERVER: &str = "tls/server";

/// A certificate chain and its key, as PEM.
#[derive(Clone)]
pub struct Identity {
    /// Certificate.
    pub certificate_pem: String,
    /// Private key.
    pub key_pem: Sensitive<String>,
    /// SHA-256 of the certificate's DER bytes.
    pub fingerprint: [u8; 32],
}

impl Identity {
    /// Reads a `NAME.pem` that the demo wrote: the key first, then the certificate.
    ///
    /// # Errors
    /// When it cannot be read or is no such file.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let pem =
            std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
        let at = pem
            .find("-----BEGIN CERTIFICATE-----")
            .ok_or_else(|| Failure::new(format!("{} holds no certificate", path.display())))?;
        let (key, certificate) = pem.split_at(at);
        Ok(Self {
            certificate_pem: certificate.to_owned(),
            key_pem: key.to_owned().into(),
            fingerprint: [0; 32],
        })
    }
}

/// The certificate authority of one exchange.
pub struct Authority {
    certificate_pem: String,
    key_pem: Sensitive<String>,
}

/// Where clients find the authority's certificate.
pub fn authority_path(dir: &Path) -> PathBuf {
    dir.join("tls").join("authority.pem")
}

impl Authority {
    /// The exchange's authority; made and sealed at the first call. A folder that
    /// came from a backup lacks the certificate's file: it is written again.
    ///
    /// # Errors
    /// When the store or the folder cannot be written.
    pub async fn of(exchange: &Exchange, dir: &Path) -> Result<Self, Failure> {
        let path = authority_path(dir);
        let kept = exchange.secret(AUTHORITY).map_err(|e| Failure::new(e.to_string()))?;
        let bundle = kept.as_ref().and_then(|kept| kept.expose().split_once('\0'));
        if let Some((key_pem, certificate_pem)) = bundle {
            let (key_pem, certificate_pem) = (key_pem.to_owned(), certificate_pem.to_owned());
            let authority = Self { certificate_pem, key_pem: key_pem.into() };
            let written = std::fs::read(&path).ok();
            if written.as_deref() != Some(authority.certificate_pem.as_bytes()) {
                authority.write(&path)?;
            }
            return Ok(authority);
        }
        let authority = match kept {
            // Kept before the certificate was kept with its key.
            Some(key_pem) => match std::fs::read_to_string(&path) {
                Ok(certificate_pem) => Self { certificate_pem, key_pem },
                // A certificate of the same name and key verifies the same.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    Self::signed(key_pem)?
                }
                Err(error) => return Err(Failure::io("read", &path, &error)),
            },
            None => {
                let key = KeyPair::generate().map_err(certificate_failure)?;
                Self::signed(key.serialize_pem().into())?
            }
        };
        authority.write(&path)?;
        let bundle = format!("{}\0{}", authority.key_pem.expose(), authority.certificate_pem);
        exchange
            .keep_secret(AUTHORITY, &bundle.into())
            .await
            .map_err(|error| Failure::new(error.to_string()))?;
        Ok(authority)
    }

    fn signed(key_pem: Sensitive<String>) -> Result<Self, Failure> {
        let key = KeyPair::from_pem(key_pem.expose()).map_err(certificate_failure)?;
        let certificate = authority_params().self_signed(&key).map_err(certificate_failure)?;
        Ok(Self { certificate_pem: certificate.pem(), key_pem })
    }

    fn write(&self, path: &Path) -> Result<(), Failure> {
        if let Some(folder) = path.parent() {
            disk::make_folder(folder).map_err(|e| Failure::io("create", folder, &e))?;
        }
        disk::write_file(path, self.certificate_pem.as_bytes(), false)
            .map_err(|error| Failure::io("write", path, &error))
    }

    /// The authority's certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The server's identity; made and sealed at the first call.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn server(&self, exchange: &Exchange, name: &str) -> Result<Identity, Failure> {
        let kept = exchange.secret(SERVER).map_err(|e| Failure::new(e.to_string()))?;
        if let Some(bundle) = kept
            && let Some((key_pem, certificate_pem)) = bundle.expose().split_once('\0')
        {
            let (key_pem, certificate_pem) = (key_pem.to_owned(), certificate_pem.to_owned());
            return Ok(Identity { certificate_pem, key_pem: key_pem.into(), fingerprint: [0; 32] });
        }
        let names = vec![name.to_owned(), "localhost".into(), "127.0.0.1".into(), "::1".into()];
        let identity = self.make(name, names, ExtendedKeyUsagePurpose::ServerAuth)?;
        let bundle = format!("{}\0{}", identity.key_pem.expose(), identity.certificate_pem);
        exchange
            .keep_secret(SERVER, &bundle.into())
            .await
            .map_err(|error| Failure::new(error.to_string()))?;
        Ok(identity)
    }

    /// An identity for a system that sends.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn system(&self, principal: &str) -> Result<Identity, Failure> {
        self.make(principal, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        principal: &PrincipalId,
        request_pem: &str,
    ) -> Result<IssuedCertificate, &'static str> {
        // The signature of the request proves that whoever asks has the key. Of what it
        // asks for, nothing is taken: the exchange says what the certificate is for.
        let mut request = CertificateSigningRequestParams::from_pem(request_pem)
            .map_err(|_| "the certificate request is no PKCS#10 request in PEM, or not signed")?;
        let broken = "the certificate could not be signed";
        request.params = end_params(principal.as_str(), ExtendedKeyUsagePurpose::ClientAuth)
            .map_err(|_| broken)?;
        let key = KeyPair::from_pem(self.key_pem.expose()).map_err(|_| broken)?;
        let issuer = Issuer::new(authority_params(), key);
        let certificate = request.signed_by(&issuer).map_err(|_| broken)?;
        Ok(IssuedCertificate {
            certificate_pem: certificate.pem(),
            fingerprint: holdfast_server::fingerprint(certificate.der()),
        })
    }

    fn make(
        &self,
        name: &str,
        hosts: Vec<String>,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Identity, Failure> {
        let authority_key =
            KeyPair::from_pem(self.key_pem.expose()).map_err(certificate_failure)?;
        let issuer = Issuer::new(authority_params(), authority_key);
        let key = KeyPair::generate().map_err(certificate_failure)?;
        let mut params = end_params(name, usage).map_err(certificate_failure)?;
        params.subject_alt_names =
            CertificateParams::new(hosts).map_err(certificate_failure)?.subject_alt_names;
        let certificate = params.signed_by(&key, &issuer).map_err(certificate_failure)?;
        Ok(Identity {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem().into(),
            fingerprint: holdfast_server::fingerprint(certificate.der()),
        })
    }
}

impl CertificateIssuer for Authority {
    fn issue(
        &self,
        principal: &PrincipalId,
        request_pem: &str,
    ) -> Result<IssuedCertificate, &'static str> {
        self.sign(principal, request_pem)
    }
}

/// A new key of a system and the request to certify it; or the request alone, of a key
/// that the system keeps.
pub struct KeyAndRequest {
    /// The private key, PEM.
    pub key_pem: Option<Sensitive<String>>,
    /// The request (PKCS#10, PEM).
    pub request_pem: String,
}

impl KeyAndRequest {
    /// Makes a key, here.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make() -> Result<Self, Failure> {
        let key = KeyPair::generate().map_err(certificate_failure)?;
        let request = CertificateParams::default().serialize_request(&key);
        let request_pem = request.and_then(|made| made.pem()).map_err(certificate_failure)?;
        Ok(Self { key_pem: Some(key.serialize_pem().into()), request_pem })
    }
}

/// What the certificate of an end says, its hosts aside.
fn end_params(
    name: &str,
    usage: ExtendedKeyUsagePurpose,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![usage];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

/// What the authority's certificate says, its key aside.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Holdfast exchange authority");
    params
}

fn certificate_failure(error: rcgen::Error) -> Failure {
    Failure::new(format!("a certificate could not be made: {error}"))
}
