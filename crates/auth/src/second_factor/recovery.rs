//! Recovery codes: for whoever has lost their second factors. Each is good once.

use std::{fmt, str::FromStr};

use protocol::ambient::Entropy;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::symbols;

/// Codes made at a time.
pub const CODES: usize = 10;

/// Symbols of a code: 120 bits, so that a fast hash keeps it as well as a slow one.
const SYMBOLS: usize = 24;

/// A code: symbols, shown in groups of four.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct RecoveryCode([u8; SYMBOLS]);

/// Text that is no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a recovery code")]
pub struct InvalidRecoveryCode;

impl RecoveryCode {
    /// A fresh code.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(symbols::draw(entropy))
    }

    /// What is hashed.
    pub fn as_bytes(&self) -> &[u8; SYMBOLS] {
        &self.0
    }

    /// The code as it is shown, once: `0000-0000-0000-0000-0000-0000`.
    pub fn to_text(&self) -> String {
        symbols::show(&self.0)
    }
}

impl FromStr for RecoveryCode {
    type Err = InvalidRecoveryCode;

    /// Reads a code as people write it: in either case, with spaces or hyphens anywhere, and with the letters that
    /// look like digits in their place.
    fn from_str(text: &str) -> Result<Self, InvalidRecoveryCode> {
        symbols::read(text).map(Self).ok_or(InvalidRecoveryCode)
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use protocol::ambient::SeededEntropy;

    use super::*;

    #[test]
    fn codes_are_read_as_people_write_them() {
        let code = RecoveryCode::random(&SeededEntropy::new(1));
        let text = code.to_text();
        assert_eq!((text.len(), text.matches('-').count()), (29, 5));
        let spoken = text.replace('-', " ").to_uppercase().replace('0', "O").replace('1', "L");
        for written in [&text, &text.replace('-', ""), &spoken, &format!(" {text} ")] {
            assert_eq!(written.parse(), Ok(code.clone()), "{written}");
        }
        for wrong in ["", &text[1..], &format!("{text}0"), &text.replace('-', "u")] {
            assert_eq!(wrong.parse::<RecoveryCode>(), Err(InvalidRecoveryCode), "{wrong}");
        }
        assert_eq!(format!("{code:?}"), "RecoveryCode(…)");
        assert_ne!(code, RecoveryCode::random(&SeededEntropy::new(2)));
    }
}
