//! C2SP `signed-note` and `tlog-checkpoint`: the text forms in which a log's
//! state is signed and passed on, by Ed25519 (RFC 8032); and the cosignatures of
//! `tlog-cosignature`, by Ed25519 (`cosignature/v1`) and by ML-DSA-44 (FIPS 204,
//! `subtree/v1`). A log's second signature is of the last kind, without a time.

use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, KeyPair, ML_DSA_44, ML_DSA_44_SIGNING, PqdsaKeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::tree::{Hash, hash_parts};

/// Signature type of a log's Ed25519 key.
const ED25519_KEY: u8 = 0x01;
/// Signature type of a witness's Ed25519 key with a time.
const COSIGNATURE_KEY: u8 = 0x04;
/// Signature type of an ML-DSA-44 key with a time: a witness's, or a log's second.
const ML_DSA_44_KEY: u8 = 0x06;
/// What every ML-DSA-44 message begins with.
const ML_DSA_44_LABEL: &[u8; 12] = b"subtree/v1\n\0";
/// Length of an ML-DSA-44 public key.
const ML_DSA_44_KEY_BYTES: usize = 1312;
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
    pub(crate) signatures: Vec<Signature>,
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    name: String,
    key_id: [u8; 4],
    bytes: Vec<u8>,
}

impl Signature {
    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
        let bytes = BASE64.decode(encoded).ok()?;
        let (id, bytes) = bytes.split_at_checked(4)?;
        let key_id = [id[0], id[1], id[2], id[3]];
        let whole = is_name(name) && !bytes.is_empty();
        whole.then(|| Self { name: name.to_owned(), key_id, bytes: bytes.to_vec() })
    }

    /// The line, its newline included.
    pub(crate) fn line(&self) -> String {
        let bytes = [&self.key_id[..], &self.bytes].concat();
        format!("— {} {}\n", self.name, BASE64.encode(bytes))
    }

    /// Who is said to have signed.
    pub(crate) fn signer(&self) -> (&str, [u8; 4]) {
        (&self.name, self.key_id)
    }
}

pub(crate) fn is_name(name: &str) -> bool {
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
        let signatures = lines.lines().map(Signature::parse).collect::<Option<Vec<_>>>();
        let signatures = signatures.ok_or(NoteError::NotANote)?;
        if text.len() < 2 || signatures.is_empty() {
            return Err(NoteError::NotANote);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The same text with further signature lines, as a note. A line that is there
    /// already is not doubled.
    ///
    /// # Errors
    /// [`NoteError::NotANote`] when a line is no signature line.
    pub(crate) fn with_lines(&self, lines: &str) -> Result<String, NoteError> {
        let mut signatures = self.signatures.clone();
        for line in lines.lines() {
            let signature = Signature::parse(line).ok_or(NoteError::NotANote)?;
            if !signatures.contains(&signature) {
                signatures.push(signature);
            }
        }
        let lines: String = signatures.iter().map(Signature::line).collect();
        Ok(format!("{}\n{lines}", self.text))
    }

    /// Origin, size and root, when the text is that of a checkpoint.
    pub(crate) fn state(&self) -> Result<(&str, u64, Hash), NoteError> {
        let mut lines = self.text.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(NoteError::NotACheckpoint);
        };
        let number: u64 = size.parse().map_err(|_| NoteError::NotACheckpoint)?;
        let root = BASE64.decode(root).map_err(|_| NoteError::NotACheckpoint)?;
        let root: Hash = root.try_into().map_err(|_| NoteError::NotACheckpoint)?;
        if origin.is_empty() || number.to_string() != size {
            return Err(NoteError::NotACheckpoint);
        }
        Ok((origin, number, root))
    }
}

/// The message that an Ed25519 cosignature signs.
fn cosigned_text(time: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// The `cosigned_message` that ML-DSA-44 signs. `None` when a name is too long.
fn cosigned_message(
    cosigner: &str,
    time: u64,
    origin: &str,
    size: u64,
    root: &Hash,
) -> Option<Vec<u8>> {
    let mut message = ML_DSA_44_LABEL.to_vec();
    message.push(u8::try_from(cosigner.len()).ok()?);
    message.extend_from_slice(cosigner.as_bytes());
    message.extend_from_slice(&time.to_be_bytes());
    message.push(u8::try_from(origin.len()).ok()?);
    message.extend_from_slice(origin.as_bytes());
    message.extend_from_slice(&0_u64.to_be_bytes());
    message.extend_from_slice(&size.to_be_bytes());
    message.extend_from_slice(root);
    Some(message)
}

/// A public key that notes are checked with: a log's, or a witness's. Text form
/// is the C2SP vkey `name+hash+base64(type ‖ key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: u8,
    public: Vec<u8>,
}

