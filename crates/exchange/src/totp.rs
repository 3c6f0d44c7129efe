//! Time-based one-time passwords (RFC 6238), six digits, 30 seconds, SHA-1: what
//! every authenticator app understands.

use totp_rs::Builder;

/// The code at `unix_seconds` for a base-32 `secret`; `None` when the secret is
/// no base 32 or too short.
pub fn code(secret: &str, unix_seconds: u64) -> Option<String> {
    let bytes = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).ok()?;
    let totp = Builder::new().with_secret(bytes).build().ok()?;
    Some(totp.generate(unix_seconds).to_string())
}

/// The `otpauth:` URL that authenticator apps read from a QR code.
pub fn url(secret: &str, account: &str) -> String {
    format!("otpauth://totp/Holdfast:{account}?secret={secret}&issuer=Holdfast")
}

#[cfg(test)]
mod tests {
    /// RFC 6238 appendix B, SHA-1, last six digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = data_encoding::BASE32_NOPAD.encode(b"12345678901234567890");
        for (at, code) in [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924")] {
            assert_eq!(super::code(&secret, at).as_deref(), Some(code));
        }
    }
}
