//! The chain: what ties each record to all before it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The key of a chain. Wiped when dropped, and not shown by `Debug`.
#[derive(Clone)]
pub struct ChainKey(Zeroizing<[u8; 32]>);

/// What chains a record to the one before: HMAC-SHA-256 over the latter's, and the record's place and bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mac([u8; Self::LEN]);

/// A place in the chain, and thereby everything up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The place; 0 before the first record.
    pub seq: u64,
    /// The record's.
    pub mac: Mac,
}

/// Text that is not a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a head is a number, a colon and 64 hexadecimal digits")]
pub struct InvalidHead;

impl Mac {
    /// Bytes of it.
    pub const LEN: usize = 32;

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// From its bytes; nothing if they are too many or too few.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// In hexadecimal.
    pub fn to_text(self) -> String {
        hex::encode(self.0)
    }
}

impl ChainKey {
    /// That key.
    pub fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// What the first record is chained to.
    pub fn genesis(&self) -> Head {
        Head { seq: 0, mac: self.mac(&[b"heliograph audit genesis"]) }
    }

    /// The place behind a head, for a record with those canonical bytes.
    pub fn link(&self, head: Head, entry: &[u8]) -> Head {
        let seq = head.seq.saturating_add(1);
        Head { seq, mac: self.mac(&[b"heliograph audit record", &head.mac.0, &seq.to_be_bytes(), entry]) }
    }

    /// Shows that a head was stated by the server, for that purpose.
    pub fn sign(&self, purpose: Purpose, head: Head, at: u64) -> Mac {
        self.mac(&[purpose.label(), &head.seq.to_be_bytes(), &head.mac.0, &at.to_be_bytes()])
    }

    /// Whether it does.
    pub fn accepts(&self, purpose: Purpose, head: Head, at: u64, signature: Mac) -> bool {
        self.sign(purpose, head, at).0.ct_eq(&signature.0).into()
    }

    /// All parts but the last have a fixed length, or one that the first implies: no two lists give the same bytes.
    fn mac(&self, parts: &[&[u8]]) -> Mac {
        let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(&*self.0) else {
            unreachable!("HMAC takes a key of any length")
        };
        for part in parts {
            mac.update(part);
        }
        Mac(mac.finalize().into_bytes().into())
    }
}

/// What a head is stated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The chain went up to here.
    Checkpoint,
    /// What was up to here has expired.
    Cut,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Checkpoint => b"heliograph audit checkpoint",
            Self::Cut => b"heliograph audit cut",
        }
    }
}

impl Head {
    /// As `seq:mac`, for keeping elsewhere.
    pub fn to_text(self) -> String {
        format!("{}:{}", self.seq, self.mac.to_text())
    }
}

impl std::str::FromStr for Head {
    type Err = InvalidHead;

    fn from_str(text: &str) -> Result<Self, InvalidHead> {
        let (seq, mac) = text.trim().split_once(':').ok_or(InvalidHead)?;
        let mac = hex::decode(mac).ok().and_then(|bytes| Mac::from_bytes(&bytes)).ok_or(InvalidHead)?;
        Ok(Self { seq: seq.parse().map_err(|_| InvalidHead)?, mac })
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text()[..8])
    }
}

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_keep_their_text() {
        let head = ChainKey::new([1; 32]).genesis();
        assert_eq!(head.to_text().parse(), Ok(head));
        for text in
            ["", "1", "1:", "x:00", &format!("-1:{}", "00".repeat(32)), &format!("1:{}", "00".repeat(31))]
        {
            assert_eq!(text.parse::<Head>(), Err(InvalidHead), "{text}");
        }
    }

    #[test]
    fn a_statement_is_good_for_its_purpose_head_time_and_key() {
        let key = ChainKey::new([1; 32]);
        let head = key.link(key.genesis(), b"x");
        let signature = key.sign(Purpose::Cut, head, 7);
        assert!(key.accepts(Purpose::Cut, head, 7, signature));
        assert!(!key.accepts(Purpose::Checkpoint, head, 7, signature));
        assert!(!key.accepts(Purpose::Cut, key.genesis(), 7, signature));
        assert!(!key.accepts(Purpose::Cut, head, 8, signature));
        assert!(!ChainKey::new([2; 32]).accepts(Purpose::Cut, head, 7, signature));
    }
}