impl VerifierKey {
    /// Reads a vkey of type 0x01 (Ed25519), 0x04 (Ed25519 with a time) or 0x06
    /// (ML-DSA-44 with a time).
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
        let known = match *kind {
            ED25519_KEY | COSIGNATURE_KEY => public.len() == 32,
            ML_DSA_44_KEY => public.len() == ML_DSA_44_KEY_BYTES,
            _ => false,
        };
        let key = Self { name: name.to_owned(), kind: *kind, public: public.to_vec() };
        let right = known && is_name(name) && key.to_string() == vkey && hash.len() == 8;
        if right { Ok(key) } else { Err(NoteError::NotAKey) }
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The algorithm of the key, for people.
    pub fn algorithm(&self) -> &'static str {
        if self.kind == ML_DSA_44_KEY { "ML-DSA-44" } else { "Ed25519" }
    }

    /// Whether the key is of a type that witnesses cosign with.
    pub(crate) fn is_cosigner(&self) -> bool {
        matches!(self.kind, COSIGNATURE_KEY | ML_DSA_44_KEY)
    }

    /// Whether the key signs any text, not checkpoints only.
    pub(crate) fn is_plain(&self) -> bool {
        self.kind == ED25519_KEY
    }

    /// Name and key id, as they stand in signature lines.
    pub(crate) fn signer(&self) -> (&str, [u8; 4]) {
        (&self.name, key_id(&self.name, self.kind, &self.public))
    }

    /// Whether this key signed `note`.
    pub(crate) fn check(&self, note: &Note) -> Result<(), NoteError> {
        let mut mine = note.signatures.iter().filter(|s| s.signer() == self.signer()).peekable();
        if mine.peek().is_none() {
            return Err(NoteError::NotSigned);
        }
        let fits = |signature: &Signature| self.fits(note, &signature.bytes).is_some();
        if mine.all(fits) { Ok(()) } else { Err(NoteError::WrongSignature) }
    }

    /// `Some` when `signature` is this key's of the note's text.
    fn fits(&self, note: &Note, signature: &[u8]) -> Option<()> {
        if self.kind == ED25519_KEY {
            let key = UnparsedPublicKey::new(&ED25519, &self.public);
            return key.verify(note.text.as_bytes(), signature).ok();
        }
        let (time, signature) = signature.split_first_chunk::<8>()?;
        let time = u64::from_be_bytes(*time);
        if self.kind == COSIGNATURE_KEY {
            let key = UnparsedPublicKey::new(&ED25519, &self.public);
            return key.verify(&cosigned_text(time, &note.text), signature).ok();
        }
        let (origin, size, root) = note.state().ok()?;
        let message = cosigned_message(&self.name, time, origin, size, &root)?;
        UnparsedPublicKey::new(&ML_DSA_44, &self.public).verify(&message, signature).ok()
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
    second: Option<Cosigner>,
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
        let public = pair.public_key().as_ref().to_vec();
        let verifier = VerifierKey { name: origin.to_owned(), kind: ED25519_KEY, public };
        Ok(Self { name: origin.to_owned(), pair, verifier, former: Vec::new(), second: None })
    }

    /// The same signer, which also signs checkpoints by ML-DSA-44 with the key of
    /// this seed (FIPS 204 section 5.1).
    ///
    /// # Errors
    /// [`NoteError::NotAName`] when the name is too long for it.
    pub fn with_ml_dsa_44(self, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let second = Cosigner::ml_dsa_44(&self.name, seed)?;
        Ok(Self { second: Some(second), ..self })
    }

    /// The second public key, when there is one.
    pub fn second_verifier(&self) -> Option<&VerifierKey> {
        self.second.as_ref().map(Cosigner::verifier)
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

/// A key that cosigns checkpoints: a witness's, or a log's second one. `Debug`
/// prints the name only.
pub struct Cosigner {
    pair: CosignerPair,
    verifier: VerifierKey,
}

enum CosignerPair {
    Ed25519(Ed25519KeyPair),
    MlDsa44(Box<PqdsaKeyPair>),
}

impl std::fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cosigner({})", self.verifier.name)
    }
}

impl Cosigner {
    /// Cosigns as `name` by Ed25519 with the key of this seed.
    ///
    /// # Errors
    /// [`NoteError::NotAName`].
    pub fn ed25519(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let pair = is_name(name).then(|| Ed25519KeyPair::from_seed_unchecked(seed).ok()).flatten();
        let pair = pair.ok_or(NoteError::NotAName)?;
        let public = pair.public_key().as_ref().to_vec();
        let verifier = VerifierKey { name: name.to_owned(), kind: COSIGNATURE_KEY, public };
        Ok(Self { pair: CosignerPair::Ed25519(pair), verifier })
    }

    /// Cosigns as `name` by ML-DSA-44 with the key of this seed.
    ///
    /// # Errors
    /// [`NoteError::NotAName`].
    pub fn ml_dsa_44(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let fits = is_name(name) && name.len() <= usize::from(u8::MAX);
        let pair = fits.then(|| PqdsaKeyPair::from_seed(&ML_DSA_44_SIGNING, seed).ok()).flatten();
        let pair = pair.ok_or(NoteError::NotAName)?;
        let public = pair.public_key().as_ref().to_vec();
        let verifier = VerifierKey { name: name.to_owned(), kind: ML_DSA_44_KEY, public };
        Ok(Self { pair: CosignerPair::MlDsa44(Box::new(pair)), verifier })
    }

