//! Devices joining and leaving an account, and the codes by which they join.

use ::keys::{KeySlot, KeyUpload};
use async_trait::async_trait;
use auth::{
    linking::{
        LinkCodeId,
        store::{LinkOutcome, LinkStore, NewLinkedDevice, SignedKeys},
    },
    revocation::QueueClear,
};
use protocol::{
    Aci, DeviceAddress, DeviceId, ServiceId,
    ambient::{StorageError, Timestamp},
};
use rusqlite::{Connection, params};
use uuid::Uuid;
use vault::Vault;

use super::{
    super::{keys, sql},
    SqliteAccounts, identities, queue_clears,
    registration::key_identities,
    rows::{self, Columns, Found, integer},
};

#[async_trait]
impl LinkStore for SqliteAccounts {
    async fn add_code(&self, id: LinkCodeId, aci: Aci, expires: Timestamp) -> Result<(), StorageError> {
        self.database
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "INSERT INTO auth_link_codes (id, account, expires)
                         SELECT ?1, id, ?3 FROM auth_accounts WHERE aci = ?2",
                    )
                    .and_then(|mut statement| {
                        let expires = integer(expires.as_millis());
                        statement.execute(params![id.as_bytes(), aci.0.as_bytes(), expires])
                    })
                    .map(drop)
                    .map_err(sql)
            })
            .await
    }

    async fn code_owner(&self, id: LinkCodeId, now: Timestamp) -> Result<Option<Aci>, StorageError> {
        self.database.read(move |connection| code_owner(connection, id, now)).await
    }

    async fn link(&self, new: NewLinkedDevice) -> Result<LinkOutcome, StorageError> {
        self.write_and_forget(move |connection, vault| {
            let Some(found) = rows::account(connection, vault, ServiceId::Aci(new.aci))? else {
                return Ok((LinkOutcome::CodeUsed, Vec::new()));
            };
            let outcome = link(connection, vault, &found, &new)?;
            Ok((outcome, identities(&found.account)))
        })
        .await
    }

    async fn linked(
        &self,
        id: LinkCodeId,
        aci: Aci,
        now: Timestamp,
    ) -> Result<Option<DeviceId>, StorageError> {
        self.database.read(move |connection| linked(connection, id, aci, now)).await
    }

    async fn remove_expired_codes(&self, now: Timestamp) -> Result<(), StorageError> {
        self.database
            .write(move |connection| {
                connection
                    .prepare_cached("DELETE FROM auth_link_codes WHERE expires <= ?1")
                    .and_then(|mut statement| statement.execute([integer(now.as_millis())]))
                    .map(drop)
                    .map_err(sql)
            })
            .await
    }
}

/// Removes a linked device and answers the account it was of.
pub(super) fn remove_device(
    connection: &Connection,
    vault: &Vault,
    device: DeviceAddress,
    at: Timestamp,
) -> Result<Option<Found>, StorageError> {
    let DeviceAddress { aci, device_id } = device;
    let Some(found) = rows::account(connection, vault, ServiceId::Aci(aci))? else { return Ok(None) };
    if device_id.is_primary() || found.account.device(device_id).is_none() {
        return Ok(None);
    }
    for statement in [
        "DELETE FROM auth_devices WHERE account = ?1 AND device = ?2",
        // Whoever waits for the device that a code has linked must not be told of the next one of its id.
        "DELETE FROM auth_link_codes WHERE account = ?1 AND device = ?2",
        "DELETE FROM auth_transfer_archives WHERE account = ?1 AND device = ?2",
        "DELETE FROM auth_number_notices WHERE account = ?1 AND device = ?2",
    ] {
        connection
            .prepare_cached(statement)
            .and_then(|mut statement| statement.execute(params![found.id, device_id.get()]))
            .map_err(sql)?;
    }
    clear_leftovers(connection, &found, device_id, at)?;
    count_change(connection, &found)?;
    Ok(Some(found))
}

