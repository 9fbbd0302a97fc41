//! Pre-keys in the embedded engine: one row per key.

use std::sync::Arc;

use async_trait::async_trait;
use keys::{DeviceKeys, KeyCounts, KeySlot, KeyStore, KeyUpload};
use protocol::{
    DeviceId,
    ambient::StorageError,
    keys::{EcPreKey, EcSignedPreKey, KemSignedPreKey, KeyId},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{Database, sql};

/// Pre-keys kept in the accounts' [`Database`].
pub struct SqliteKeys {
    database: Arc<Database>,
}

impl SqliteKeys {
    /// The keys in that file.
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

/// What a key is for. The numbers are stored.
#[derive(Clone, Copy)]
enum Kind {
    Signed = 1,
    LastResort = 2,
    OneTime = 3,
    KemOneTime = 4,
}

#[async_trait]
impl KeyStore for SqliteKeys {
    async fn put(&self, slot: KeySlot, keys: KeyUpload) -> Result<(), StorageError> {
        self.database.write(move |connection| put(connection, slot, &keys)).await
    }

    async fn counts(&self, slot: KeySlot) -> Result<KeyCounts, StorageError> {
        self.database
            .read(move |connection| {
                let ec = count(connection, slot, Kind::OneTime)?;
                Ok(KeyCounts { ec, kem: count(connection, slot, Kind::KemOneTime)? })
            })
            .await
    }

    async fn repeated_use(
        &self,
        slot: KeySlot,
    ) -> Result<Option<(EcSignedPreKey, KemSignedPreKey)>, StorageError> {
        self.database
            .read(move |connection| {
                let signed =
                    first(connection, slot, Kind::Signed)?.map(StoredKey::into_ec_signed).transpose()?;
                let kem = first(connection, slot, Kind::LastResort)?.map(StoredKey::into_kem).transpose()?;
                Ok(signed.zip(kem))
            })
            .await
    }

    async fn take(&self, identity: Uuid, devices: Vec<DeviceId>) -> Result<Vec<DeviceKeys>, StorageError> {
        self.database
            .write(move |connection| {
                let slots = devices.into_iter().map(|device| KeySlot { identity, device });
                slots.filter_map(|slot| take(connection, slot).transpose()).collect()
            })
            .await
    }

    async fn remove(&self, identities: Vec<Uuid>, device: Option<DeviceId>) -> Result<(), StorageError> {
        self.database
            .write(move |connection| {
                identities.into_iter().try_for_each(|identity| remove(connection, identity, device))
            })
            .await
    }
}

/// [`KeyStore::put`], inside a transaction that may write more than keys.
pub(super) fn put(connection: &Connection, slot: KeySlot, keys: &KeyUpload) -> Result<(), StorageError> {
    let one_time = keys.one_time.iter().map(NewKey::from);
    replace(connection, slot, Kind::OneTime, one_time)?;
    replace(connection, slot, Kind::Signed, keys.signed.iter().map(NewKey::from))?;
    replace(connection, slot, Kind::KemOneTime, keys.kem_one_time.iter().map(NewKey::from))?;
    replace(connection, slot, Kind::LastResort, keys.last_resort.iter().map(NewKey::from))
}

/// [`KeyStore::remove`] of one identity, inside a transaction that may write more than keys.
pub(super) fn remove(
    connection: &Connection,
    identity: Uuid,
    device: Option<DeviceId>,
) -> Result<(), StorageError> {
    connection
        .prepare_cached("DELETE FROM keys_pre_keys WHERE identity = ?1 AND device = coalesce(?2, device)")
        .and_then(|mut delete| delete.execute(params![identity.as_bytes(), device.map(DeviceId::get)]))
        .map(drop)
        .map_err(sql)
}

/// A key on its way to its row.
struct NewKey<'a> {
    id: KeyId,
    public_key: &'a [u8],
    signature: Option<&'a [u8]>,
}

impl<'a> From<&'a EcPreKey> for NewKey<'a> {
    fn from(key: &'a EcPreKey) -> Self {
        Self { id: key.key_id, public_key: key.public_key.as_bytes(), signature: None }
    }
}

impl<'a> From<&'a EcSignedPreKey> for NewKey<'a> {
    fn from(key: &'a EcSignedPreKey) -> Self {
        let signature = Some(&key.signature.as_bytes()[..]);
        Self { id: key.key_id, public_key: key.public_key.as_bytes(), signature }
    }
}

impl<'a> From<&'a KemSignedPreKey> for NewKey<'a> {
    fn from(key: &'a KemSignedPreKey) -> Self {
        let signature = Some(&key.signature.as_bytes()[..]);
        Self { id: key.key_id, public_key: key.public_key.as_bytes(), signature }
    }
}

