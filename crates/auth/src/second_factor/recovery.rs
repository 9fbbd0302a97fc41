//! Recovery codes: for whoever has lost their second factors. Each is good once.

use std::{fmt, str::FromStr};

use protocol::ambient::Entropy;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Codes made at a time.
pub const CODES: usize = 10;

/// 32 symbols, each five bits, that are not taken for one another (Crockford's base 32).
const ALPHABET: [u8; 32] = *b"0123456789abcdefghjkmnpqrstvwxyz";

/// Symbols of a code: 120 bits, so that a fast hash keeps it as well as a slow one.
const SYMBOLS: usize = 24;

/// Symbols between two hyphens.
const GROUP: usize = 4;

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
        Self(entropy.bytes::<SYMBOLS>().map(|byte| ALPHABET[usize::from(byte % 32)]))
    }

    /// What is hashed.
    pub fn as_bytes(&self) -> &[u8; SYMBOLS] {
        &self.0
    }

    /// The code as it is shown, once: `0000-0000-0000-0000-0000-0000`.
    pub fn to_text(&self) -> String {
        let groups: Vec<_> = self.0.chunks(GROUP).map(String::from_utf8_lossy).collect();
        groups.join("-")
    }
}

impl FromStr for RecoveryCode {
    type Err = InvalidRecoveryCode;

    /// Reads a code as people write it: in either case, with spaces or hyphens anywhere, and with the letters that
    /// look like digits in their place.
    fn from_str(text: &str) -> Result<Self, InvalidRecoveryCode> {
        let mut symbols = text.bytes().filter(|byte| !matches!(byte, b' ' | b'-')).map(|byte| {
            match byte.to_ascii_lowercase() {
                b'o' => b'0',
                b'i' | b'l' => b'1',
                other => other,
            }
        });
        let mut code = Self([0; SYMBOLS]);
        for place in &mut code.0 {
            *place = symbols.next().filter(|symbol| ALPHABET.contains(symbol)).ok_or(InvalidRecoveryCode)?;
        }
        if symbols.next().is_some() { Err(InvalidRecoveryCode) } else { Ok(code) }
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
