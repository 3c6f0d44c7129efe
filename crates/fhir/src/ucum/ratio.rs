//! Exact fractions for the factors of units.

/// `numerator / denominator`, in lowest terms, the denominator positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ratio {
    pub numerator: i128,
    pub denominator: i128,
}

impl Ratio {
    pub const ONE: Self = Self { numerator: 1, denominator: 1 };

    /// `None` when a part cannot be held.
    pub fn new(numerator: i128, denominator: i128) -> Option<Self> {
        if denominator == 0 || numerator == i128::MIN || denominator == i128::MIN {
            return None;
        }
        let divisor = gcd(numerator.unsigned_abs(), denominator.unsigned_abs());
        let divisor = i128::try_from(divisor).ok()?.max(1);
        let sign = denominator.signum();
        Some(Self {
            numerator: sign * (numerator / divisor),
            denominator: sign * (denominator / divisor),
        })
    }

    pub fn times(self, other: Self) -> Option<Self> {
        // Reduced crosswise first: products stay as small as they can be.
        let left = Self::new(self.numerator, other.denominator)?;
        let right = Self::new(other.numerator, self.denominator)?;
        Self::new(
            left.numerator.checked_mul(right.numerator)?,
            left.denominator.checked_mul(right.denominator)?,
        )
    }

    pub fn plus(self, other: Self) -> Option<Self> {
        let left = self.numerator.checked_mul(other.denominator)?;
        let right = other.numerator.checked_mul(self.denominator)?;
        Self::new(left.checked_add(right)?, self.denominator.checked_mul(other.denominator)?)
    }

    pub fn inverse(self) -> Option<Self> {
        Self::new(self.denominator, self.numerator)
    }

    pub fn power(self, exponent: i32) -> Option<Self> {
        let base = if exponent < 0 { self.inverse()? } else { self };
        (0..exponent.unsigned_abs()).try_fold(Self::ONE, |product, _| product.times(base))
    }

    /// `digits × 10^exponent`.
    pub fn decimal(digits: i128, exponent: i32) -> Option<Self> {
        let ten = 10_i128.checked_pow(exponent.unsigned_abs())?;
        if exponent < 0 { Self::new(digits, ten) } else { Self::new(digits.checked_mul(ten)?, 1) }
    }

    /// As `digits × 10^exponent`: exact where it ends within 17 digits, otherwise
    /// rounded to them.
    pub fn to_decimal(self) -> Option<(i128, i32)> {
        const DIGITS: u32 = 17;
        let mut numerator = self.numerator.unsigned_abs();
        let denominator = self.denominator.unsigned_abs();
        let (mut quotient, mut exponent) = (numerator / denominator, 0_i32);
        numerator %= denominator;
        while numerator != 0 && quotient < 10_u128.pow(DIGITS) {
            let Some(next) = numerator.checked_mul(10) else { break };
            exponent -= 1;
            quotient = quotient * 10 + next / denominator;
            numerator = next % denominator;
        }
        while quotient >= 10_u128.pow(DIGITS) {
            let last = quotient % 10;
            quotient = quotient / 10 + u128::from(last >= 5);
            exponent += 1;
        }
        while quotient != 0 && quotient.is_multiple_of(10) {
            quotient /= 10;
            exponent += 1;
        }
        Some((self.numerator.signum() * i128::try_from(quotient).ok()?, exponent))
    }
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
