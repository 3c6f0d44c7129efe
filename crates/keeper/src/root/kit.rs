//! The recovery kit: the root in shares (Shamir's secret sharing over GF(2⁸)), so
//! that no single holder has it and some may be lost.
//!
//! A share is a text to print. Fewer shares than are needed say nothing about the
//! root, however much one computes. What they give together is held against a
//! check of the root, since Shamir's scheme itself does not notice a wrong share.

use std::collections::BTreeMap;
use std::path::Path;

use aws_lc_rs::digest;
use blahaj::{Share, Sharks};
use holdfast_base::{Category, fill_random};
use zeroize::Zeroizing;

use super::{FILE_NAME, Root, Roots, from_hex, to_hex, weakness, write_root};
use crate::primitive::{Secret, place};
use crate::table::named_root_of;

const TITLE: &str = "holdfast recovery share 1";

/// The text of one share: a secret.
pub(crate) type ShareText = Zeroizing<String>;

/// Why the root could not be recovered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// A text is not a share, or was copied wrongly.
    #[error("share {number} of those given is not a recovery share, or was copied wrongly")]
    Share {
        /// Which of those that were given, from 1.
        number: usize,
    },
    /// Shares of different kits.
    #[error("the shares are of different kits; take them from one")]
    Mixed,
    /// Too few.
    #[error("{needed} different shares are needed, {given} were given")]
    TooFew {
        /// How many are needed.
        needed: u8,
        /// How many different ones were given.
        given: usize,
    },
    /// Together they do not give the root that they say.
    #[error("the shares do not give the root key together: one of them is wrong")]
    Wrong,
    /// The kit is of another root than the key table's.
    #[error(
        "the kit recovers generation {kit} of the root key, and the key table is wrapped under generation {table}: use the kit that was made after the last rotation"
    )]
    OtherRoot {
        /// The kit's generation.
        kit: u32,
        /// The table's.
        table: u32,
    },
    /// The folder has no key table.
    #[error("the folder has no key table that could be opened: {what}")]
    NoTable {
        /// What is wrong.
        what: String,
    },
    /// The new passphrase can be guessed.
    #[error("{why}")]
    WeakPassphrase {
        /// What is weak about it.
        why: String,
    },
    /// The new root key file could not be written.
    #[error("the new root key file could not be written: {what}")]
    Io {
        /// What the system said.
        what: String,
    },
}

impl RecoverError {
    /// Whose fault it is.
    pub fn category(&self) -> Category {
        match self {
            Self::NoTable { .. } | Self::Io { .. } => Category::Fault,
            _ => Category::Incorrect,
        }
    }
}

/// A share that was read.
#[derive(Clone, PartialEq, Eq)]
struct Read {
    generation: u32,
    check: String,
    needed: u8,
    kit: String,
    value: Zeroizing<Vec<u8>>,
}

impl Read {
    fn checksum(&self) -> String {
        let bytes = Zeroizing::new(place(
            "holdfast/v2/recovery-share",
            &[
                &self.generation.to_be_bytes(),
                self.check.as_bytes(),
                &[self.needed],
                self.kit.as_bytes(),
                &self.value,
            ],
        ));
        to_hex(&digest::digest(&digest::SHA256, &bytes).as_ref()[..8])
    }
}

/// Texts of `shares` shares of `root`, any `needed` of which recover it.
pub(super) fn make(root: &Root, needed: u8, shares: u8) -> Vec<ShareText> {
    let mut kit = [0; 4];
    fill_random(&mut kit);
    let dealt = Sharks(needed).dealer(root.secret.bytes()).take(usize::from(shares));
    let text = |(place, share): (usize, Share)| {
        let read = Read {
            generation: root.number,
            check: to_hex(&root.check()),
            needed,
            kit: to_hex(&kit),
            value: Zeroizing::new(Vec::from(&share)),
        };
        let digits = Zeroizing::new(to_hex(&read.value));
        let groups: Vec<&str> = (0..digits.len())
            .step_by(6)
            .map(|at| &digits[at..(at + 6).min(digits.len())])
            .collect();
        Zeroizing::new(format!(
            "{TITLE}\nroot: generation {} check {}\nkit: {} share {} of {shares}, {needed} needed\nvalue: {}\nchecksum: {}\n",
            read.generation,
            read.check,
            read.kit,
            place + 1,
            Zeroizing::new(groups.join(" ")).as_str(),
            read.checksum(),
        ))
    };
    dealt.enumerate().map(text).collect()
}

/// Reads a share's text. Line ends, blanks and capitals may differ.
fn parse(text: &str) -> Option<Read> {
    let line = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name));
    text.lines().find(|line| line.trim() == TITLE)?;
    let root = line("root: generation ")?;
    let (generation, check) = root.split_once(" check ")?;
    let (kit, rest) = line("kit: ")?.split_once(" share ")?;
    let (_, needed) = rest.split_once(", ")?;
    let digits: String = line("value: ")?.split_whitespace().collect();
    let read = Read {
        generation: generation.trim().parse().ok()?,
        check: check.trim().to_lowercase(),
        needed: needed.trim().strip_suffix(" needed")?.parse().ok()?,
        kit: kit.trim().to_owned(),
        value: Zeroizing::new(from_hex(&digits)?),
    };
    let right = read.checksum() == line("checksum: ")?.trim().to_lowercase();
    (right && read.value.len() == 33 && read.needed >= 1).then_some(read)
}

