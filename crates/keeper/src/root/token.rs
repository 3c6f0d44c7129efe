//! A PKCS#11 token (OASIS PKCS #11 v2.40 and later): a smart card, an HSM, or a
//! program that behaves like one. An AES-256 key that cannot leave the token wraps
//! the root with AES-GCM.

use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use holdfast_base::fill_random;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::guard::{GuardError, RootGuard};

/// Label of the key in a token, when nobody names another.
pub(crate) const KEY_LABEL: &str = "holdfast-root";
const IV_BYTES: usize = 12;
const TAG_BITS: u64 = 128;

/// Where the key is. No secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenText {
    /// The token's library.
    pub module: String,
    /// The token's label.
    pub token: String,
    /// The token's serial number.
    pub serial: String,
    /// The key's label.
    pub key: String,
}

fn away(what: impl std::fmt::Display) -> GuardError {
    GuardError::Away { what: what.to_string() }
}

/// What a token's answer means here. Messages of libraries hold no secret.
fn told(error: Error, doing: &str) -> GuardError {
    match error {
        Error::Pkcs11(
            RvError::PinIncorrect
            | RvError::PinInvalid
            | RvError::PinLenRange
            | RvError::PinExpired,
            _,
        ) => GuardError::WrongSecret,
        Error::Pkcs11(RvError::PinLocked, _) => {
            away("the token has locked its PIN after too many wrong ones")
        }
        Error::Pkcs11(code, _) => away(format_args!("the token does not {doing}: {code}")),
        _ => away(format_args!("the token does not {doing}")),
    }
}

impl TokenText {
    pub fn whereabouts(&self) -> String {
        let Self { module, token, serial, key } = self;
        format!("key {key:?} in PKCS#11 token {token:?} (serial {serial}) by {module}")
    }

    /// The guard with the key that is in the token.
    pub fn open(&self, pin: &[u8]) -> Result<Token, GuardError> {
        let library = Mutex::new(load(&self.module)?);
        let token = Token { at: self.clone(), library, pin: pin_of(pin)? };
        token.prove_presence()?;
        Ok(token)
    }

    /// Makes a new key, which cannot be extracted, in the token labelled `token`.
    pub fn create(module: &Path, token: &str, pin: &[u8]) -> Result<Self, GuardError> {
        let module = module.to_string_lossy().into_owned();
        let library = load(&module)?;
        let mut found = None;
        for slot in library.get_slots_with_token().map_err(|e| told(e, "list its slots"))? {
            if let Ok(info) = library.get_token_info(slot)
                && info.label().trim() == token
            {
                found = Some((slot, info.serial_number().trim().to_owned()));
            }
        }
        let missing = || away(format_args!("{module} has no token with the label {token:?}"));
        let (slot, serial) = found.ok_or_else(missing)?;
        let session = library.open_rw_session(slot).map_err(|e| told(e, "open a session"))?;
        login(&session, &pin_of(pin)?)?;
        let mut suffix = [0; 4];
        fill_random(&mut suffix);
        let key = format!("{KEY_LABEL}-{}", super::to_hex(&suffix));
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(32.into()),
            Attribute::Label(key.clone().into_bytes()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
        ];
        session
            .generate_key(&Mechanism::AesKeyGen, &template)
            .map_err(|e| told(e, "make an AES-256 key"))?;
        Ok(Self { module, token: token.to_owned(), serial, key })
    }
}

fn pin_of(pin: &[u8]) -> Result<AuthPin, GuardError> {
    let pin = std::str::from_utf8(pin).map_err(|_| GuardError::WrongSecret)?;
    Ok(AuthPin::new(pin.to_owned().into()))
}

fn load(module: &str) -> Result<Pkcs11, GuardError> {
    let library = Pkcs11::new(module)
        .map_err(|_| away(format_args!("cannot load the PKCS#11 library {module}")))?;
    match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) => Ok(library),
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(library),
        Err(error) => Err(told(error, "start")),
    }
}

fn login(session: &Session, pin: &AuthPin) -> Result<(), GuardError> {
    match session.login(UserType::User, Some(pin)) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(error) => Err(told(error, "let us log in")),
    }
}

