//! Changing an account and one of its devices.

use auth::{
    device::{Agent, DeviceName},
    secrets::SaltedHash,
    store::{AccountChange, Change, ChangeOutcome, DeviceChange},
};
use protocol::{Aci, DeviceAddress, DeviceId, ambient::StorageError};
use rusqlite::{Connection, ToSql, params};
use vault::Vault;

use super::{
    super::sql,
    push_token,
    rows::{account_row, seal_access_key},
};

/// Makes both changes, or none if there is no such device.
pub(super) fn change(
    connection: &Connection,
    vault: &Vault,
    device: DeviceAddress,
    account_change: AccountChange,
    device_change: DeviceChange,
) -> Result<ChangeOutcome, StorageError> {
    let Some(row) = account_row(connection, device.aci)? else { return Ok(ChangeOutcome::NoSuchDevice) };
    let exists = connection
        .prepare_cached("SELECT 1 FROM auth_devices WHERE account = ?1 AND device = ?2")
        .and_then(|mut statement| statement.exists(params![row, device.device_id.get()]))
        .map_err(sql)?;
    if !exists {
        return Ok(ChangeOutcome::NoSuchDevice);
    }
    change_account(&AccountRow { connection, row }, vault, device.aci, account_change)?;
    let at = DeviceRow { connection, row, device: device.device_id };
    change_device(&at, vault, device.aci, device_change)?;
    Ok(ChangeOutcome::Done)
}

fn change_account(
    at: &AccountRow<'_>,
    vault: &Vault,
    aci: Aci,
    change: AccountChange,
) -> Result<(), StorageError> {
    if let Change::Set(lock) = change.registration_lock {
        at.set(
            "UPDATE auth_accounts SET registration_lock = ?2 WHERE id = ?1",
            lock.map(|hash| hash.to_bytes()),
        )?;
        // A registration that was checked against the former lock must be checked again.
        at.set("UPDATE auth_accounts SET version = version + ?2 WHERE id = ?1", 1)?;
    }
    if let Change::Set(access) = change.unidentified_access {
        let key = seal_access_key(vault, aci, access.key.as_ref());
        at.set("UPDATE auth_accounts SET access_key = ?2 WHERE id = ?1", key)?;
        at.set("UPDATE auth_accounts SET unrestricted_access = ?2 WHERE id = ?1", access.unrestricted)?;
    }
    if let Change::Set(discoverable) = change.discoverable {
        at.set("UPDATE auth_accounts SET discoverable = ?2 WHERE id = ?1", discoverable)?;
    }
    if let Change::Set(password) = change.recovery_password {
        at.set(
            "UPDATE auth_accounts SET recovery_password = ?2 WHERE id = ?1",
            SaltedHash::to_bytes(&password),
        )?;
        at.connection
            .prepare_cached(
                "UPDATE auth_numbers SET recovery_password = ?2 WHERE aci = ?1 AND deleted_at IS NULL",
            )
            .and_then(|mut statement| statement.execute(params![aci.0.as_bytes(), password.to_bytes()]))
            .map_err(sql)?;
    }
    Ok(())
}

fn change_device(
    at: &DeviceRow<'_>,
    vault: &Vault,
    aci: Aci,
    change: DeviceChange,
) -> Result<(), StorageError> {
    if let Change::Set(name) = change.name {
        let name = name.as_ref().map(DeviceName::as_bytes);
        at.set("UPDATE auth_devices SET name = ?3 WHERE account = ?1 AND device = ?2", name)?;
    }
    if let Change::Set(fetches) = change.fetches_messages {
        at.set("UPDATE auth_devices SET fetches_messages = ?3 WHERE account = ?1 AND device = ?2", fetches)?;
    }
    push_token::change(at, vault, aci, &change.push_token)?;
    if let Change::Set(capabilities) = change.capabilities {
        let bits = capabilities.to_bits();
        at.set("UPDATE auth_devices SET capabilities = ?3 WHERE account = ?1 AND device = ?2", bits)?;
    }
    if let Change::Set(agent) = change.agent {
        let agent = agent.as_ref().map(Agent::as_str);
        at.set("UPDATE auth_devices SET agent = ?3 WHERE account = ?1 AND device = ?2", agent)?;
    }
    Ok(())
}

struct AccountRow<'a> {
    connection: &'a Connection,
    row: i64,
}

impl AccountRow<'_> {
    /// Runs an update of one column; `?1` is the row, `?2` the value.
    fn set(&self, update: &str, value: impl ToSql) -> Result<(), StorageError> {
        self.connection
            .prepare_cached(update)
            .and_then(|mut statement| statement.execute(params![self.row, value]))
            .map(drop)
            .map_err(sql)
    }
}

pub(super) struct DeviceRow<'a> {
    pub(super) connection: &'a Connection,
    pub(super) row: i64,
    pub(super) device: DeviceId,
}

impl DeviceRow<'_> {
    /// Runs an update of one column; `?1` and `?2` are the row, `?3` the value.
    fn set(&self, update: &str, value: impl ToSql) -> Result<(), StorageError> {
        self.connection
            .prepare_cached(update)
            .and_then(|mut statement| statement.execute(params![self.row, self.device.get(), value]))
            .map(drop)
            .map_err(sql)
    }
}
