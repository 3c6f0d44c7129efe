//! No algorithm and no package with cryptography but those that
//! `crypto-policy.toml` allows.

use std::collections::BTreeSet;

use super::Complaints;
use super::source::Source;
use crate::cbom::inventory::Inventory;

/// Beginnings of the names by which libraries choose algorithms.
const IDENTIFIERS: &[&str] = &[
    "AES_",
    "CHACHA20",
    "SHA1",
    "SHA2",
    "SHA3",
    "SHA5",
    "MD5",
    "HMAC_",
    "HKDF_",
    "ED25519",
    "ECDSA_",
    "ECDH_",
    "X25519",
    "RSA_",
    "PBKDF2_",
    "DH_KEM_",
    "ML_KEM",
    "ML_DSA",
    "SLH_DSA",
    "Argon2i",
    "Argon2d",
    "AesGcm",
    "AesCbc",
    "AesEcb",
    "AesCtr",
    "AesKeyGen",
    "AesKeyWrap",
];

/// Parts of names of packages that have cryptography in them.
const PACKAGES: &[&str] = &[
    "aes",
    "argon2",
    "aws-lc",
    "bcrypt",
    "blahaj",
    "blake",
    "chacha",
    "cipher",
    "cmov",
    "crypt",
    "cryptoki",
    "ctutils",
    "curve25519",
    "digest",
    "dsa",
    "ed25519",
    "elliptic",
    "ghash",
    "hkdf",
    "hmac",
    "hpke",
    "md-5",
    "md5",
    "openssl",
    "p256",
    "password-hash",
    "pbkdf2",
    "phc",
    "poly1305",
    "rand_chacha",
    "rcgen",
    "ring",
    "rsa",
    "rustls",
    "schannel",
    "secrecy",
    "security-framework",
    "sha1",
    "sha2",
    "sha3",
    "siphasher",
    "subtle",
    "totp",
    "twox-hash",
    "vsss",
    "webpki",
    "x25519",
    "x509",
    "zeroize",
    "constant_time",
    "crypto",
];

/// Names that have such a part by chance.
const OTHERS: &[&str] = &["string", "strum", "universal", "traversal", "mirroring"];

/// What is not allowed, and what is allowed and not there.
pub fn check(policy: &str, lock: &str, sources: &[Source]) -> Complaints {
    let inventory = match Inventory::parse(policy, lock) {
        Ok(inventory) => inventory,
        Err(told) => return vec![told],
    };
    let mut complaints = Vec::new();
    let allowed: BTreeSet<&str> = inventory
        .algorithms
        .iter()
        .flat_map(|one| one.identifiers.iter().map(String::as_str))
        .collect();
    for source in sources.iter().filter(|source| !source.path.starts_with("xtask/")) {
        if source.is_test_file() {
            continue;
        }
        let code = source.production_code();
        let word = |c: char| !(c.is_alphanumeric() || c == '_');
        for (number, line) in (1..).zip(code.lines()) {
            for name in line.split(word) {
                let chosen = IDENTIFIERS.iter().any(|begin| name.starts_with(begin));
                if chosen && !allowed.contains(name) {
                    complaints.push(format!(
                        "{}:{number}: the algorithm {name} does not stand in crypto-policy.toml",
                        source.path
                    ));
                }
            }
        }
    }
    let locked: BTreeSet<&str> =
        lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    for package in &locked {
        let crypto = PACKAGES.iter().any(|part| has_part(package, part));
        if crypto && !inventory.packages.contains_key(*package) {
            complaints.push(format!(
                "Cargo.lock: {package} looks like cryptography and does not stand in crypto-policy.toml"
            ));
        }
    }
    for package in inventory.packages.keys().filter(|name| !locked.contains(name.as_str())) {
        complaints.push(format!("crypto-policy.toml: {package} is not in Cargo.lock any more"));
    }
    complaints
}

/// Whether a package's name has `part` as a word of its own, or begins or ends so.
fn has_part(package: &str, part: &str) -> bool {
    if OTHERS.iter().any(|other| package.contains(other)) {
        return false;
    }
    let mut words = package.split(['-', '_']);
    package == part
        || (part.contains(['-', '_']) && package.contains(part))
        || words.any(|word| word.starts_with(part) || (part.len() > 3 && word.ends_with(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "[[algorithm]]\nname = \"HMAC\"\nprimitive = \"mac\"\nkey_bits = 256\n\
        functions = []\nlibrary = \"aws-lc-rs\"\nstandard = \"s\"\npurpose = \"p\"\n\
        classical_bits = 1\nquantum_level = 1\nidentifiers = [\"HMAC_SHA256\"]\n\
        [packages]\naws-lc-rs = \"the library\"\n";
    const LOCK: &str = "[[package]]\nname = \"aws-lc-rs\"\nversion = \"1.0.0\"\n";

    fn told(lock: &str, code: &str) -> Complaints {
        check(POLICY, lock, &[Source::new("crates/a/src/lib.rs", code)])
    }

    #[test]
    fn p13_an_unlisted_algorithm_or_package_breaks_the_build() {
        assert_eq!(told(LOCK, "hmac::HMAC_SHA256"), Vec::<String>::new());
        for code in
            ["hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY", "Algorithm::Argon2i", "aead::AES_128_GCM"]
        {
            assert_eq!(told(LOCK, code).len(), 1, "{code}");
        }
        for package in ["aes", "ring", "md-5", "chacha20poly1305", "openssl-sys", "p256", "rsa"] {
            let lock = format!("{LOCK}[[package]]\nname = \"{package}\"\nversion = \"1.0.0\"\n");
            assert_eq!(told(&lock, "").len(), 1, "{package}");
        }
        for package in ["heck", "ringbuffer-free-name", "serde"] {
            let lock = format!("{LOCK}[[package]]\nname = \"{package}\"\nversion = \"1.0.0\"\n");
            let count = usize::from(package.starts_with("ring"));
            assert_eq!(told(&lock, "").len(), count, "{package}");
        }
    }

    #[test]
    fn comments_and_tests_choose_no_algorithm() {
        assert!(
            told(LOCK, "// SHA512\nfn f() {}\n#[cfg(test)]\nmod tests { use MD5; }").is_empty()
        );
    }

    #[test]
    fn what_is_allowed_and_gone_is_told() {
        let policy = format!("{POLICY}sha2 = \"gone\"\n");
        assert_eq!(check(&policy, LOCK, &[]).len(), 1);
    }
}
