//! Tokens that lead from one step to the next: opaque to clients, and known to the server by their hash alone.

use std::fmt;

use protocol::{ambient::Entropy, base64};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const LEN: usize = 32;

/// A token as only its client has it: 256 random bits.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct OpaqueToken([u8; LEN]);

/// By what a token is known: its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in super::super) struct OpaqueTokenHash([u8; 32]);

impl OpaqueToken {
    /// Characters of the text.
    const TEXT_LEN: usize = 43;

    /// A fresh one.
    pub(super) fn random(entropy: &dyn Entropy) -> Self {
        Self(entropy.bytes())
    }

    /// Reads a token; nothing if the text is none.
    pub fn from_text(text: &str) -> Option<Self> {
        // Nothing longer than a token is decoded.
        if text.len() != Self::TEXT_LEN {
            return None;
        }
        let bytes = Zeroizing::new(base64::decode_url_lenient(text)?);
        bytes[..].try_into().ok().map(Self)
    }

    /// The token as its client keeps it.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(base64::encode_url(self.0))
    }

    /// What it is known by.
    pub(super) fn hash(&self) -> OpaqueTokenHash {
        OpaqueTokenHash(Sha256::digest(self.0).into())
    }
}

impl OpaqueTokenHash {
    /// Whether it is that of the same token; takes the same time for any other.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for OpaqueToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpaqueToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use protocol::ambient::SeededEntropy;

    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_does_not_print() {
        let token = OpaqueToken::random(&SeededEntropy::new(1));
        let text = token.to_text();
        assert_eq!(text.len(), OpaqueToken::TEXT_LEN);
        assert!(OpaqueToken::from_text(&text).unwrap().hash().is(&token.hash()));
        for other in ["", &text[1..], &format!("{}=", &text[1..]), &"*".repeat(43)] {
            assert!(OpaqueToken::from_text(other).is_none(), "{other}");
        }
        assert!(!OpaqueToken::random(&SeededEntropy::new(2)).hash().is(&token.hash()));
        assert_eq!(format!("{token:?}"), "OpaqueToken(…)");
    }
}
