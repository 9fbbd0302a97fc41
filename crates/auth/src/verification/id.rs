//! What names a verification session.

use std::fmt;

use protocol::{ambient::Entropy, base64};

/// Names a session: 18 random bytes. Knowing it is holding it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId([u8; Self::LEN]);

/// A text that names no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidSessionId {
    /// It is not base64.
    NotBase64,
    /// It is base64 of something else.
    Unusable,
}

impl SessionId {
    /// Bytes in a session id.
    pub const LEN: usize = 18;

    /// A fresh id.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(entropy.bytes())
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, InvalidSessionId> {
        let bytes = base64::decode_url_lenient(text).ok_or(InvalidSessionId::NotBase64)?;
        bytes.try_into().map(Self).map_err(|_| InvalidSessionId::Unusable)
    }

    /// The text form: base64url, of a length that needs no padding.
    pub fn to_text(&self) -> String {
        base64::encode_url(self.0)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

#[cfg(test)]
mod tests {
    use protocol::ambient::SeededEntropy;

    use super::*;

    #[test]
    fn ids_keep_their_text_and_others_are_told_apart() {
        let id = SessionId::random(&SeededEntropy::new(1));
        assert_eq!(SessionId::parse(&id.to_text()), Ok(id.clone()));
        assert_eq!(SessionId::parse("not base64!"), Err(InvalidSessionId::NotBase64));
        assert_eq!(SessionId::parse("AAAA"), Err(InvalidSessionId::Unusable));
        assert!(!id.to_text().contains(['=', '/', '%']));
    }
}
