//! Keyed equality tokens: what may stand on disk instead of a value.

use std::sync::Arc;

use aws_lc_rs::hmac;

use crate::primitive::Secret;

/// A key for equality tokens: HMAC-SHA-256 cut to 128 bits. Two values have the
/// same token if they are equal, under the same label and key; without the key
/// a token says nothing about its value. Cheap to clone.
#[derive(Clone)]
pub struct TokenKey(Arc<hmac::Key>);

impl TokenKey {
    pub(crate) fn new(secret: &Secret) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret.bytes())))
    }

    /// The token of `value` among the values of `label`.
    pub fn token(&self, label: &str, value: &[u8]) -> [u8; 16] {
        let mut mac = hmac::Context::with_key(&self.0);
        mac.update(&(label.len() as u64).to_be_bytes());
        mac.update(label.as_bytes());
        mac.update(value);
        let tag = mac.sign();
        let mut token = [0; 16];
        token.copy_from_slice(&tag.as_ref()[..16]);
        token
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_equal_tokens_under_one_label_and_key_only() {
        let secret = Secret::random();
        let key = TokenKey::new(&secret);
        let token = key.token("id", b"value");
        assert_eq!(token, TokenKey::new(&secret).token("id", b"value"));
        assert_ne!(token, key.token("id", b"valu"));
        assert_ne!(token, key.token("idv", b"alue"));
        assert_ne!(token, TokenKey::new(&Secret::random()).token("id", b"value"));
    }
}