/// The root that shares give together.
fn combine(texts: &[&str]) -> Result<Root, RecoverError> {
    let mut shares = BTreeMap::new();
    let mut first: Option<Read> = None;
    for (number, text) in (1..).zip(texts) {
        let read = parse(text).ok_or(RecoverError::Share { number })?;
        let of = first.get_or_insert_with(|| read.clone());
        if (&of.kit, &of.check, of.needed) != (&read.kit, &read.check, read.needed) {
            return Err(RecoverError::Mixed);
        }
        let share = Share::try_from(&read.value[..]);
        shares.insert(read.value[0], share.map_err(|_| RecoverError::Share { number })?);
    }
    let of = first.ok_or(RecoverError::TooFew { needed: 1, given: 0 })?;
    let given = shares.len();
    let scheme = Sharks(of.needed);
    let secret = scheme.recover(shares.values()).map(Zeroizing::new);
    let secret = secret.map_err(|_| RecoverError::TooFew { needed: of.needed, given })?;
    let secret = Secret::from_slice(&secret).ok_or(RecoverError::Wrong)?;
    let root = Root { number: of.generation, secret };
    if to_hex(&root.check()) == of.check { Ok(root) } else { Err(RecoverError::Wrong) }
}

/// Makes a new root key file for the keeper's folder `dir`, under a new passphrase,
/// from shares of a recovery kit. The keeper must not run. A file that is there is
/// kept beside, as `root.key.before-recovery`.
///
/// # Errors
/// [`RecoverError`]; nothing was changed then.
pub fn recover(dir: &Path, shares: &[&str], passphrase: &[u8]) -> Result<(), RecoverError> {
    if let Some(why) = weakness(passphrase) {
        return Err(RecoverError::WeakPassphrase { why });
    }
    let root = combine(shares)?;
    let no_table = |what: String| RecoverError::NoTable { what };
    if !dir.join("keys").is_dir() {
        return Err(no_table(format!("{} is not there", dir.join("keys").display())));
    }
    let table = named_root_of(&dir.join("keys")).map_err(|error| no_table(error.to_string()))?;
    let (table, check) = table.ok_or_else(|| no_table("it is of an older layout".to_owned()))?;
    if check != root.check() {
        return Err(RecoverError::OtherRoot { kit: root.number, table });
    }
    let io = |what: String| RecoverError::Io { what };
    let path = dir.join(FILE_NAME);
    if path.exists() {
        std::fs::copy(&path, dir.join("root.key.before-recovery"))
            .map_err(|error| io(error.to_string()))?;
    }
    let roots = Roots::one(root.number, root.secret);
    write_root(dir, &roots, passphrase, true).map_err(|error| io(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Root {
        Root { number: 3, secret: Secret::random() }
    }

    fn texts(shares: &[ShareText], which: &[usize]) -> Vec<String> {
        which.iter().map(|place| shares[*place].as_str().to_owned()).collect()
    }

    fn combined(texts: &[String]) -> Result<[u8; 32], RecoverError> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        combine(&texts).map(|root| *root.secret.bytes())
    }

    #[test]
    fn any_of_the_needed_number_of_shares_gives_the_root_and_fewer_do_not() {
        let root = root();
        let shares = make(&root, 3, 5);
        for which in [[0, 1, 2], [4, 2, 0], [1, 3, 4]] {
            let found = combined(&texts(&shares, &which)).expect("enough");
            assert_eq!(&found, root.secret.bytes());
        }
        for which in [&[][..], &[0], &[0, 1], &[2, 2, 2]] {
            let told = combined(&texts(&shares, which)).expect_err("too few");
            assert!(matches!(told, RecoverError::TooFew { .. }), "{which:?}: {told}");
        }
    }

    #[test]
    fn a_share_that_was_copied_wrongly_or_is_of_another_kit_is_told() {
        let root = root();
        let (shares, others) = (make(&root, 2, 3), make(&root, 2, 3));
        let mut given = texts(&shares, &[0, 1]);
        let at = given[1].find("value: ").expect("has a value") + 9;
        let digit = if given[1].as_bytes()[at] == b'0' { "1" } else { "0" };
        given[1].replace_range(at..=at, digit);
        assert!(matches!(combined(&given), Err(RecoverError::Share { number: 2 })));
        let mixed = [texts(&shares, &[0]), texts(&others, &[1])].concat();
        assert!(matches!(combined(&mixed), Err(RecoverError::Mixed)));
        assert!(matches!(combined(&["hello".to_owned()]), Err(RecoverError::Share { number: 1 })));
    }

    #[test]
    fn blanks_and_line_ends_do_not_matter() {
        let root = root();
        let shares = make(&root, 1, 1);
        let text =
            format!("  {}  ", shares[0].replace('\n', "  \r\n ").replace("value: ", "value:   "));
        assert_eq!(&combined(&[text]).expect("reads"), root.secret.bytes());
    }
}
