//! C2SP `signed-note` and `tlog-checkpoint`: the text forms in which a log's
//! state is signed and passed on, by Ed25519 (RFC 8032); and the cosignatures of
//! witnesses (`tlog-cosignature`, `cosignature/v1`).

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::tree::{Hash, hash_parts};

/// Signature type of a log's Ed25519 key.
const ED25519_KEY: u8 = 0x01;
/// Signature type of a witness's Ed25519 key with a time.
const COSIGNATURE_KEY: u8 = 0x04;
/// A note that is longer than this is not read.
const NOTE_BYTES_MAX: usize = 1 << 26;

/// Why a text is not a note, a checkpoint or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text does not have the form of a signed note.
    #[error("not a signed note")]
    NotANote,
    /// The note's text is not a checkpoint.
    #[error("not a checkpoint")]
    NotACheckpoint,
    /// The text is not a verifier key `name+hash+base64`, or its hash is not that of its key.
    #[error("not a verifier key")]
    NotAKey,
    /// A name that cannot stand in a note: empty, or with a space, a plus or a
    /// control character.
    #[error("not a name that can stand in a note")]
    NotAName,
    /// The note is of another log.
    #[error("of another origin")]
    OtherOrigin,
    /// The key did not sign the note.
    #[error("no signature of the key")]
    NotSigned,
    /// The key's signature does not fit the text.
    #[error("the signature does not fit the text")]
    WrongSignature,
}

/// A parsed note: a text and who says to have signed it. Nothing is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// The signed text, its last newline included.
    pub(crate) text: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    name: String,
    key_id: [u8; 4],
    bytes: Vec<u8>,
}

fn is_name(name: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !name.is_empty() && !name.contains(bad)
}

fn key_id(name: &str, kind: u8, public: &[u8]) -> [u8; 4] {
    let hash = hash_parts(&[name.as_bytes(), b"\n", &[kind], public]);
    [hash[0], hash[1], hash[2], hash[3]]
}

impl Note {
    pub(crate) fn parse(note: &str) -> Result<Self, NoteError> {
        let control = |c: char| c.is_ascii_control() && c != '\n';
        if note.len() > NOTE_BYTES_MAX || note.contains(control) || !note.ends_with('\n') {
            return Err(NoteError::NotANote);
        }
        let blank = note.rfind("\n\n").ok_or(NoteError::NotANote)?;
        let (text, lines) = (&note[..=blank], &note[blank + 2..]);
        let mut signatures = Vec::new();
        for line in lines.lines() {
            let signed = line.strip_prefix("— ").ok_or(NoteError::NotANote)?;
            let (name, encoded) = signed.split_once(' ').ok_or(NoteError::NotANote)?;
            let bytes = BASE64.decode(encoded).map_err(|_| NoteError::NotANote)?;
            let (id, bytes) = bytes.split_at_checked(4).ok_or(NoteError::NotANote)?;
            if !is_name(name) || bytes.is_empty() {
                return Err(NoteError::NotANote);
            }
            let key_id = [id[0], id[1], id[2], id[3]];
            signatures.push(Signature { name: name.to_owned(), key_id, bytes: bytes.to_vec() });
        }
        if text.len() < 2 || signatures.is_empty() {
            return Err(NoteError::NotANote);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }
}

/// A public key that notes are checked with: a log's, or a witness's. Text form
/// is the C2SP vkey `name+hash+base64(type ‖ key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: u8,
    public: [u8; 32],
}

