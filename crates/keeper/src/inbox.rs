//! The inbox of an organization: the front process can seal what arrives, and
//! cannot open what it sealed yesterday.
//!
//! A payload is sealed under a content key of its own; the content key, in the
//! payload's header, to the inbox: HPKE base mode (RFC 9180), DHKEM(X25519,
//! HKDF-SHA256) with AES-256-GCM. The private key is 32 random bytes and never leaves
//! the keeper, which opens the headers that it is shown and gives out their content
//! keys, each for one payload.
//!
//! Format `c0`: `c0` ‖ length of the header `u16` ‖ header (encapsulated key 32 ‖ sealed
//! content key) ‖ sealed content. Format `01`, which an older exchange wrote, has no
//! content key: `01` ‖ encapsulated key 32 ‖ sealed payload; the keeper opens it whole.
//! A payload of a later generation names it before either (see `keyring`).

use std::sync::Arc;

use aws_lc_rs::{agreement, digest};
use holdfast_base::{MessageId, OrganizationId};
use parking_lot::RwLock;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};
use zeroize::Zeroizing;

use crate::SealError;
use crate::keyring::{Keys, generation_of, named};
use crate::primitive::{Secret, place};
use crate::protocol::{WireContent, WirePayload};

/// First byte of a payload that is sealed whole.
const FORMAT_WHOLE: u8 = 1;
/// First byte of a payload with a content key of its own.
const FORMAT_CONTENT_KEY: u8 = 0xc0;
/// Length of an encapsulated X25519 key.
const ENCAPSULATED_BYTES: usize = 32;

fn info(organization: &OrganizationId) -> Vec<u8> {
    format!("holdfast/v1/inbox/{organization}").into_bytes()
}

fn header_info(organization: &OrganizationId) -> Vec<u8> {
    format!("holdfast/v2/inbox-header/{organization}").into_bytes()
}

fn content_place(organization: &OrganizationId, aad: &[u8]) -> Vec<u8> {
    place("holdfast/v2/inbox-content", &[organization.as_str().as_bytes(), aad])
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
        let public = HpkePublicKey(public.to_vec());
        let content_key = Secret::random();
        let (encapsulated, wrapped) = SUITE
            .seal(&header_info(&self.organization), aad, content_key.bytes(), &public)
            .expect("HPKE seals to a valid X25519 key");
        let header_bytes = (encapsulated.0.len() + wrapped.len()) as u16;
        let content = content_key.seal(&content_place(&self.organization, aad), payload);
        let mut sealed = named(generation);
        sealed.reserve_exact(3 + usize::from(header_bytes) + content.len());
        sealed.push(FORMAT_CONTENT_KEY);
        sealed.extend_from_slice(&header_bytes.to_be_bytes());
        sealed.extend_from_slice(&encapsulated.0);
        sealed.extend_from_slice(&wrapped);
        sealed.extend_from_slice(&content);
        sealed
    }
}

/// A kept payload that is to be opened.
#[derive(Debug, Clone, Copy)]
pub struct KeptPayload<'a> {
    /// Its number.
    pub message: MessageId,
    /// Names its place, as when it was sealed.
    pub aad: &'a [u8],
    /// What was sealed.
    pub sealed: &'a [u8],
}

impl KeptPayload<'_> {
    /// What the keeper has to see of it.
    pub(crate) fn to_wire(self) -> WirePayload {
        let header = match split(self.sealed) {
            Ok((_, content)) => &self.sealed[..self.sealed.len() - content.len()],
            // Of an older exchange, or none that opens.
            Err(_) => self.sealed,
        };
        let place = self.aad.to_vec();
        WirePayload { message: self.message.0, place, sealed: header.to_vec() }
    }

    /// Opens it with what the keeper gave out.
    pub(crate) fn open(
        self,
        organization: &OrganizationId,
        content: WireContent,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        match content {
            WireContent::Plain(plain) => Ok(plain),
            WireContent::Key(key) => {
                let (_, sealed) = split(self.sealed)?;
                let place = content_place(organization, self.aad);
                key.open(&place, sealed).map(Zeroizing::new)
            }
        }
    }
}

/// Header and sealed content of a payload with a content key.
fn split(sealed: &[u8]) -> Result<(&[u8], &[u8]), SealError> {
    let (_, sealed) = generation_of(sealed)?;
    let (&format, rest) = sealed.split_first().ok_or(SealError::Malformed)?;
    if format != FORMAT_CONTENT_KEY {
        return Err(SealError::UnknownFormat { format });
    }
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(SealError::Malformed)?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(SealError::Malformed)
}

/// What stands for a payload in budgets and entries: nobody makes two headers alike.
pub(crate) fn token(payload: &WirePayload) -> [u8; 16] {
    let digest = digest::digest(&digest::SHA256, &payload.sealed);
    let mut token = [0; 16];
    token.copy_from_slice(&digest.as_ref()[..16]);
    token
}

