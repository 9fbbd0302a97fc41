//! Link codes: what a new device shows to be let into an account.

use std::fmt;

use protocol::{ambient::Entropy, base64};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret that the primary device hands to the new one: 43 characters of base64url, in a form that is opaque
/// to clients.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct LinkCode(String);

/// Names a link code without giving it away: SHA-256 of its text. This is all that is kept of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkCodeId([u8; Self::LEN]);

impl LinkCode {
    /// Random bytes in a code: nobody guesses one.
    const ENTROPY_LEN: usize = 32;

    /// Draws a code.
    pub(crate) fn random(entropy: &dyn Entropy) -> Self {
        Self(base64::encode_url(entropy.bytes::<{ Self::ENTROPY_LEN }>()))
    }

    /// The code that somebody shows, of which nothing is known yet.
    pub fn shown(text: String) -> Self {
        Self(text)
    }

    /// The text that is handed over.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is kept and asked for by.
    pub fn id(&self) -> LinkCodeId {
        LinkCodeId(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl LinkCodeId {
    /// Bytes of an id.
    pub const LEN: usize = 32;

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// As clients know it: base64url without padding, 43 characters.
    pub fn to_text(self) -> String {
        base64::encode_url(self.0)
    }

    /// Reads what clients know it by, padded or not.
    pub fn from_text(text: &str) -> Option<Self> {
        base64::decode_url_lenient(text)?.try_into().map(Self).ok()
    }
}

impl fmt::Debug for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use protocol::ambient::SeededEntropy;

    use super::*;

    #[test]
    fn the_id_follows_from_the_text_and_the_text_does_not_print() {
        let code = LinkCode::random(&SeededEntropy::new(1));
        assert_eq!(LinkCode::shown(code.as_str().to_owned()).id(), code.id());
        assert_ne!(LinkCode::random(&SeededEntropy::new(2)).id(), code.id());
        assert_eq!(code.id().to_text().len(), 43);
        assert_eq!(LinkCodeId::from_text(&code.id().to_text()), Some(code.id()));
        assert_eq!(LinkCodeId::from_text("AAAA"), None);
        assert_eq!(format!("{code:?}"), "LinkCode(…)");
    }
}
