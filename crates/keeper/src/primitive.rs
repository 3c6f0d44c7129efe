//! The primitives that everything else is made of: one AEAD, one derivation.
//!
//! **AEAD.** XAES-256-GCM ([C2SP](https://c2sp.org/XAES-256-GCM)): the key and
//! the first half of a random 192-bit nonce give a fresh AES-256-GCM key
//! (NIST SP 800-108 counter mode with CMAC), the second half is its nonce. Why
//! not the alternatives: plain AES-256-GCM with random 96-bit nonces allows
//! about 2³² messages a key, which the ledger and the system rows would reach;
//! AES-256-GCM-SIV is not among the algorithms that NIST approves, and the HHS
//! guidance on what counts as *secured* health information asks for those.
//! XAES is made of approved parts only and has no practical message limit.
//!
//! **Derivation.** HKDF-SHA-256 (RFC 5869), salt `holdfast/v1`, info = label.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::{aead, cmac, hkdf};
use holdfast_base::fill_random;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};

use crate::SealError;

/// First byte of everything sealed; the next algorithm takes the next number.
const FORMAT_XAES_256_GCM: u8 = 1;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// How many bytes sealing adds.
pub(crate) const OVERHEAD_BYTES: usize = 1 + NONCE_BYTES + TAG_BYTES;

/// 32 secret bytes: wiped when dropped, printed by nothing.
#[derive(Clone)]
pub(crate) struct Secret {
    bytes: Zeroizing<[u8; 32]>,
    /// The key schedule of the message keys' derivation, once it was needed. The
    /// library wipes it with its memory when the last clone is dropped.
    mac: OnceLock<Arc<cmac::Key>>,
}

impl Secret {
    pub(crate) fn random() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        fill_random(&mut *bytes);
        Self::of(bytes)
    }

    fn of(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self { bytes, mac: OnceLock::new() }
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut secret = Zeroizing::new([0; 32]);
        if bytes.len() != secret.len() {
            return None;
        }
        secret.copy_from_slice(bytes);
        Some(Self::of(secret))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The key that `label` names under this one.
    pub(crate) fn derive(&self, label: &str) -> Self {
        let [derived] = self.derive_all(&[label]).try_into().expect("one label, one key");
        derived
    }

    /// The keys that `labels` name under this one, in their order.
    pub(crate) fn derive_all(&self, labels: &[impl AsRef<str>]) -> Vec<Self> {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"holdfast/v1").extract(&*self.bytes);
        let derive = |label: &str| {
            let mut derived = Zeroizing::new([0; 32]);
            prk.expand(&[label.as_bytes()], hkdf::HKDF_SHA256)
                .and_then(|material| material.fill(&mut *derived))
                .expect("HKDF-SHA-256 always gives 32 bytes");
            Self::of(derived)
        };
        labels.iter().map(|label| derive(label.as_ref())).collect()
    }

    /// Seals `plaintext` in the place that `aad` names.
    pub(crate) fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        fill_random(&mut nonce);
        self.seal_with(&nonce, aad, plaintext)
    }

    fn seal_with(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let (key, nonce_tail) = self.message_key(nonce);
        let mut sealed = Vec::with_capacity(OVERHEAD_BYTES + plaintext.len());
        sealed.push(FORMAT_XAES_256_GCM);
        sealed.extend_from_slice(nonce);
        sealed.extend_from_slice(plaintext);
        let tag = key
            .seal_in_place_separate_tag(
                nonce_tail,
                aead::Aad::from(aad),
                &mut sealed[1 + NONCE_BYTES..],
            )
            .expect("AES-256-GCM seals anything shorter than 64 GiB");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens what was sealed in the place that `aad` names, and only there.
    pub(crate) fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (&format, rest) = sealed.split_first().ok_or(SealError::Malformed)?;
        if format != FORMAT_XAES_256_GCM {
            return Err(SealError::UnknownFormat { format });
        }
        let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Malformed)?;
        if body.len() < TAG_BYTES {
            return Err(SealError::Malformed);
        }
        let (key, nonce_tail) = self.message_key(nonce);
        let mut opened = body.to_vec();
        match key.open_in_place(nonce_tail, aead::Aad::from(aad), &mut opened) {
            Ok(plaintext) => {
                let length = plaintext.len();
                opened.truncate(length);
                Ok(opened)
            }
            Err(_) => {
                opened.zeroize();
                Err(SealError::NotAuthentic)
            }
        }
    }

    /// The AES-256-GCM key and nonce of one message. C2SP XAES-256-GCM.
    fn message_key(&self, nonce: &[u8; NONCE_BYTES]) -> (aead::LessSafeKey, aead::Nonce) {
        let mac_key = self.mac.get_or_init(|| {
            let key = cmac::Key::new(cmac::AES_256, &*self.bytes);
            Arc::new(key.expect("32 bytes are an AES-256 key"))
        });
        let mut derived = Zeroizing::new([0; 32]);
        for (counter, half) in (1..=2).zip(derived.chunks_exact_mut(16)) {
            let mut block = [0, counter, b'X', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            block[4..].copy_from_slice(&nonce[..12]);
            let tag = cmac::sign(mac_key, &block).expect("CMAC of one block cannot fail");
            half.copy_from_slice(tag.as_ref());
        }
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, &*derived)
            .expect("32 bytes are an AES-256 key");
        let tail = aead::Nonce::try_assume_unique_for_key(&nonce[12..])
            .expect("the second half of a nonce has 12 bytes");
        (aead::LessSafeKey::new(key), tail)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// Secrets travel between keeper and front process only, in frames that are
/// wiped after use.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bytes.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <[u8; 32]>::deserialize(deserializer).map(|bytes| Self::of(Zeroizing::new(bytes)))
    }
}

