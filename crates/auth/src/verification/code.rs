//! Verification codes.

use std::fmt;

use protocol::ambient::Entropy;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A code of six digits that proves who holds a number.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct Code(String);

impl Code {
    /// Digits in a code: one guess in a million is right.
    pub const DIGITS: u32 = 6;

    /// Longest text that is taken for a guess.
    const GUESS_MAX: usize = 16;

    /// A code drawn uniformly.
    pub fn random(entropy: &dyn Entropy) -> Self {
        const CODES: u32 = 10_u32.pow(Code::DIGITS);
        // Numbers above the last multiple are drawn again, or low codes would be likelier than others.
        const FAIR: u32 = u32::MAX - u32::MAX % CODES;
        loop {
            let number = u32::from_be_bytes(entropy.bytes());
            if number < FAIR {
                return Self(format!("{:0width$}", number % CODES, width = Self::DIGITS as usize));
            }
        }
    }

    /// What somebody typed; nothing if it is not digits at all.
    pub fn guess(text: &str) -> Option<Self> {
        let digits =
            !text.is_empty() && text.len() <= Self::GUESS_MAX && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| Self(text.to_owned()))
    }

    /// Whether the guess is right; takes the same time for every guess of the same length.
    pub fn is(&self, guess: &Self) -> bool {
        self.0.as_bytes().ct_eq(guess.0.as_bytes()).into()
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

#[cfg(test)]
mod tests {
    use protocol::ambient::SeededEntropy;

    use super::*;

    #[test]
    fn codes_have_six_digits_and_differ() {
        let entropy = SeededEntropy::new(7);
        let codes: Vec<_> = (0..1000).map(|_| Code::random(&entropy)).collect();
        assert!(codes.iter().all(|code| code.as_str().len() == 6 && Code::guess(code.as_str()).is_some()));
        assert!(codes.iter().any(|code| code.as_str().starts_with('0')));
        assert!(codes.windows(2).all(|pair| !pair[0].is(&pair[1])));
    }

    #[test]
    fn numbers_that_would_favour_low_codes_are_drawn_again() {
        struct Script(parking_lot::Mutex<Vec<u32>>);
        impl Entropy for Script {
            fn fill(&self, buffer: &mut [u8]) {
                buffer.copy_from_slice(&self.0.lock().pop().unwrap().to_be_bytes());
            }
        }
        let script = Script(parking_lot::Mutex::new(vec![4_293_000_042, 4_294_000_000, u32::MAX]));
        let drawn = Code::random(&script);
        assert_eq!(script.0.lock().len(), 0);
        assert_eq!(drawn.as_str(), "000042");
    }

    #[test]
    fn only_digits_are_guesses() {
        for text in ["", "12345a", "12 345", "-12345", "１２３", "12345678901234567"] {
            assert!(Code::guess(text).is_none(), "{text}");
        }
        assert!(!Code::random(&SeededEntropy::new(1)).is(&Code::guess("1").unwrap()));
    }
}
