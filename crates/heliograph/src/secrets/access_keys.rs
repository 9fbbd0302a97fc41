//! What signs access tokens: the file `access-token-keys.json`.
//!
//! A key that has been replaced is published, and what it signed is believed, for another [`AFTERLIFE`]; its private half
//! is destroyed at once. Losing the file costs little: clients trade in their refresh tokens.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use auth::native::access::{KeySet, PublicKey, SigningKey};
use protocol::{
    ambient::{Entropy, Timestamp},
    base64,
};
use serde::{Deserialize, Serialize};
use vault::{Place, Vault};
use zeroize::Zeroizing;

use super::files;

const FILE: &str = "access-token-keys.json";

/// Where the vault thinks the private half is.
const SECRET: &str = "secrets.access-token-key";

/// How long what a former key has signed is believed. Longer than any access token lives; the rest is for a server that
/// learned late that it is to use another.
const AFTERLIFE: Duration = Duration::from_hours(24);

/// The keys of access tokens. Times are milliseconds since the epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AccessKeys {
    current: Entry,
    /// The private half of the current key.
    #[serde(with = "base64::padded")]
    sealed_secret: Vec<u8>,
    former: Vec<Former>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(with = "base64::padded")]
    public_key: Vec<u8>,
    made: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Former {
    #[serde(flatten)]
    key: Entry,
    replaced: Timestamp,
}

/// What is shown of a key.
pub(crate) struct Shown {
    pub(crate) id: String,
    pub(crate) made: Timestamp,
    /// Until when what it signed is believed, if it has been replaced.
    pub(crate) believed_until: Option<Timestamp>,
}

/// What making keys takes.
pub(super) struct Forge<'a> {
    pub(super) folder: &'a Path,
    pub(super) vault: &'a Vault,
    pub(super) now: Timestamp,
    pub(super) entropy: &'a dyn Entropy,
}

impl Forge<'_> {
    /// The keys there are; the first is made if there is none.
    pub(super) fn read_or_make(&self) -> Result<AccessKeys> {
        let _one_at_a_time = files::lock(self.folder)?;
        if !AccessKeys::file(self.folder).exists() {
            self.write(&self.made(Vec::new())?)?;
        }
        AccessKeys::read(self.folder)
    }

    /// Makes another key, which signs from now on. What those before it signed is believed for a while, unless it is to
    /// be over at once.
    pub(super) fn rotate(&self, at_once: bool) -> Result<AccessKeys> {
        let _one_at_a_time = files::lock(self.folder)?;
        let mut former = Vec::new();
        if AccessKeys::file(self.folder).exists() && !at_once {
            let before = AccessKeys::read(self.folder)?;
            former = before.former.into_iter().filter(|former| former.is_believed(self.now)).collect();
            former.push(Former { key: before.current, replaced: self.now });
        }
        let keys = self.made(former)?;
        self.write(&keys)?;
        Ok(keys)
    }

    fn made(&self, former: Vec<Former>) -> Result<AccessKeys> {
        let secret = Zeroizing::new(self.entropy.bytes::<{ SigningKey::SECRET_LEN }>());
        let key = SigningKey::from_secret(&*secret)?;
        Ok(AccessKeys {
            current: Entry { public_key: key.public().as_bytes().to_vec(), made: self.now },
            sealed_secret: self.vault.seal(Place { column: SECRET, row: &[] }, &*secret),
            former,
        })
    }

    fn write(&self, keys: &AccessKeys) -> Result<()> {
        files::write_secret(&AccessKeys::file(self.folder), serde_json::to_string_pretty(keys)?.as_bytes())
    }
}

impl AccessKeys {
    fn file(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// Reads the file in the secrets folder.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = Self::file(folder);
        let json = files::read(&path)?;
        serde_json::from_str(&json).with_context(|| format!("{} is damaged", path.display()))
    }

    /// The keys in use at that moment.
    pub(super) fn key_set(&self, vault: &Vault, now: Timestamp) -> Result<KeySet> {
        let secret = vault
            .open(Place { column: SECRET, row: &[] }, &self.sealed_secret)
            .context("the key that signs access tokens")?;
        let former = self.former.iter().filter(|former| former.is_believed(now));
        Ok(KeySet {
            current: SigningKey::from_secret(&secret)?,
            former: former.map(|former| former.key.public()).collect::<Result<_>>()?,
        })
    }

    /// Whether the current key has been in use for so long.
    pub(super) fn is_older_than(&self, age: Duration, now: Timestamp) -> bool {
        now.saturating_since(self.current.made) >= age
    }

    /// Every key that is believed at that moment, the one that signs last.
    pub(crate) fn shown(&self, now: Timestamp) -> Result<Vec<Shown>> {
        let former = self.former.iter().filter(|former| former.is_believed(now));
        let former = former.map(|former| former.key.shown(Some(former.believed_until())));
        former.chain([self.current.shown(None)]).collect()
    }
}

impl Entry {
    fn public(&self) -> Result<PublicKey> {
        Ok(PublicKey::from_bytes(&self.public_key)?)
    }

    fn shown(&self, believed_until: Option<Timestamp>) -> Result<Shown> {
        Ok(Shown { id: self.public()?.id().to_owned(), made: self.made, believed_until })
    }
}

impl Former {
    fn believed_until(&self) -> Timestamp {
        self.replaced.saturating_add(AFTERLIFE)
    }

    fn is_believed(&self, now: Timestamp) -> bool {
        now < self.believed_until()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::ambient::SeededEntropy;
    use vault::Keyring;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn ids(keys: &AccessKeys, vault: &Vault, now: Timestamp) -> Vec<String> {
        let set = keys.key_set(vault, now).unwrap();
        let former = set.former.iter().map(|key| key.id().to_owned());
        [set.current.public().id().to_owned()].into_iter().chain(former).collect()
    }

    #[test]
    fn a_replaced_key_is_believed_for_a_day_unless_it_is_to_be_over_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let entropy = Arc::new(SeededEntropy::new(1));
        let vault = Vault::new(Keyring::generate(&*entropy), entropy.clone());
        let forge = |now| Forge { folder: folder.path(), vault: &vault, now, entropy: &*entropy };
        let first = forge(START).read_or_make().unwrap();
        assert_eq!(ids(&forge(START).read_or_make().unwrap(), &vault, START), ids(&first, &vault, START));
        assert!(first.is_older_than(Duration::ZERO, START) && !first.is_older_than(AFTERLIFE, START));

        let second = forge(START).rotate(false).unwrap();
        let [current, former] = &ids(&second, &vault, START)[..] else { panic!() };
        assert_eq!(*former, ids(&first, &vault, START)[0]);
        assert_ne!(current, former);
        assert_eq!(ids(&second, &vault, START.saturating_add(AFTERLIFE)), std::slice::from_ref(current));
        assert_eq!(second.shown(START).unwrap().len(), 2);

        let later = START.saturating_add(AFTERLIFE);
        let third = forge(later).rotate(false).unwrap();
        assert_eq!(third.former.len(), 1, "what is over is forgotten");
        let last = forge(later).rotate(true).unwrap();
        assert_eq!(ids(&last, &vault, later).len(), 1);
        assert_eq!(ids(&AccessKeys::read(folder.path()).unwrap(), &vault, later), ids(&last, &vault, later));
    }
}
