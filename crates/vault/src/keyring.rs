//! The keyring: data keys, and the key of the blind indexes, wrapped under the master key.

use std::{collections::BTreeMap, fmt};

use protocol::{ambient::Entropy, base64};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    aead::{Aead, KEY_LEN},
    master::MasterKey,
};

/// Layout of the file; another one is refused.
const VERSION: u32 = 1;
/// Highest id a data key may have: far beyond any number of rotations, so that the next id always exists.
const MAX_KEY_ID: u32 = u32::MAX / 2;
const FIRST_KEY_ID: u32 = 1;

pub(crate) type DataKey = Zeroizing<[u8; KEY_LEN]>;

/// The keys that seal data. The newest one seals; the older ones still open what they sealed.
///
/// The index key never changes: what was found under it must be found again.
pub struct Keyring {
    data: BTreeMap<u32, DataKey>,
    index: DataKey,
}

/// A keyring file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Not JSON of the right shape.
    #[error("the keyring is not readable")]
    Malformed(#[source] serde_json::Error),
    /// Written by a newer version of this program.
    #[error("the keyring has version {0}, this program reads version {VERSION}")]
    UnsupportedVersion(u32),
    /// There is no data key in it, or one with an id that this program never gives.
    #[error("the keyring lacks usable data keys")]
    Incomplete,
    /// The master key is not the one it was written under, or the file was altered.
    #[error("the master key does not open the keyring")]
    WrongMasterKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    data_keys: BTreeMap<u32, Wrapped>,
    index_key: Wrapped,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Wrapped(#[serde(with = "base64::padded")] Vec<u8>);

impl Keyring {
    /// A keyring with one fresh data key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let data = BTreeMap::from([(FIRST_KEY_ID, Zeroizing::new(entropy.bytes()))]);
        Self { data, index: Zeroizing::new(entropy.bytes()) }
    }

    /// Adds a fresh data key, which seals from now on.
    pub fn rotate(&mut self, entropy: &dyn Entropy) {
        self.data.insert(self.newest() + 1, Zeroizing::new(entropy.bytes()));
    }

    /// What to write into the keyring file. Nothing in it can be used without the master key.
    pub fn to_json(&self, master: &MasterKey, entropy: &dyn Entropy) -> String {
        let master = Aead::new(master.as_bytes());
        let wrap = |name: &str, key: &DataKey| Wrapped(master.seal(&[], name.as_bytes(), &**key, entropy));
        let file = File {
            version: VERSION,
            data_keys: self.data.iter().map(|(id, key)| (*id, wrap(&data_key_name(*id), key))).collect(),
            index_key: wrap(INDEX_KEY_NAME, &self.index),
        };
        let json = serde_json::to_string_pretty(&file);
        json.unwrap_or_else(|error| unreachable!("numbers and text are always JSON: {error}"))
    }

    /// Reads a keyring file.
    pub fn from_json(master: &MasterKey, json: &str) -> Result<Self, KeyringError> {
        let file: File = serde_json::from_str(json).map_err(KeyringError::Malformed)?;
        if file.version != VERSION {
            return Err(KeyringError::UnsupportedVersion(file.version));
        }
        if file.data_keys.is_empty() || file.data_keys.keys().any(|id| *id > MAX_KEY_ID) {
            return Err(KeyringError::Incomplete);
        }
        let master = Aead::new(master.as_bytes());
        let unwrap = |name: &str, Wrapped(wrapped): &Wrapped| {
            let key = master.open(name.as_bytes(), wrapped).map(Zeroizing::new);
            let key = key.and_then(|key| key[..].try_into().ok().map(Zeroizing::new));
            key.ok_or(KeyringError::WrongMasterKey)
        };
        let index = unwrap(INDEX_KEY_NAME, &file.index_key)?;
        let data = file.data_keys.iter().map(|(id, key)| Ok((*id, unwrap(&data_key_name(*id), key)?)));
        Ok(Self { data: data.collect::<Result<_, KeyringError>>()?, index })
    }

    /// Id of the key that seals.
    pub(crate) fn newest(&self) -> u32 {
        self.data.last_key_value().map_or(FIRST_KEY_ID, |(id, _)| *id)
    }

    /// The data keys with their ids, and the index key.
    pub(crate) fn into_keys(self) -> (impl Iterator<Item = (u32, DataKey)>, DataKey) {
        (self.data.into_iter(), self.index)
    }
}

// The name is authenticated with each wrapped key, so that keys cannot be exchanged inside the file.
const INDEX_KEY_NAME: &str = "keyring.index";

fn data_key_name(id: u32) -> String {
    format!("keyring.data.{id}")
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("newest", &self.newest()).finish_non_exhaustive()
    }
}
