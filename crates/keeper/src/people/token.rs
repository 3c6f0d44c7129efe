//! What proves who asks.

use aws_lc_rs::digest;
use holdfast_base::{PrincipalId, Sensitive, fill_random};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// 256 random bits that prove a session. Wiped when dropped, printed by nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken(Zeroizing<[u8; 32]>);

impl SessionToken {
    pub(crate) fn random() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        fill_random(&mut *bytes);
        Self(bytes)
    }

    /// The token that a client shows as `text`; nothing when it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).map(Zeroizing::new);
        let mut token = Zeroizing::new([0; 32]);
        let bytes = bytes.ok().filter(|bytes| bytes.len() == token.len())?;
        token.copy_from_slice(&bytes);
        Some(Self(token))
    }

    /// As a client shows it: base64url without padding.
    pub fn to_text(&self) -> Sensitive<String> {
        data_encoding::BASE64URL_NOPAD.encode(&*self.0).into()
    }

    /// What may be kept of it. A plain hash will do: nobody guesses 256 random bits.
    pub fn digest(&self) -> [u8; 32] {
        let hash = digest::digest(&digest::SHA256, &*self.0);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.as_ref());
        bytes
    }
}

impl std::fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionToken([secret])")
    }
}

impl Serialize for SessionToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SessionToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <[u8; 32]>::deserialize(deserializer).map(|bytes| Self(Zeroizing::new(bytes)))
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    /// The front process itself, on its own account: starts, recoveries, the
    /// machine's responses. Acts as `system:exchange`, with a small budget.
    Front,
    /// Whoever sets a new exchange up. Heard until there is an administrator.
    SetUp(PrincipalId),
    /// The principal whose session has this token.
    Session(SessionToken),
}

/// What goes with every request: who asks, and from where the front process says
/// that they do. Principal, role, organization and session of an entry follow from
/// what the keeper knows, never from the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Who asks.
    pub who: Who,
    /// The client's network address: the front process's word.
    pub address: Option<String>,
}

impl Proof {
    /// The front process itself.
    pub fn front() -> Self {
        Self { who: Who::Front, address: None }
    }

    /// Whoever sets a new exchange up.
    pub fn set_up(operator: PrincipalId) -> Self {
        Self { who: Who::SetUp(operator), address: None }
    }

    /// The principal whose session has `token`, from `address`.
    pub fn session(token: SessionToken, address: Option<&str>) -> Self {
        Self { who: Who::Session(token), address: address.map(str::to_owned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_its_text_says_and_prints_nothing() {
        let token = SessionToken::random();
        let text = token.to_text();
        assert_eq!(SessionToken::parse(text.expose()).as_ref(), Some(&token));
        assert_ne!(token.digest(), SessionToken::random().digest());
        assert_eq!(format!("{token:?}"), "SessionToken([secret])");
        for wrong in ["", "abc", "!", &format!("{}A", text.expose())] {
            assert!(SessionToken::parse(wrong).is_none(), "{wrong}");
        }
    }
}
