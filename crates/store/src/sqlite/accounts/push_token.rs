//! Where pushes reach devices.

use async_trait::async_trait;
use auth::{device::PushService, store::PushTokenChange};
use protocol::{
    Aci, DeviceAddress,
    ambient::{StorageError, Timestamp},
};
use push::{PushTarget, PushTargets};
use rusqlite::{Connection, ToSql, params};
use vault::Vault;

use super::{
    SqliteAccounts,
    changes::DeviceRow,
    rows::{Columns, account_row, integer, open_push_token, seal_push_token},
};
use crate::sqlite::sql;

#[async_trait]
impl PushTargets for SqliteAccounts {
    async fn target(&self, device: DeviceAddress) -> Result<Option<PushTarget>, StorageError> {
        let vault = self.vault.clone();
        self.database
            .read(move |connection| {
                if is_logged_out(connection, device)? { Ok(None) } else { read(connection, &vault, device) }
            })
            .await
    }

    async fn set(&self, device: DeviceAddress, target: PushTarget) -> Result<bool, StorageError> {
        let vault = self.vault.clone();
        self.database
            .write(move |connection| {
                let Some(row) = account_row(connection, device.aci)? else { return Ok(false) };
                let at = DeviceRow { connection, row, device: device.device_id };
                set(&at, &vault, device.aci, Some(&target))
            })
            .await
    }

    async fn remove(&self, device: DeviceAddress, target: PushTarget) -> Result<bool, StorageError> {
        let vault = self.vault.clone();
        self.database
            .write(move |connection| {
                // A sealed token differs each time it is written, so it is opened to be compared.
                forget_if(connection, &vault, device, |found| *found == target)
            })
            .await
    }

    async fn clear(&self, device: DeviceAddress, only: Option<PushService>) -> Result<bool, StorageError> {
        let vault = self.vault.clone();
        self.database
            .write(move |connection| {
                forget_if(connection, &vault, device, |found| {
                    only.is_none_or(|service| service == found.token.service())
                })
            })
            .await
    }
}

/// Forgets a device's token if it is one of those. Answers whether it was.
fn forget_if(
    connection: &Connection,
    vault: &Vault,
    device: DeviceAddress,
    is_meant: impl FnOnce(&PushTarget) -> bool,
) -> Result<bool, StorageError> {
    if !read(connection, vault, device)?.as_ref().is_some_and(is_meant) {
        return Ok(false);
    }
    let Some(row) = account_row(connection, device.aci)? else { return Ok(false) };
    set(&DeviceRow { connection, row, device: device.device_id }, vault, device.aci, None)
}

/// Makes a change of a device's settings.
pub(super) fn change(
    at: &DeviceRow<'_>,
    vault: &Vault,
    aci: Aci,
    change: &PushTokenChange,
) -> Result<(), StorageError> {
    match change {
        PushTokenChange::Keep => Ok(()),
        PushTokenChange::Set(token, registered) => {
            let target = PushTarget { token: token.clone(), registered: *registered };
            set(at, vault, aci, Some(&target)).map(drop)
        }
        PushTokenChange::ForgetPlatform => {
            let device = DeviceAddress { aci, device_id: at.device };
            let is_platform = |found: &PushTarget| match found.token.service() {
                PushService::Apns | PushService::Fcm => true,
                PushService::WebPush => false,
            };
            forget_if(at.connection, vault, device, is_platform).map(drop)
        }
    }
}

fn set(
    at: &DeviceRow<'_>,
    vault: &Vault,
    aci: Aci,
    target: Option<&PushTarget>,
) -> Result<bool, StorageError> {
    let sealed = seal_push_token(vault, aci, at.device, target.map(|target| &target.token));
    let registered = target.map(|target| integer(target.registered.as_millis()));
    let values: [&dyn ToSql; 4] = [&at.row, &at.device.get(), &sealed, &registered];
    let changed = at
        .connection
        .prepare_cached(
            "UPDATE auth_devices SET push_token = ?3, push_token_set = ?4 WHERE account = ?1 AND device = ?2",
        )
        .and_then(|mut update| update.execute(values))
        .map_err(sql)?;
    Ok(changed > 0)
}

/// Whether it is a native device without a session: it could not read what it would be woken for, and whoever has it now
/// need not know that something came.
fn is_logged_out(connection: &Connection, device: DeviceAddress) -> Result<bool, StorageError> {
    connection
        .prepare_cached(
            "SELECT 1 FROM auth_accounts JOIN auth_native_devices AS devices ON devices.account = auth_accounts.id
             WHERE aci = ?1 AND devices.device = ?2 AND NOT EXISTS (
                 SELECT 1 FROM auth_native_sessions AS sessions
                 WHERE sessions.account = devices.account AND sessions.device = devices.device)",
        )
        .and_then(|mut select| select.exists(params![device.aci.0.as_bytes(), device.device_id.get()]))
        .map_err(sql)
}

fn read(
    connection: &Connection,
    vault: &Vault,
    device: DeviceAddress,
) -> Result<Option<PushTarget>, StorageError> {
    let mut select = connection
        .prepare_cached(
            "SELECT account, push_token, coalesce(push_token_set, created) AS registered
             FROM auth_accounts JOIN auth_devices ON account = id WHERE aci = ?1 AND device = ?2",
        )
        .map_err(sql)?;
    let mut rows = select.query(params![device.aci.0.as_bytes(), device.device_id.get()]).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else { return Ok(None) };
    let account: i64 = row.get("account").map_err(sql)?;
    let at = Columns { row, table: "auth_devices", name: account.to_string() };
    let open = |sealed: Vec<u8>| open_push_token(vault, device.aci, device.device_id, &sealed);
    let Some(token) = at.maybe("push_token", open)? else { return Ok(None) };
    let time = |millis: i64| millis.try_into().ok().map(Timestamp::from_millis);
    Ok(Some(PushTarget { token, registered: at.read("registered", time)? }))
}