fn code_owner(connection: &Connection, id: LinkCodeId, now: Timestamp) -> Result<Option<Aci>, StorageError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT aci FROM auth_link_codes JOIN auth_accounts ON auth_accounts.id = account
             WHERE auth_link_codes.id = ?1 AND expires > ?2 AND device IS NULL",
        )
        .map_err(sql)?;
    let mut rows = statement.query(params![id.as_bytes(), integer(now.as_millis())]).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else { return Ok(None) };
    let at = Columns { row, table: "auth_accounts", name: "of a link code".to_owned() };
    Ok(Some(Aci(at.read("aci", |bytes: Vec<u8>| Uuid::from_slice(&bytes).ok())?)))
}

fn linked(
    connection: &Connection,
    id: LinkCodeId,
    Aci(aci): Aci,
    now: Timestamp,
) -> Result<Option<DeviceId>, StorageError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT device FROM auth_link_codes
             WHERE id = ?1 AND account = (SELECT id FROM auth_accounts WHERE aci = ?2) AND expires > ?3",
        )
        .map_err(sql)?;
    let mut rows =
        statement.query(params![id.as_bytes(), aci.as_bytes(), integer(now.as_millis())]).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else { return Ok(None) };
    let at = Columns { row, table: "auth_link_codes", name: "of an account".to_owned() };
    at.maybe("device", |id: u32| DeviceId::try_from(id).ok())
}

fn link(
    connection: &Connection,
    vault: &Vault,
    found: &Found,
    new: &NewLinkedDevice,
) -> Result<LinkOutcome, StorageError> {
    if found.account.version != new.version {
        return Ok(LinkOutcome::Outdated);
    }
    let used = connection
        .prepare_cached(
            "UPDATE auth_link_codes SET device = ?3, expires = ?4
             WHERE id = ?1 AND account = ?2 AND device IS NULL",
        )
        .and_then(|mut statement| {
            let until = integer(new.remembered_until.as_millis());
            statement.execute(params![new.code.as_bytes(), found.id, new.device.id.get(), until])
        })
        .map_err(sql)?;
    if used == 0 {
        return Ok(LinkOutcome::CodeUsed);
    }
    clear_leftovers(connection, found, new.device.id, new.at)?;
    rows::insert_device(connection, vault, found.id, new.aci, &new.device)?;
    let keys = [Some(&new.aci_keys), new.pni_keys.as_ref()];
    for (identity, keys) in key_identities(&found.account).zip(keys) {
        put_keys(connection, KeySlot { identity, device: new.device.id }, keys)?;
    }
    count_change(connection, found)?;
    Ok(LinkOutcome::Linked)
}

fn put_keys(connection: &Connection, slot: KeySlot, keys: Option<&SignedKeys>) -> Result<(), StorageError> {
    let Some(SignedKeys { signed_pre_key, last_resort_pre_key }) = keys else { return Ok(()) };
    let upload = KeyUpload {
        signed: Some(signed_pre_key.clone()),
        last_resort: Some(last_resort_pre_key.clone()),
        ..KeyUpload::default()
    };
    keys::put(connection, slot, &upload)
}

/// Nothing of a device outlives it, or meets the next one of its id.
fn clear_leftovers(
    connection: &Connection,
    found: &Found,
    device: DeviceId,
    at: Timestamp,
) -> Result<(), StorageError> {
    key_identities(&found.account)
        .try_for_each(|identity| keys::remove(connection, identity, Some(device)))?;
    let clear = QueueClear { aci: found.account.aci, device: Some(device), cutoff: at };
    queue_clears::record(connection, clear)
}

/// What was decided about the account on its former devices must be decided again.
pub(super) fn count_change(connection: &Connection, found: &Found) -> Result<(), StorageError> {
    connection
        .prepare_cached("UPDATE auth_accounts SET version = version + 1 WHERE id = ?1")
        .and_then(|mut statement| statement.execute([found.id]))
        .map(drop)
        .map_err(sql)
}
