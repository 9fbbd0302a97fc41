//! Refresh tokens: by what a session goes on when its access token is over.
//!
//! A token is opaque: a handle that all tokens of a session share, and a secret that each has for itself. The server
//! keeps a hash of either. A token that has the handle of a session and not its present secret has been used before:
//! somebody has a copy, and nobody can say who is the owner, so the session ends.

use protocol::{ambient::Entropy, base64};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::secrets::debug_without_content;

const HANDLE_LEN: usize = 16;
const SECRET_LEN: usize = 32;

/// A refresh token, as only its client has it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RefreshToken {
    handle: [u8; HANDLE_LEN],
    secret: [u8; SECRET_LEN],
}

/// Names the session of a token to the server: SHA-256 of the handle.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FamilyId([u8; 32]);

/// By which the present token of a session is known: SHA-256 of the whole token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl RefreshToken {
    /// The first token of a session.
    pub fn first(entropy: &dyn Entropy) -> Self {
        Self { handle: entropy.bytes(), secret: entropy.bytes() }
    }

    /// Another token of the same session.
    #[must_use]
    pub fn next(&self, entropy: &dyn Entropy) -> Self {
        Self { handle: self.handle, secret: entropy.bytes() }
    }

    /// Reads a token; nothing if the text is none.
    pub fn from_text(text: &str) -> Option<Self> {
        // Nothing longer than a token is decoded.
        if text.len() != (HANDLE_LEN + SECRET_LEN) / 3 * 4 {
            return None;
        }
        let bytes = Zeroizing::new(base64::decode_url_lenient(text)?);
        let (handle, secret) = bytes.split_first_chunk()?;
        Some(Self { handle: *handle, secret: secret.try_into().ok()? })
    }

    /// The token as its client keeps it.
    pub fn to_text(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new([&self.handle[..], &self.secret[..]].concat());
        Zeroizing::new(base64::encode_url(&*bytes))
    }

    /// What names its session.
    pub fn family(&self) -> FamilyId {
        FamilyId(Sha256::digest(self.handle).into())
    }

    /// What it is known by.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::new_with_prefix(self.handle).chain_update(self.secret).finalize().into())
    }
}

impl FamilyId {
    /// The stored form.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TokenHash {
    /// The stored form.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether that stored form is of the same token; takes the same time for any other.
    pub fn matches(&self, stored: &[u8]) -> bool {
        self.0[..].ct_eq(stored).into()
    }
}

debug_without_content!(RefreshToken, FamilyId, TokenHash);

#[cfg(test)]
mod tests {
    use protocol::ambient::SeededEntropy;

    use super::*;

    #[test]
    fn tokens_of_a_session_share_its_family_and_nothing_else() {
        let entropy = SeededEntropy::new(1);
        let first = RefreshToken::first(&entropy);
        let next = first.next(&entropy);
        assert_eq!(first.family(), next.family());
        assert_ne!(first.hash(), next.hash());
        assert!(next.hash().matches(next.hash().as_bytes()) && !next.hash().matches(first.hash().as_bytes()));
        assert!(!next.hash().matches(&[]));
        assert_ne!(first.family(), RefreshToken::first(&entropy).family());
    }

    #[test]
    fn the_text_comes_back() {
        let token = RefreshToken::first(&SeededEntropy::new(1));
        let text = token.to_text();
        assert_eq!(text.len(), 64);
        assert_eq!(RefreshToken::from_text(&text).unwrap().hash(), token.hash());
        for other in ["", "x", &text[1..], &format!("{}=", &text[1..]), &"%".repeat(64), &"A".repeat(1 << 20)]
        {
            assert!(RefreshToken::from_text(other).is_none(), "{other:.70}");
        }
        assert_eq!(format!("{token:?} {:?}", token.hash()), "RefreshToken(…) TokenHash(…)");
    }
}