/// Opens a header, or a payload without one, with the private half of an inbox.
pub(crate) fn open(
    organization: &OrganizationId,
    private: &Keys,
    payload: &WirePayload,
) -> Result<WireContent, SealError> {
    let (generation, sealed) = generation_of(&payload.sealed)?;
    let private = private.get(generation).ok_or(SealError::NoGeneration { generation })?;
    let (&format, rest) = sealed.split_first().ok_or(SealError::Malformed)?;
    match format {
        FORMAT_CONTENT_KEY => {
            let (header, _) = split(&payload.sealed)?;
            let key = open_hpke(&header_info(organization), private, &payload.place, header)?;
            Secret::from_slice(&key).map(WireContent::Key).ok_or(SealError::Malformed)
        }
        FORMAT_WHOLE => {
            open_hpke(&info(organization), private, &payload.place, rest).map(WireContent::Plain)
        }
        format => Err(SealError::UnknownFormat { format }),
    }
}

/// Opens all of what was sealed to `private`, where header and content are both here.
pub(crate) fn open_here(
    organization: &OrganizationId,
    private: &Keys,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let kept = KeptPayload { message: MessageId(0), aad, sealed };
    kept.open(organization, open(organization, private, &kept.to_wire())?)
}

fn open_hpke(
    info: &[u8],
    private: &Secret,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (encapsulated, body) =
        sealed.split_first_chunk::<ENCAPSULATED_BYTES>().ok_or(SealError::Malformed)?;
    let key = HpkePrivateKey::from(private.bytes().to_vec());
    let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
    let opened = SUITE.open(&encapsulated, info, aad, body, &key);
    opened.map(Zeroizing::new).map_err(|_| SealError::NotAuthentic)
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

    fn organization(name: &str) -> OrganizationId {
        OrganizationId::new(name).expect("a valid name")
    }

    fn sealer(name: &str, private: &Secret) -> InboxSealer {
        InboxSealer::new(organization(name), (FIRST, public_key(private)))
    }

    /// As it goes: the front process sends the header, the keeper answers.
    fn through(
        name: &str,
        private: &Secret,
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let kept = KeptPayload { message: MessageId(7), aad, sealed };
        let private = Keys::first(private.clone());
        let content = open(&organization(name), &private, &kept.to_wire())?;
        kept.open(&organization(name), content)
    }

    proptest! {
        #[test]
        fn a_kept_payload_opens_in_its_place_only(
            payload in proptest::collection::vec(any::<u8>(), 0..100),
            at in any::<prop::sample::Index>(),
        ) {
            let private = Secret::random();
            let mut sealed = sealer("lakeside", &private).seal(b"place", &payload);
            let opened = through("lakeside", &private, b"place", &sealed);
            prop_assert_eq!(opened.map(|opened| opened.to_vec()), Ok(payload));
            prop_assert!(through("lakeside", &private, b"elsewhere", &sealed).is_err());
            prop_assert!(through("hillside", &private, b"place", &sealed).is_err());
            let at = at.index(sealed.len());
            sealed[at] ^= 1;
            prop_assert!(through("lakeside", &private, b"place", &sealed).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_open_and_never_panic(
            sealed in proptest::collection::vec(any::<u8>(), 0..100),
            format in prop::sample::select(vec![0, 1, 2, FORMAT_CONTENT_KEY]),
        ) {
            let private = Secret::random();
            prop_assert!(through("lakeside", &private, b"", &sealed).is_err());
            let formatted = [&[format][..], &sealed].concat();
            prop_assert!(through("lakeside", &private, b"", &formatted).is_err());
        }
    }

    #[test]
    fn another_organizations_inbox_does_not_open_it() {
        let sealed = sealer("lakeside", &Secret::random()).seal(b"", b"x");
        let other = through("lakeside", &Secret::random(), b"", &sealed);
        assert_eq!(other, Err(SealError::NotAuthentic));
    }

    #[test]
    fn a_content_key_opens_its_own_payload_only() {
        let private = Secret::random();
        let sealer = sealer("lakeside", &private);
        let (one, other) = (sealer.seal(b"place", b"one"), sealer.seal(b"place", b"other"));
        let kept = |sealed| KeptPayload { message: MessageId(1), aad: b"place", sealed };
        let wire = kept(&one).to_wire();
        assert!(wire.sealed.len() < 120, "only the header goes to the keeper");
        assert_ne!(token(&wire), token(&kept(&other).to_wire()));
        let content = open(&organization("lakeside"), &Keys::first(private), &wire).expect("opens");
        let crossed = kept(&other).open(&organization("lakeside"), content);
        assert_eq!(crossed, Err(SealError::NotAuthentic));
    }

    /// What main wrote before there were content keys.
    #[test]
    fn a_payload_of_the_first_format_opens_whole() {
        let private = Secret::random();
        let (lakeside, key) =
            (organization("lakeside"), HpkePublicKey(public_key(&private).into()));
        let sealed = SUITE.seal(&info(&lakeside), b"place", b"MSH|", &key).expect("seals");
        let sealed = [&[FORMAT_WHOLE][..], &sealed.0.0, &sealed.1].concat();
        let opened = through("lakeside", &private, b"place", &sealed).expect("opens");
        assert_eq!(&opened[..], b"MSH|");
        assert!(through("lakeside", &private, b"elsewhere", &sealed).is_err());
    }
}
