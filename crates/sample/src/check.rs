//! Check digits of the identifiers that stand in messages.

/// Check digit of a Luhn number whose last digit is missing (ISO/IEC 7812-1).
fn luhn_check_digit(digits: impl DoubleEndedIterator<Item = u32>) -> u32 {
    let sum: u32 = digits
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let doubled = if place % 2 == 0 { digit * 2 } else { digit };
            doubled / 10 + doubled % 10
        })
        .sum();
    (10 - sum % 10) % 10
}

fn digits_of(text: &str) -> Option<Vec<u32>> {
    text.chars().map(|c| c.to_digit(10)).collect()
}

/// The national provider identifier whose first nine digits are `stem`. The
/// check digit is Luhn over `80840` and the stem (45 CFR 162.406).
pub fn npi_from_stem(stem: u32) -> String {
    let text = format!("{stem:09}");
    let digits = digits_of(&format!("80840{text}")).unwrap_or_default();
    format!("{text}{}", luhn_check_digit(digits.into_iter()))
}

/// Whether `npi` has ten digits and a right check digit.
pub fn npi_is_valid(npi: &str) -> bool {
    npi.len() == 10
        && npi.bytes().all(|byte| byte.is_ascii_digit())
        && npi[..9].parse().is_ok_and(|stem| npi_from_stem(stem) == npi)
}

/// Whether a LOINC code such as `2345-7` has a right check digit (LOINC users'
/// guide, appendix C: modulus 10).
pub fn loinc_is_valid(code: &str) -> bool {
    let Some((stem, check)) = code.split_once('-') else { return false };
    match (digits_of(stem), digits_of(check).as_deref()) {
        (Some(digits), Some(&[check])) => luhn_check_digit(digits.into_iter()) == check,
        _ => false,
    }
}

/// Whether a SNOMED CT identifier has a right check digit (Verhoeff).
pub fn snomed_is_valid(code: &str) -> bool {
    const PERMUTATION: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    /// Product in the dihedral group of order ten.
    fn product(a: u32, b: u32) -> u32 {
        match (a < 5, b < 5) {
            (true, true) => (a + b) % 5,
            (true, false) => 5 + (a + b - 5) % 5,
            (false, true) => 5 + (a - b) % 5,
            (false, false) => (a + 5 - b) % 5,
        }
    }
    let Some(digits) = digits_of(code) else { return false };
    let sum = digits.iter().rev().enumerate().fold(0, |sum, (place, &digit)| {
        let permuted = (0..place % 8).fold(digit, |d, _| PERMUTATION[d as usize]);
        product(sum, permuted)
    });
    (6..=18).contains(&digits.len()) && sum == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_examples_are_accepted_and_single_digit_errors_are_not() {
        assert!(npi_is_valid("1234567893"), "the example of the CMS specification");
        assert!(!npi_is_valid("1234567894") && !npi_is_valid("123456789"));
        assert!(loinc_is_valid("2345-7") && !loinc_is_valid("2345-8") && !loinc_is_valid("2345"));
        assert!(snomed_is_valid("73211009") && snomed_is_valid("59621000"));
        assert!(!snomed_is_valid("73211008") && !snomed_is_valid("7321100x"));
    }
}
