//! Publishing an account's identity key.

use auth::native::store::{Publication, PublishOutcome};
use protocol::{ServiceId, ambient::StorageError};
use rusqlite::{Connection, params};
use vault::Vault;

use super::{
    super::{
        super::{keys, sql},
        linking,
        rows::{self, Found},
    },
    opening,
};

/// Publishes identity key and keys of the device, unless the account has another identity key that is to stay.
pub(super) fn publish(
    connection: &Connection,
    vault: &Vault,
    publication: &Publication,
) -> Result<PublishOutcome, StorageError> {
    let device = publication.device;
    let Some(found) = rows::account(connection, vault, ServiceId::Aci(device.aci))? else {
        return Ok(PublishOutcome::NoSuchDevice);
    };
    if found.account.device(device.device_id).is_none() {
        return Ok(PublishOutcome::NoSuchDevice);
    }
    let new = &publication.keys.identity_key;
    match &found.account.identity_key {
        Some(present) if present == new => {}
        Some(_) if !publication.replace => return Ok(PublishOutcome::OtherIdentity),
        Some(_) => forget_keys(connection, &found)?,
        None => {}
    }
    set_identity(connection, &found, publication)?;
    opening::put_keys(connection, device.aci, device.device_id, &publication.keys)?;
    linking::count_change(connection, &found)?;
    Ok(PublishOutcome::Published)
}

/// What was signed by the former identity key is worth nothing under the next one.
fn forget_keys(connection: &Connection, found: &Found) -> Result<(), StorageError> {
    keys::remove(connection, found.account.aci.0, None)?;
    connection
        .prepare_cached("UPDATE auth_native_devices SET keyless = TRUE WHERE account = ?1")
        .and_then(|mut statement| statement.execute([found.id]))
        .map(drop)
        .map_err(sql)
}

fn set_identity(
    connection: &Connection,
    found: &Found,
    Publication { device, keys, registration_id, .. }: &Publication,
) -> Result<(), StorageError> {
    let device = device.device_id.get();
    connection
        .prepare_cached("UPDATE auth_accounts SET identity_key = ?2 WHERE id = ?1")
        .and_then(|mut statement| statement.execute(params![found.id, keys.identity_key.as_bytes()]))
        .map_err(sql)?;
    connection
        .prepare_cached("UPDATE auth_native_devices SET keyless = FALSE WHERE account = ?1 AND device = ?2")
        .and_then(|mut statement| statement.execute(params![found.id, device]))
        .map_err(sql)?;
    if let Some(registration_id) = registration_id {
        connection
            .prepare_cached("UPDATE auth_devices SET registration_id = ?3 WHERE account = ?1 AND device = ?2")
            .and_then(|mut statement| statement.execute(params![found.id, device, registration_id.get()]))
            .map_err(sql)?;
    }
    Ok(())
}
