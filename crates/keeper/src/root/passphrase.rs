//! How well a passphrase holds against somebody who has the file and time.

/// Shorter ones are not looked at further.
const CHARACTERS_MIN: usize = 12;
/// Guesses needed, as a power of ten: with Argon2id at ten guesses a second a core,
/// three thousand core-years.
const GUESSES_LOG10_MIN: f64 = 12.0;
/// The estimate reads no more than this much.
const CHARACTERS_READ_MAX: usize = 100;

/// One sentence about why `passphrase` is too weak to protect every record of an
/// exchange; nothing when it is not.
pub fn weakness(passphrase: &[u8]) -> Option<String> {
    const BETTER: &str = "take five random words or more, or let `holdfast init` make one";
    let Ok(text) = std::str::from_utf8(passphrase) else {
        return Some("the passphrase is not UTF-8 text".to_owned());
    };
    if text.chars().count() < CHARACTERS_MIN {
        return Some(format!(
            "the passphrase is shorter than {CHARACTERS_MIN} characters; {BETTER}"
        ));
    }
    let read: String = text.chars().take(CHARACTERS_READ_MAX).collect();
    let estimate = zxcvbn::zxcvbn(&read, &["holdfast"]);
    if estimate.guesses_log10() >= GUESSES_LOG10_MIN {
        return None;
    }
    let warning = estimate.feedback().and_then(|feedback| feedback.warning());
    let why = warning.map(|warning| format!(" ({warning})")).unwrap_or_default();
    Some(format!("the passphrase can be guessed{why}; {BETTER}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_guessed_is_refused_with_a_sentence_that_helps() {
        for weak in [
            "",
            "short",
            "passwordpassword",
            "aaaaaaaaaaaaaaaaaaaa",
            "Holdfast2015!",
            "qwertyuiop123",
        ] {
            let told = weakness(weak.as_bytes()).unwrap_or_else(|| panic!("{weak:?} passes"));
            assert!(told.contains("holdfast init"), "{told}");
        }
        assert!(weakness(&[0xff; 40]).is_some());
    }

    #[test]
    fn what_cannot_be_guessed_is_taken() {
        for strong in [
            "correct horse battery staple",
            "k3x7q-0fzr9-pw2md-81hsn",
            "lösch vier Öfen am Dienstag",
        ] {
            assert_eq!(weakness(strong.as_bytes()), None, "{strong:?}");
        }
    }
}
