//! The master key: what an operator keeps apart from the database.

use std::fmt;

use protocol::{ambient::Entropy, base64};
use zeroize::Zeroizing;

use crate::aead::KEY_LEN;

/// Wraps the data keys. Wiped when dropped, and not shown by `Debug`.
pub struct MasterKey(Zeroizing<[u8; KEY_LEN]>);

/// Text that is not 32 bytes in base64 or hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a master key is 32 bytes, written in base64 or hexadecimal")]
pub struct InvalidMasterKey;

impl MasterKey {
    /// A fresh key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(Zeroizing::new(entropy.bytes()))
    }

    /// Reads what a key file holds: base64 (standard alphabet) or hexadecimal, spaces and line ends around
    /// it ignored. The two cannot be confused, their lengths differ.
    pub fn from_text(text: &str) -> Result<Self, InvalidMasterKey> {
        let text = text.trim();
        let bytes = hex::decode(text).ok().or_else(|| base64::decode_lenient(text));
        let bytes = Zeroizing::new(bytes.unwrap_or_default());
        let mut key = Zeroizing::new([0; KEY_LEN]);
        if bytes.len() != KEY_LEN {
            return Err(InvalidMasterKey);
        }
        key.copy_from_slice(&bytes);
        Ok(Self(key))
    }

    /// What to write into a key file: one line of base64.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(base64::encode_padded(&self.0[..]));
        text.push('\n');
        text
    }

    pub(crate) fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}
