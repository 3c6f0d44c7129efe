//! Time-based one-time passwords (RFC 6238), six digits, 30 seconds, SHA-1: what
//! every authenticator app understands.

use holdfast_base::Timestamp;
use totp_rs::Builder;

/// Time step of codes (RFC 6238 section 4.1), milliseconds.
const STEP_MS: i64 = 30_000;

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

/// The time step whose code this is: the present one or a neighbour (RFC 6238
/// section 5.2).
pub(crate) fn matching_step(secret: &str, shown: &str, now: Timestamp) -> Option<i64> {
    if shown.len() != 6 || secret.is_empty() {
        return None;
    }
    let present = now.millis() / STEP_MS;
    [0, -1, 1].into_iter().map(|offset| present + offset).find(|step| {
        let expected = code(secret, (*step).max(0) as u64 * 30);
        expected.is_some_and(|expected| same_digits(&expected, shown))
    })
}

/// Compares without telling by its time where the first difference is.
fn same_digits(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |d, (x, y)| d | (x ^ y)) == 0
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