/// Replaces the keys of one kind, unless there are no new ones.
fn replace<'a>(
    connection: &Connection,
    KeySlot { identity, device }: KeySlot,
    kind: Kind,
    keys: impl Iterator<Item = NewKey<'a>>,
) -> Result<(), StorageError> {
    let mut keys = keys.peekable();
    if keys.peek().is_none() {
        return Ok(());
    }
    let (identity, device, kind) = (identity.as_bytes(), device.get(), kind as u8);
    connection
        .prepare_cached("DELETE FROM keys_pre_keys WHERE identity = ?1 AND device = ?2 AND kind = ?3")
        .and_then(|mut delete| delete.execute(params![identity, device, kind]))
        .map_err(sql)?;
    let mut insert = connection
        .prepare_cached(
            "INSERT OR REPLACE INTO keys_pre_keys (identity, device, kind, key_id, public_key, signature)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .map_err(sql)?;
    for NewKey { id, public_key, signature } in keys {
        insert.execute(params![identity, device, kind, id.get(), public_key, signature]).map_err(sql)?;
    }
    Ok(())
}

fn count(
    connection: &Connection,
    KeySlot { identity, device }: KeySlot,
    kind: Kind,
) -> Result<u32, StorageError> {
    connection
        .prepare_cached(
            "SELECT count(*) FROM keys_pre_keys WHERE identity = ?1 AND device = ?2 AND kind = ?3",
        )
        .and_then(|mut select| {
            select.query_row(params![identity.as_bytes(), device.get(), kind as u8], |row| row.get(0))
        })
        .map_err(sql)
}

/// The keys for one session with one device; `None`, and nothing taken, if it has not left enough.
fn take(connection: &Connection, slot: KeySlot) -> Result<Option<DeviceKeys>, StorageError> {
    let Some(signed) = first(connection, slot, Kind::Signed)? else { return Ok(None) };
    let kem = match take_first(connection, slot, Kind::KemOneTime)? {
        Some(key) => key,
        None => match first(connection, slot, Kind::LastResort)? {
            Some(key) => key,
            None => return Ok(None),
        },
    };
    let one_time = take_first(connection, slot, Kind::OneTime)?;
    Ok(Some(DeviceKeys {
        device: slot.device,
        signed: signed.into_ec_signed()?,
        one_time: one_time.map(StoredKey::into_ec).transpose()?,
        kem: kem.into_kem()?,
    }))
}

/// The key of that kind with the lowest id.
fn first(
    connection: &Connection,
    KeySlot { identity, device }: KeySlot,
    kind: Kind,
) -> Result<Option<StoredKey>, StorageError> {
    connection
        .prepare_cached(
            "SELECT id, key_id, public_key, signature FROM keys_pre_keys
             WHERE identity = ?1 AND device = ?2 AND kind = ?3 ORDER BY key_id LIMIT 1",
        )
        .and_then(|mut select| {
            let slot = params![identity.as_bytes(), device.get(), kind as u8];
            select.query_row(slot, StoredKey::from_row).optional()
        })
        .map_err(sql)
}

/// Like [`first`], and removes it.
fn take_first(connection: &Connection, slot: KeySlot, kind: Kind) -> Result<Option<StoredKey>, StorageError> {
    let key = first(connection, slot, kind)?;
    if let Some(key) = &key {
        connection
            .prepare_cached("DELETE FROM keys_pre_keys WHERE id = ?1")
            .and_then(|mut delete| delete.execute([key.row]))
            .map_err(sql)?;
    }
    Ok(key)
}

/// A key as it came from its row.
struct StoredKey {
    row: i64,
    key_id: u32,
    public_key: Vec<u8>,
    signature: Option<Vec<u8>>,
}

impl StoredKey {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { row: row.get(0)?, key_id: row.get(1)?, public_key: row.get(2)?, signature: row.get(3)? })
    }

    fn into_ec(self) -> Result<EcPreKey, StorageError> {
        Ok(EcPreKey {
            key_id: self.typed("key_id", self.key_id)?,
            public_key: self.typed("public_key", &self.public_key[..])?,
        })
    }

    fn into_ec_signed(self) -> Result<EcSignedPreKey, StorageError> {
        Ok(EcSignedPreKey {
            key_id: self.typed("key_id", self.key_id)?,
            public_key: self.typed("public_key", &self.public_key[..])?,
            signature: self.typed("signature", self.signature.as_deref().unwrap_or_default())?,
        })
    }

    fn into_kem(self) -> Result<KemSignedPreKey, StorageError> {
        Ok(KemSignedPreKey {
            key_id: self.typed("key_id", self.key_id)?,
            public_key: self.typed("public_key", &self.public_key[..])?,
            signature: self.typed("signature", self.signature.as_deref().unwrap_or_default())?,
        })
    }

    fn typed<V, T: TryFrom<V>>(&self, column: &'static str, value: V) -> Result<T, StorageError> {
        T::try_from(value).map_err(|_| StorageError::Corrupt {
            table: "keys_pre_keys",
            column,
            row: self.row.to_string(),
        })
    }
}