/// A token that was logged in to. The PIN stays in memory, so that a token which
/// comes back can be used again without asking.
pub(crate) struct Token {
    at: TokenText,
    library: Mutex<Pkcs11>,
    pin: AuthPin,
}

impl Token {
    fn slot(&self, library: &Pkcs11) -> Result<Slot, GuardError> {
        let slots = library.get_slots_with_token();
        for slot in slots.map_err(|error| told(error, "list its slots"))? {
            let info = library.get_token_info(slot);
            if info.is_ok_and(|info| info.serial_number().trim() == self.at.serial) {
                return Ok(slot);
            }
        }
        let TokenText { module, token, serial, .. } = &self.at;
        Err(away(format_args!("{module} shows no token {token:?} with the serial number {serial}")))
    }

    /// A new session with the key, so that a token that was pulled out is noticed.
    ///
    /// Some libraries look for tokens only when they start: before a token counts as
    /// away, the library is started anew.
    fn key(&self) -> Result<(Session, ObjectHandle), GuardError> {
        let mut library = self.library.lock();
        match self.key_by(&library) {
            Err(GuardError::Away { .. }) => {
                let _ = library.clone().finalize();
                *library = load(&self.at.module)?;
                self.key_by(&library)
            }
            found => found,
        }
    }

    fn key_by(&self, library: &Pkcs11) -> Result<(Session, ObjectHandle), GuardError> {
        let slot = self.slot(library)?;
        let session = library.open_ro_session(slot);
        let session = session.map_err(|error| told(error, "open a session"))?;
        login(&session, &self.pin)?;
        let wanted = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::Label(self.at.key.clone().into_bytes()),
        ];
        let found = session.find_objects(&wanted).map_err(|error| told(error, "find keys"))?;
        let key = found.first().copied();
        let missing = || away(format_args!("the token has no key {:?}", self.at.key));
        Ok((session, key.ok_or_else(missing)?))
    }
}

impl RootGuard for Token {
    fn wrap(&self, place: &[u8], root: &[u8; 32]) -> Result<Vec<u8>, GuardError> {
        let (session, key) = self.key()?;
        let mut iv = [0; IV_BYTES];
        fill_random(&mut iv);
        let mut wrapped = iv.to_vec();
        let sealed = {
            let gcm = GcmParams::new(&mut iv, place, TAG_BITS.into());
            let gcm = gcm.map_err(|error| told(error, "take a mechanism"))?;
            session.encrypt(&Mechanism::AesGcm(gcm), key, root)
        };
        wrapped.extend(sealed.map_err(|error| told(error, "encrypt"))?);
        // Some tokens choose the nonce themselves and say so in the parameters.
        wrapped[..IV_BYTES].copy_from_slice(&iv);
        Ok(wrapped)
    }

    fn unwrap(&self, place: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, GuardError> {
        let (iv, sealed) = wrapped.split_first_chunk::<IV_BYTES>().ok_or(GuardError::Damaged)?;
        let (session, key) = self.key()?;
        let mut iv = *iv;
        let gcm = GcmParams::new(&mut iv, place, TAG_BITS.into());
        let gcm = gcm.map_err(|error| told(error, "take a mechanism"))?;
        match session.decrypt(&Mechanism::AesGcm(gcm), key, sealed) {
            Ok(root) => Ok(Zeroizing::new(root)),
            Err(Error::Pkcs11(
                RvError::EncryptedDataInvalid
                | RvError::EncryptedDataLenRange
                | RvError::GeneralError
                | RvError::FunctionFailed,
                _,
            )) => Err(GuardError::Damaged),
            Err(error) => Err(told(error, "decrypt")),
        }
    }

    fn whereabouts(&self) -> String {
        self.at.whereabouts()
    }

    fn prove_presence(&self) -> Result<(), GuardError> {
        let mut challenge = Zeroizing::new([0; 32]);
        fill_random(&mut *challenge);
        let place = b"holdfast/v2/root/presence";
        let answered = self.unwrap(place, &self.wrap(place, &challenge)?)?;
        if answered[..] == challenge[..] { Ok(()) } else { Err(GuardError::Damaged) }
    }
}