impl VerifierKey {
    /// Reads a vkey of type 0x01 (Ed25519) or 0x04 (Ed25519 with a time).
    ///
    /// # Errors
    /// [`NoteError::NotAKey`].
    pub fn parse(vkey: &str) -> Result<Self, NoteError> {
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::NotAKey);
        };
        let key = BASE64.decode(key).map_err(|_| NoteError::NotAKey)?;
        let (kind, public) = key.split_first().ok_or(NoteError::NotAKey)?;
        let public: [u8; 32] = public.try_into().map_err(|_| NoteError::NotAKey)?;
        let key = Self { name: name.to_owned(), kind: *kind, public };
        let known = matches!(*kind, ED25519_KEY | COSIGNATURE_KEY);
        let right = known && is_name(name) && key.to_string() == vkey && hash.len() == 8;
        if right { Ok(key) } else { Err(NoteError::NotAKey) }
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this key signed `note`.
    pub(crate) fn check(&self, note: &Note) -> Result<(), NoteError> {
        let id = key_id(&self.name, self.kind, &self.public);
        let mut mine =
            note.signatures.iter().filter(|s| s.name == self.name && s.key_id == id).peekable();
        if mine.peek().is_none() {
            return Err(NoteError::NotSigned);
        }
        let fits = |signature: &Signature| {
            let (message, bytes) = match (self.kind, signature.bytes.split_at_checked(8)) {
                (COSIGNATURE_KEY, Some((time, bytes))) => {
                    let time = time.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
                    (format!("cosignature/v1\ntime {time}\n{}", note.text), bytes)
                }
                (COSIGNATURE_KEY, None) => return false,
                _ => (note.text.clone(), signature.bytes.as_slice()),
            };
            let key = UnparsedPublicKey::new(&ED25519, &self.public);
            key.verify(message.as_bytes(), bytes).is_ok()
        };
        if mine.all(fits) { Ok(()) } else { Err(NoteError::WrongSignature) }
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = u32::from_be_bytes(key_id(&self.name, self.kind, &self.public));
        let mut key = vec![self.kind];
        key.extend_from_slice(&self.public);
        write!(f, "{}+{id:08x}+{}", self.name, BASE64.encode(key))
    }
}

/// Signs checkpoints in the name of a log. `Debug` prints the name only.
pub struct CheckpointSigner {
    name: String,
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
    /// Signers before a change of keys, who still sign beside this one.
    former: Vec<CheckpointSigner>,
}

impl std::fmt::Debug for CheckpointSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CheckpointSigner({})", self.name)
    }
}

impl CheckpointSigner {
    /// The signer of the log `origin` with the Ed25519 key of this seed (RFC 8032
    /// section 5.1.5).
    ///
    /// # Errors
    /// [`NoteError::NotAName`] when `origin` cannot be a key's name.
    pub fn from_seed(origin: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let named = is_name(origin).then_some(());
        let pair = named.and_then(|()| Ed25519KeyPair::from_seed_unchecked(seed).ok());
        let pair = pair.ok_or(NoteError::NotAName)?;
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        let verifier = VerifierKey { name: origin.to_owned(), kind: ED25519_KEY, public };
        Ok(Self { name: origin.to_owned(), pair, verifier, former: Vec::new() })
    }

    /// This signer with one before it, which signs everything, too: while keys change,
    /// whoever trusts either of them can verify.
    #[must_use]
    pub fn with_former(mut self, former: Self) -> Self {
        self.former.push(former);
        self
    }

    /// The public keys of this signer and of those before it, newest first.
    pub fn verifiers(&self) -> impl Iterator<Item = &VerifierKey> {
        std::iter::once(&self.verifier).chain(self.former.iter().map(|one| &one.verifier))
    }

    /// The public key to check this signer's notes with.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The public key as C2SP vkey text: what goes into a verifier's policy.
    pub fn vkey(&self) -> String {
        self.verifier.to_string()
    }

    /// `text` (ending in a newline) with this signer's signature.
    pub(crate) fn sign(&self, text: &str) -> String {
        let mut note = format!("{text}\n");
        for signer in std::iter::once(self).chain(&self.former) {
            note.push_str(&signer.signature(text));
        }
        note
    }

    /// The line of this signer alone.
    fn signature(&self, text: &str) -> String {
        let mut signed = key_id(&self.name, ED25519_KEY, &self.verifier.public).to_vec();
        signed.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!("— {} {}\n", self.name, BASE64.encode(signed))
    }
}

/// The state of a log at one size, with the note that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    note: String,
}

impl Checkpoint {
    /// A checkpoint of the log that `signer` signs for.
    pub(crate) fn sign(signer: &CheckpointSigner, size: u64, root: Hash) -> Self {
        let text = format!("{}\n{size}\n{}\n", signer.name, BASE64.encode(root));
        Self { origin: signer.name.clone(), size, root, note: signer.sign(&text) }
    }

