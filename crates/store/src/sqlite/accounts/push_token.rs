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
        self.database.read(move |connection| read(connection, &vault, device)).await
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
                if read(connection, &vault, device)?.as_ref() != Some(&target) {
                    return Ok(false);
                }
                let Some(row) = account_row(connection, device.aci)? else { return Ok(false) };
                let at = DeviceRow { connection, row, device: device.device_id };
                set(&at, &vault, device.aci, None)
            })
            .await
    }
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
            let found = read(at.connection, vault, DeviceAddress { aci, device_id: at.device })?;
            match found.map(|target| target.token.service()) {
                Some(PushService::Apns | PushService::Fcm) => set(at, vault, aci, None).map(drop),
                Some(PushService::WebPush) | None => Ok(()),
            }
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
