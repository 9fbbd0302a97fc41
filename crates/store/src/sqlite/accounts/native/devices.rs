//! What the owner of an account sees of its devices.

use std::collections::HashMap;

use async_trait::async_trait;
use auth::native::{
    DeviceLabel,
    devices::{NativeDevice, NativeDeviceStore},
};
use protocol::{Aci, DeviceAddress, DeviceId, PushToken, ServiceId, ambient::StorageError};
use rusqlite::{Connection, params};
use vault::Vault;

use super::{
    super::{
        super::sql,
        SqliteAccounts,
        rows::{self, Columns},
    },
    opening,
};

#[async_trait]
impl NativeDeviceStore for SqliteAccounts {
    async fn devices(&self, aci: Aci) -> Result<Vec<NativeDevice>, StorageError> {
        let vault = self.vault.clone();
        self.database.read(move |connection| devices(connection, &vault, aci)).await
    }

    async fn rename(&self, device: DeviceAddress, label: Option<DeviceLabel>) -> Result<bool, StorageError> {
        let vault = self.vault.clone();
        self.database.write(move |connection| rename(connection, &vault, device, label.as_ref())).await
    }
}

fn devices(connection: &Connection, vault: &Vault, aci: Aci) -> Result<Vec<NativeDevice>, StorageError> {
    let Some(found) = rows::account(connection, vault, ServiceId::Aci(aci))? else { return Ok(Vec::new()) };
    let mut labels = labels(connection, vault, found.id, aci)?;
    let devices = found.account.devices.iter().map(|device| NativeDevice {
        id: device.id,
        label: labels.remove(&device.id),
        registration_id: device.registration_id,
        created: device.created,
        last_seen: device.last_seen,
        push: device.push_token.as_ref().map(PushToken::service),
    });
    Ok(devices.collect())
}

fn labels(
    connection: &Connection,
    vault: &Vault,
    account: i64,
    aci: Aci,
) -> Result<HashMap<DeviceId, DeviceLabel>, StorageError> {
    let mut statement = connection
        .prepare_cached("SELECT device, label FROM auth_native_devices WHERE account = ?1")
        .map_err(sql)?;
    let mut rows = statement.query([account]).map_err(sql)?;
    let mut labels = HashMap::new();
    while let Some(row) = rows.next().map_err(sql)? {
        let at = Columns { row, table: "auth_native_devices", name: account.to_string() };
        let id = at.read("device", |id: u32| DeviceId::try_from(id).ok())?;
        let label = at.maybe("label", |sealed: Vec<u8>| opening::open_label(vault, aci, id, &sealed))?;
        labels.extend(label.map(|label| (id, label)));
    }
    Ok(labels)
}

fn rename(
    connection: &Connection,
    vault: &Vault,
    device: DeviceAddress,
    label: Option<&DeviceLabel>,
) -> Result<bool, StorageError> {
    let DeviceAddress { aci, device_id } = device;
    let sealed = label.map(|label| opening::seal_label(vault, aci, device_id, label));
    connection
        .prepare_cached(
            "UPDATE auth_native_devices SET label = ?3
             WHERE account = (SELECT id FROM auth_accounts WHERE aci = ?1) AND device = ?2",
        )
        .and_then(|mut statement| statement.execute(params![aci.0.as_bytes(), device_id.get(), sealed]))
        .map(|changed| changed > 0)
        .map_err(sql)
}