    /// Reads a checkpoint and checks that `key` signed it for `origin`.
    ///
    /// # Errors
    /// [`NoteError`]: what is wrong with it.
    pub fn parse(note: &str, origin: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let parsed = Note::parse(note)?;
        let mut lines = parsed.text.lines();
        let (Some(first), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(NoteError::NotACheckpoint);
        };
        if first != origin {
            return Err(NoteError::OtherOrigin);
        }
        key.check(&parsed)?;
        let number: u64 = size.parse().map_err(|_| NoteError::NotACheckpoint)?;
        let root = BASE64.decode(root).map_err(|_| NoteError::NotACheckpoint)?;
        let root: Hash = root.try_into().map_err(|_| NoteError::NotACheckpoint)?;
        if number.to_string() != size {
            return Err(NoteError::NotACheckpoint);
        }
        Ok(Self { origin: origin.to_owned(), size: number, root, note: note.to_owned() })
    }

    /// The name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root of the tree over them.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The signed note, as it stands in the file `checkpoint`.
    pub fn note(&self) -> &str {
        &self.note
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> CheckpointSigner {
        CheckpointSigner::from_seed("example.org/log", &[7; 32]).expect("a name")
    }

    #[test]
    fn a_signed_checkpoint_reads_back() {
        let checkpoint = Checkpoint::sign(&signer(), 42, [9; 32]);
        let key = VerifierKey::parse(&signer().vkey()).expect("a key");
        let read = Checkpoint::parse(checkpoint.note(), "example.org/log", &key);
        assert_eq!(read, Ok(checkpoint));
    }

    #[test]
    fn while_keys_change_a_checkpoint_verifies_with_the_former_and_the_new_key() {
        let new = CheckpointSigner::from_seed("example.org/log", &[8; 32]).expect("a name");
        let (old_key, new_key) = (signer().verifier().clone(), new.verifier().clone());
        let both = new.with_former(signer());
        assert_eq!(both.verifiers().collect::<Vec<_>>(), [&new_key, &old_key]);
        let note = Checkpoint::sign(&both, 42, [9; 32]);
        for key in [&old_key, &new_key] {
            assert!(Checkpoint::parse(note.note(), "example.org/log", key).is_ok());
        }
        let alone = Checkpoint::sign(&signer(), 42, [9; 32]);
        let read = Checkpoint::parse(alone.note(), "example.org/log", &new_key);
        assert_eq!(read, Err(NoteError::NotSigned));
    }

    #[test]
    fn any_flipped_byte_of_a_checkpoint_is_refused() {
        let checkpoint = Checkpoint::sign(&signer(), 42, [9; 32]);
        for place in 0..checkpoint.note().len() {
            let mut bytes = checkpoint.note().as_bytes().to_vec();
            bytes[place] ^= 1;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let read = Checkpoint::parse(&text, "example.org/log", signer().verifier());
            assert!(read.is_err(), "byte {place}");
        }
    }

    #[test]
    fn a_note_of_another_implementation_verifies() {
        // The example of the Go package golang.org/x/mod/sumdb/note.
        let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let note = "If you think cryptography is the answer to your problem,\n\
            then you don't know what your problem is.\n\n\
            — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let key = VerifierKey::parse(vkey).expect("a key");
        let parsed = Note::parse(note).expect("a note");
        assert_eq!(key.check(&parsed), Ok(()));
        let other = Note::parse(&note.replace("answer", "Answer")).expect("a note");
        assert_eq!(key.check(&other), Err(NoteError::WrongSignature));
    }

    #[test]
    fn keys_with_a_wrong_hash_or_type_are_refused() {
        let vkey = signer().vkey();
        assert!(VerifierKey::parse(&vkey).is_ok());
        let (name, rest) = vkey.split_once('+').expect("has a plus");
        assert!(VerifierKey::parse(&format!("{name}x+{rest}")).is_err());
        assert!(VerifierKey::parse("a+00000000+").is_err());
        assert!(CheckpointSigner::from_seed("two words", &[0; 32]).is_err());
    }
}
