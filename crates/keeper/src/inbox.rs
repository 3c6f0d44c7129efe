//! The inbox of an organization: the front process can seal what arrives, and
//! cannot open what it sealed yesterday.
//!
//! HPKE base mode (RFC 9180), DHKEM(X25519, HKDF-SHA256) with AES-256-GCM; the
//! private key is 32 random bytes, info names the organization. A payload of a later
//! generation names it (see `keyring`).

use std::sync::Arc;

use aws_lc_rs::agreement;
use holdfast_base::OrganizationId;
use parking_lot::RwLock;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};

use crate::SealError;
use crate::keyring::{Keys, generation_of, named};
use crate::primitive::Secret;

/// First byte of a sealed payload.
const FORMAT_HPKE_X25519_AES_256_GCM: u8 = 1;
/// Length of an encapsulated X25519 key.
const ENCAPSULATED_BYTES: usize = 32;

fn info(organization: &OrganizationId) -> Vec<u8> {
    format!("holdfast/v1/inbox/{organization}").into_bytes()
}

/// The public half: seals payloads for an organization's inbox. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InboxSealer {
    organization: OrganizationId,
    /// Generation and key; clones share it, so that all of them follow a rotation.
    public: Arc<RwLock<(u32, [u8; 32])>>,
}

impl InboxSealer {
    pub(crate) fn new(organization: OrganizationId, public: (u32, [u8; 32])) -> Self {
        Self { organization, public: Arc::new(RwLock::new(public)) }
    }

    /// Goes over to the key of `newer`, here and in every clone.
    pub fn take_over(&self, newer: &Self) {
        let public = *newer.public.read();
        *self.public.write() = public;
    }

    /// Seals `payload`; `aad` names its place and must be given to open it.
    ///
    /// # Panics
    /// When the cryptographic library cannot make an ephemeral key: out of memory
    /// or out of randomness, after which nothing may be accepted.
    pub fn seal(&self, aad: &[u8], payload: &[u8]) -> Vec<u8> {
        let (generation, public) = *self.public.read();
        let key = HpkePublicKey(public.to_vec());
        let (encapsulated, body) = SUITE
            .seal(&info(&self.organization), aad, payload, &key)
            .expect("HPKE seals to a valid X25519 key");
        let mut sealed = named(generation);
        sealed.reserve_exact(1 + encapsulated.0.len() + body.len());
        sealed.push(FORMAT_HPKE_X25519_AES_256_GCM);
        sealed.extend_from_slice(&encapsulated.0);
        sealed.extend_from_slice(&body);
        sealed
    }
}

/// The private half: opens an organization's kept payloads. Wiped when dropped;
/// its release is in the ledger.
#[derive(Debug)]
pub struct InboxOpener {
    organization: OrganizationId,
    private: Keys,
}

impl InboxOpener {
    pub(crate) fn new(organization: OrganizationId, private: Keys) -> Self {
        Self { organization, private }
    }

    /// Opens a payload that was sealed with the same `aad`.
    ///
    /// # Errors
    /// [`SealError`] when it was changed, moved, cut off or meant for another inbox.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (generation, sealed) = generation_of(sealed)?;
        let private = self.private.get(generation).ok_or(SealError::NoGeneration { generation })?;
        let (&format, rest) = sealed.split_first().ok_or(SealError::Malformed)?;
        if format != FORMAT_HPKE_X25519_AES_256_GCM {
            return Err(SealError::UnknownFormat { format });
        }
        let (encapsulated, body) =
            rest.split_first_chunk::<ENCAPSULATED_BYTES>().ok_or(SealError::Malformed)?;
        let key = HpkePrivateKey::from(private.bytes().to_vec());
        let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
        SUITE
            .open(&encapsulated, &info(&self.organization), aad, body, &key)
            .map_err(|_| SealError::NotAuthentic)
    }
}

/// The public key of an inbox whose private key is `private` (any 32 bytes are
/// one; X25519 clamps them, RFC 7748 §5).
pub(crate) fn public_key(private: &Secret) -> [u8; 32] {
    let key = agreement::PrivateKey::from_private_key(&agreement::X25519, private.bytes())
        .expect("any 32 bytes are an X25519 private key");
    let public = key.compute_public_key().expect("an X25519 key has a public half");
    public.as_ref().try_into().expect("an X25519 public key has 32 bytes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyring::FIRST;

    fn inbox(name: &str, private: &Secret) -> (InboxSealer, InboxOpener) {
        let organization = OrganizationId::new(name).expect("a valid name");
        (
            InboxSealer::new(organization.clone(), (FIRST, public_key(private))),
            InboxOpener::new(organization, Keys::first(private.clone())),
        )
    }

    proptest! {
        #[test]
        fn a_kept_payload_opens_in_its_place_only(
            payload in proptest::collection::vec(any::<u8>(), 0..100),
            at in any::<prop::sample::Index>(),
        ) {
            let private = Secret::random();
            let (sealer, opener) = inbox("lakeside", &private);
            let mut sealed = sealer.seal(b"place", &payload);
            prop_assert_eq!(opener.open(b"place", &sealed), Ok(payload));
            prop_assert!(opener.open(b"elsewhere", &sealed).is_err());
            prop_assert!(inbox("hillside", &private).1.open(b"place", &sealed).is_err());
            let at = at.index(sealed.len());
            sealed[at] ^= 1;
            prop_assert!(opener.open(b"place", &sealed).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_open_and_never_panic(
            sealed in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let (_, opener) = inbox("lakeside", &Secret::random());
            prop_assert!(opener.open(b"", &sealed).is_err());
        }
    }

    #[test]
    fn another_organizations_inbox_does_not_open_it() {
        let (sealer, _) = inbox("lakeside", &Secret::random());
        let (_, other) = inbox("lakeside", &Secret::random());
        assert_eq!(other.open(b"", &sealer.seal(b"", b"x")), Err(SealError::NotAuthentic));
    }
}