/// Additional data that no two different lists of parts share: each part is
/// preceded by its length.
pub(crate) fn place(label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| 4 + part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(4 + label.len() + length);
    for part in std::iter::once(&label.as_bytes()).chain(parts) {
        let part_len = u32::try_from(part.len()).expect("a place name is shorter than 4 GiB");
        bytes.extend_from_slice(&part_len.to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The two examples of the C2SP specification.
    #[test]
    fn the_aead_is_the_xaes_256_gcm_of_the_specification() {
        let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
        for (byte, aad, want) in [
            (1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
            (
                3,
                "c2sp.org/XAES-256-GCM",
                "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
            ),
        ] {
            let key = Secret::from_slice(&[byte; 32]).expect("32 bytes");
            let sealed = key.seal_with(nonce, aad.as_bytes(), b"XAES-256-GCM");
            assert_eq!(hex(&sealed[25..]), want);
        }
    }

    #[test]
    fn another_format_number_is_named_and_not_guessed() {
        let key = Secret::random();
        let mut sealed = key.seal(b"", b"text");
        sealed[0] = 2;
        assert_eq!(key.open(b"", &sealed), Err(SealError::UnknownFormat { format: 2 }));
    }

    #[test]
    fn labels_give_unrelated_keys() {
        let root = Secret::random();
        assert_ne!(root.derive("a").bytes(), root.derive("b").bytes());
        assert_eq!(root.derive("a").bytes(), root.derive("a").bytes());
        assert_eq!(format!("{root:?}"), "[secret]");
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_and_never_shows(
            plaintext in proptest::collection::vec(any::<u8>(), 0..200),
            aad in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let key = Secret::random();
            let sealed = key.seal(&aad, &plaintext);
            prop_assert_eq!(sealed.len(), plaintext.len() + OVERHEAD_BYTES);
            prop_assert_eq!(key.open(&aad, &sealed), Ok(plaintext));
        }

        #[test]
        fn one_changed_bit_anywhere_is_found(
            plaintext in proptest::collection::vec(any::<u8>(), 0..60),
            at in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let key = Secret::random();
            let mut sealed = key.seal(b"place", &plaintext);
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(key.open(b"place", &sealed).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_open_and_never_panic(
            sealed in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            prop_assert!(Secret::random().open(b"", &sealed).is_err());
        }

        #[test]
        fn different_parts_are_different_places(
            a in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 0..4),
            b in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 0..4),
        ) {
            let name = |parts: &[Vec<u8>]| {
                place("label", &parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
            };
            prop_assert_eq!(name(&a) == name(&b), a == b);
        }
    }
}
