//! Codes that are sent by e-mail. Each is good once, for one purpose and a short time.

use std::{fmt, time::Duration};

use protocol::ambient::Entropy;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::symbols;

/// Symbols of a code: 140 bits. Nobody guesses one, and a fast hash keeps it as well as a slow one.
const SYMBOLS: usize = 28;

/// A code, as only the mail has it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MailCode([u8; SYMBOLS]);

/// What a code is for. One that was sent for something else is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Proving the address of an account.
    Address,
    /// Proving an address before there is an account.
    Registration,
    /// Setting another password.
    Reset,
}

/// By what a code is remembered: SHA-256 of it and its purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MailCodeHash([u8; 32]);

impl Purpose {
    /// How long a code is good for.
    pub const fn life(self) -> Duration {
        match self {
            Self::Address | Self::Registration => Duration::from_hours(1),
            Self::Reset => Duration::from_mins(30),
        }
    }

    const fn label(self) -> &'static [u8] {
        match self {
            Self::Address => b"heliograph mail code: address\n",
            Self::Registration => b"heliograph mail code: registration\n",
            Self::Reset => b"heliograph mail code: reset\n",
        }
    }
}

impl MailCode {
    /// A fresh code.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(symbols::draw(entropy))
    }

    /// Reads a code as people write it; nothing if the text is none.
    pub fn from_text(text: &str) -> Option<Self> {
        symbols::read(text.trim()).map(Self)
    }

    /// The code as it is sent.
    pub fn to_text(&self) -> String {
        symbols::show(&self.0)
    }

    /// What it is remembered by.
    pub fn hash(&self, purpose: Purpose) -> MailCodeHash {
        MailCodeHash(Sha256::new_with_prefix(purpose.label()).chain_update(self.0).finalize().into())
    }
}

impl MailCodeHash {
    /// The stored form.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for MailCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailCode(…)")
    }
}

impl fmt::Debug for MailCodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailCodeHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use protocol::ambient::SeededEntropy;

    use super::*;

    #[test]
    fn a_code_is_read_as_it_is_sent_and_good_for_one_purpose() {
        let code = MailCode::random(&SeededEntropy::new(1));
        let text = code.to_text();
        assert_eq!((text.len(), text.matches('-').count()), (34, 6));
        for written in [&text, &text.to_uppercase(), &text.replace('-', " "), &format!(" {text}\r\n")] {
            let read = MailCode::from_text(written).unwrap();
            assert_eq!(read.hash(Purpose::Reset), code.hash(Purpose::Reset));
        }
        for wrong in ["", &text[1..], &format!("{text}0"), &"x".repeat(1 << 20)] {
            assert!(MailCode::from_text(wrong).is_none(), "{wrong:.40}");
        }
        assert_ne!(code.hash(Purpose::Reset), code.hash(Purpose::Address));
        assert_ne!(code.hash(Purpose::Registration), code.hash(Purpose::Address));
        assert_eq!(format!("{code:?} {:?}", code.hash(Purpose::Reset)), "MailCode(…) MailCodeHash(…)");
    }
}
