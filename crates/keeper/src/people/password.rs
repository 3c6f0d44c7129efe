//! Passwords as Argon2id hashes; secrets that the keeper makes for people.

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use holdfast_base::fill_random;

/// Argon2id, 19 MiB, 2 passes, 1 lane: the first choice of OWASP's password
/// storage sheet. Takes as long for an unknown name as for a known one.
fn hasher() -> Argon2<'static> {
    let params = Params::new(19_456, 2, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Hashes a password; nothing when the machine lacks the memory. Slow on purpose.
pub(crate) fn hash(password: &str) -> Option<String> {
    let mut salt = [0; 16];
    fill_random(&mut salt);
    let hash = hasher().hash_password_with_salt(password.as_bytes(), &salt);
    hash.ok().map(|hash| hash.to_string())
}

/// Whether `password` is the one that was hashed. Slow on purpose.
pub(super) fn fits(password: &str, hash: &str) -> bool {
    let hash = PasswordHash::new(hash);
    hash.is_ok_and(|hash| hasher().verify_password(password.as_bytes(), &hash).is_ok())
}

/// Whether `hash` is a hash of ours or of an older exchange.
pub(super) fn is_hash(hash: &str) -> bool {
    PasswordHash::new(hash).is_ok()
}

/// Spends the time that checking a password takes.
pub(crate) fn pretend_to_check(password: &str) {
    let _ = hasher().hash_password_with_salt(password.as_bytes(), b"nobody's salt 16");
}

/// A random password of about 100 bits, in groups that can be read aloud.
pub(crate) fn strong_password() -> String {
    let mut random = [0; 13];
    fill_random(&mut random);
    let letters = data_encoding::BASE32_NOPAD.encode(&random).to_lowercase();
    let groups: Vec<&str> = (0..20).step_by(5).map(|at| &letters[at..at + 5]).collect();
    groups.join("-")
}

/// A random TOTP secret of 160 bits (RFC 4226 section 4), base 32.
pub(crate) fn totp_secret() -> String {
    let mut random = [0; 20];
    fill_random(&mut random);
    data_encoding::BASE32_NOPAD.encode(&random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_and_never_alike() {
        let (a, b) = (strong_password(), strong_password());
        assert_ne!(a, b);
        assert_eq!(a.len(), 23);
    }

    #[test]
    fn only_the_password_that_was_hashed_fits() {
        let hash = hash("correct horse").expect("hashes");
        assert!(hash.starts_with("$argon2id$") && is_hash(&hash));
        assert!(fits("correct horse", &hash));
        assert!(!fits("correct house", &hash));
        assert!(!fits("correct horse", "no hash"));
    }
}
