//! Sealing, opening, and indexes for what is stored.

use std::{collections::HashMap, fmt, sync::Arc};

use aws_lc_rs::hmac;
use protocol::ambient::Entropy;
use zeroize::Zeroizing;

use crate::{aead::Aead, keyring::Keyring};

/// Seals what goes into the database and opens what comes out. Cheap to clone.
///
/// Sealed form: the data key's id (4 bytes, big endian), nonce (12), ciphertext, tag (16).
#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    /// Id of the key that seals.
    newest: u32,
    keys: HashMap<u32, Aead>,
    index: hmac::Key,
    entropy: Arc<dyn Entropy>,
}

/// Where something is stored. What was sealed for one place opens in no other, so that whoever can write to
/// the database still cannot move a value from one row or column to another.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Table and column, such as `messages.envelope`.
    pub column: &'static str,
    /// The row's primary key.
    pub row: &'a [u8],
}

/// What is stored is not what was sealed for that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too short to have been sealed.
    #[error("sealed data is truncated")]
    Truncated,
    /// Sealed under a key that the keyring does not have.
    #[error("sealed under unknown key {0}")]
    UnknownKey(u32),
    /// Altered, or moved here from another place.
    #[error("sealed data was altered or belongs elsewhere")]
    Refused,
}

impl Vault {
    /// Bytes that sealing adds.
    pub const OVERHEAD: usize = 4 + 12 + 16;

    /// A vault that uses those keys.
    pub fn new(keyring: Keyring, entropy: Arc<dyn Entropy>) -> Self {
        let newest = keyring.newest();
        let (data, index) = keyring.into_keys();
        Self(Arc::new(Inner {
            newest,
            keys: data.map(|(id, key)| (id, Aead::new(&key))).collect(),
            index: hmac::Key::new(hmac::HMAC_SHA256, &*index),
            entropy,
        }))
    }

    /// Seals something for a place.
    pub fn seal(&self, place: Place<'_>, plaintext: &[u8]) -> Vec<u8> {
        let Inner { newest, keys, entropy, .. } = &*self.0;
        keys[newest].seal(&newest.to_be_bytes(), &place.to_bytes(), plaintext, &**entropy)
    }

    /// Opens what was sealed for that place. The result is wiped when dropped.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        self.open_plain(place, sealed).map(Zeroizing::new)
    }

    /// Like [`open`](Self::open), for what is encrypted once more inside, such as message envelopes: the result
    /// is an ordinary buffer that can be handed on without a copy.
    pub fn open_plain(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        if sealed.len() < Self::OVERHEAD {
            return Err(OpenError::Truncated);
        }
        let (id, rest) = sealed.split_first_chunk().ok_or(OpenError::Truncated)?;
        let id = u32::from_be_bytes(*id);
        let key = self.0.keys.get(&id).ok_or(OpenError::UnknownKey(id))?;
        key.open(&place.to_bytes(), rest).ok_or(OpenError::Refused)
    }

    /// A keyed hash by which a value can be found without being readable: HMAC-SHA-256 under a key that never
    /// rotates. Equal values have equal indexes within a domain and unrelated ones across domains.
    pub fn index(&self, domain: &str, value: &[u8]) -> [u8; 32] {
        let mut mac = hmac::Context::with_key(&self.0.index);
        mac.update(&length(domain));
        mac.update(domain.as_bytes());
        mac.update(value);
        let mut index = [0; 32];
        index.copy_from_slice(mac.sign().as_ref());
        index
    }
}

impl Place<'_> {
    /// The associated data of the seal.
    fn to_bytes(self) -> Vec<u8> {
        [&length(self.column)[..], self.column.as_bytes(), self.row].concat()
    }
}

/// In front of the first of two parts, so that no other two parts give the same bytes.
fn length(text: &str) -> [u8; 8] {
    (text.len() as u64).to_be_bytes()
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("newest", &self.0.newest).finish_non_exhaustive()
    }
}