    /// The public key to check this cosigner's lines with.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The signature line for a checkpoint as of `time`, in seconds since 1970; 0
    /// says nothing of the time.
    ///
    /// # Errors
    /// [`NoteError::NotACheckpoint`] when the note is none.
    pub(crate) fn line(&self, note: &Note, time: u64) -> Result<String, NoteError> {
        let (origin, size, root) = note.state()?;
        let mut bytes = time.to_be_bytes().to_vec();
        match &self.pair {
            CosignerPair::Ed25519(pair) => {
                bytes.extend_from_slice(pair.sign(&cosigned_text(time, &note.text)).as_ref());
            }
            CosignerPair::MlDsa44(pair) => {
                let message = cosigned_message(&self.verifier.name, time, origin, size, &root);
                let message = message.ok_or(NoteError::NotACheckpoint)?;
                let mut signature = vec![0; ML_DSA_44_SIGNING.signature_len()];
                let signed = pair.sign(&message, &mut signature);
                signed.map_err(|_| NoteError::NotACheckpoint)?;
                bytes.extend_from_slice(&signature);
            }
        }
        let (name, key_id) = self.verifier.signer();
        Ok(Signature { name: name.to_owned(), key_id, bytes }.line())
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
        let note = signer.sign(&text);
        Self { origin: signer.name.clone(), size, root, note }.signed_again(signer)
    }

    /// With the second signature of each signer that has a second key.
    fn signed_again(mut self, signer: &CheckpointSigner) -> Self {
        let seconds =
            std::iter::once(signer).chain(&signer.former).filter_map(|s| s.second.as_ref());
        for second in seconds {
            // A note of ours is a checkpoint, so that there is always a line.
            let signed = Note::parse(&self.note).and_then(|n| Ok((second.line(&n, 0)?, n)));
            if let Ok(note) = signed.and_then(|(line, note)| note.with_lines(&line)) {
                self.note = note;
            }
        }
        self
    }

    /// The same checkpoint with further signature lines.
    ///
    /// # Errors
    /// [`NoteError::NotANote`] when a line is no signature line.
    pub fn with_lines(&self, lines: &str) -> Result<Self, NoteError> {
        let note = Note::parse(&self.note)?.with_lines(lines)?;
        Ok(Self { note, ..self.clone() })
    }

    /// Reads a checkpoint and checks that `key` signed it for `origin`.
    ///
    /// # Errors
    /// [`NoteError`]: what is wrong with it.
    pub fn parse(note: &str, origin: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let parsed = Note::parse(note)?;
        let (named, size, root) = parsed.state()?;
        if named != origin {
            return Err(NoteError::OtherOrigin);
        }
        key.check(&parsed)?;
        Ok(Self { origin: origin.to_owned(), size, root, note: note.to_owned() })
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
    fn a_cosignature_of_the_specification_s_form_verifies_and_binds_its_time() {
        let note = Checkpoint::sign(&signer(), 42, [9; 32]);
        let parsed = Note::parse(note.note()).expect("a note");
        for cosigner in [
            Cosigner::ed25519("witness.example/w1", &[3; 32]).expect("a name"),
            Cosigner::ml_dsa_44("witness.example/w1", &[3; 32]).expect("a name"),
        ] {
            let line = cosigner.line(&parsed, 1_679_315_147).expect("signs");
            let both = note.with_lines(&line).expect("a line");
            let read = VerifierKey::parse(&cosigner.verifier().to_string()).expect("a key");
            let cosigned = Note::parse(both.note()).expect("a note");
            assert_eq!(read.check(&cosigned), Ok(()));
            assert_eq!(read.check(&parsed), Err(NoteError::NotSigned));
            let mut later = cosigned.clone();
            later.signatures[1].bytes[7] ^= 1;
            assert_eq!(read.check(&later), Err(NoteError::WrongSignature));
            let other = both.note().replacen("\n42\n", "\n43\n", 1);
            let other = Note::parse(&other).expect("a note");
            assert_eq!(read.check(&other), Err(NoteError::WrongSignature));
        }
    }

    #[test]
    fn p13_a_checkpoint_has_a_second_signature_by_ml_dsa_44() {
        let signer = signer().with_ml_dsa_44(&[8; 32]).expect("a name");
        let checkpoint = Checkpoint::sign(&signer, 42, [9; 32]);
        let parsed = Note::parse(checkpoint.note()).expect("a note");
        let second = signer.second_verifier().expect("a second key");
        assert_eq!((parsed.signatures.len(), second.algorithm()), (2, "ML-DSA-44"));
        assert_eq!((signer.verifier().check(&parsed), second.check(&parsed)), (Ok(()), Ok(())));
        let other = CheckpointSigner::from_seed("example.org/log", &[7; 32]).expect("a name");
        let other = other.with_ml_dsa_44(&[7; 32]).expect("a name");
        let other = other.second_verifier().expect("a second key").check(&parsed);
        assert_eq!(other, Err(NoteError::NotSigned));
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
