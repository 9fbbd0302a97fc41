//! An account gets another number: one transaction over accounts, numbers, keys, and what devices are to be told.

use ::keys::{KeySlot, KeyUpload};
use async_trait::async_trait;
use auth::{
    Account,
    account::{AccountVersion, NumberIdentity},
    change_number::store::{NewNotice, NumberChange, NumberChanged, NumberNotice, NumberStore},
};
use protocol::{
    Aci, DeviceAddress, DeviceId, Pni, RegistrationId, ServiceId,
    ambient::{StorageError, Timestamp},
};
use rusqlite::{Connection, Row, params};
use uuid::Uuid;
use vault::{Place, Vault};
use zeroize::Zeroizing;

use super::{
    super::{keys, sql},
    SqliteAccounts, identities,
    registration::{self, number_index},
    rows::{self, Columns, Found, integer},
};

const NOTICE: &str = "auth_number_notices.data";

#[async_trait]
impl NumberStore for SqliteAccounts {
    async fn change_number(&self, change: NumberChange) -> Result<NumberChanged, StorageError> {
        self.write_and_forget(move |connection, vault| change_number(connection, vault, &change)).await
    }

    async fn undelivered(&self, before: Timestamp, limit: usize) -> Result<Vec<NumberNotice>, StorageError> {
        let vault = self.vault.clone();
        self.database.read(move |connection| undelivered(connection, &vault, before, limit)).await
    }

    async fn delivered(&self, id: i64) -> Result<(), StorageError> {
        self.database
            .write(move |connection| {
                connection
                    .prepare_cached("DELETE FROM auth_number_notices WHERE id = ?1")
                    .and_then(|mut delete| delete.execute([id]))
                    .map(drop)
                    .map_err(sql)
            })
            .await
    }
}

fn change_number(
    connection: &Connection,
    vault: &Vault,
    change: &NumberChange,
) -> Result<(NumberChanged, Vec<ServiceId>), StorageError> {
    let outdated = Ok((NumberChanged::Outdated, Vec::new()));
    let Some(found) = rows::account(connection, vault, ServiceId::Aci(change.aci))? else { return outdated };
    let Some(former) = &found.account.number else { return outdated };
    if found.account.version != change.version {
        return outdated;
    }
    let index = number_index(vault, &change.number);
    let (known_pni, holder) = registration::pni_and_holder(connection, vault, &index)?;
    let displaced = holder.filter(|holder| holder.aci != change.aci);
    if change.displaces != displaced.as_ref().map(|account| (account.aci, account.version)) {
        return outdated;
    }
    let mut changed = identities(&found.account);
    if let Some(displaced) = &displaced {
        registration::delete(connection, vault, displaced.aci, change.at)?;
        changed.extend(identities(displaced));
    }
    let account = changed_account(&found.account, change, known_pni.unwrap_or(change.new_pni));
    changed.extend(identities(&account));
    if former.number != change.number {
        give_up_number(connection, &number_index(vault, &former.number))?;
        take_number(connection, &index, &account)?;
    }
    write_identity(connection, vault, found.id, &account)?;
    for identity in [former.pni.0].into_iter().chain(account.pni().map(|pni| pni.0)) {
        keys::remove(connection, identity, None)?;
    }
    for (device, _, new) in &change.devices {
        let upload = KeyUpload {
            signed: Some(new.signed_pre_key.clone()),
            last_resort: Some(new.last_resort_pre_key.clone()),
            ..KeyUpload::default()
        };
        let Some(Pni(identity)) = account.pni() else { continue };
        keys::put(connection, KeySlot { identity, device: *device }, &upload)?;
    }
    let notices = record_notices(connection, vault, &found, &account, change)?;
    Ok((NumberChanged::Changed { account: Box::new(account), notices }, changed))
}

fn changed_account(former: &Account, change: &NumberChange, pni: Pni) -> Account {
    let mut account = former.clone();
    account.number =
        Some(NumberIdentity { number: change.number.clone(), pni, identity_key: change.identity_key });
    for device in &mut account.devices {
        let new = change.devices.iter().find(|(id, ..)| *id == device.id);
        device.pni_registration_id = new.map(|(_, registration_id, _)| *registration_id);
    }
    account.version = AccountVersion(former.version.0 + 1);
    account
}

/// The number is nobody's now: who gets it next is not taken for who had it.
fn give_up_number(connection: &Connection, index: &[u8; 32]) -> Result<(), StorageError> {
    connection
        .prepare_cached(
            "UPDATE auth_numbers SET aci = NULL, deleted_at = NULL, recovery_password = NULL
             WHERE number_index = ?1",
        )
        .and_then(|mut update| update.execute([index]))
        .map(drop)
        .map_err(sql)
}

/// The number is the account's, and so is its recovery password.
fn take_number(connection: &Connection, index: &[u8; 32], account: &Account) -> Result<(), StorageError> {
    let Some(Pni(pni)) = account.pni() else { return Ok(()) };
    connection
        .prepare_cached(
            "INSERT INTO auth_numbers (number_index, pni, aci, deleted_at, recovery_password)
             SELECT ?1, ?2, aci, NULL, recovery_password FROM auth_accounts WHERE aci = ?3
             ON CONFLICT (number_index) DO UPDATE SET
                 aci = excluded.aci, deleted_at = NULL, recovery_password = excluded.recovery_password",
        )
        .and_then(|mut upsert| upsert.execute(params![index, pni.as_bytes(), account.aci.0.as_bytes()]))
        .map(drop)
        .map_err(sql)
}

fn write_identity(
    connection: &Connection,
    vault: &Vault,
    row: i64,
    account: &Account,
) -> Result<(), StorageError> {
    let Some(number) = &account.number else { return Ok(()) };
    let sealed = rows::seal_number(vault, account.aci, &number.number);
    connection
        .prepare_cached(
            "UPDATE auth_accounts SET number = ?2, pni = ?3, pni_identity_key = ?4, version = ?5 WHERE id = ?1",
        )
        .and_then(|mut update| {
            let (pni, key) = (number.pni.0.as_bytes(), number.identity_key.as_bytes());
            update.execute(params![row, sealed, pni, key, integer(account.version.0)])
        })
        .map_err(sql)?;
    for device in &account.devices {
        connection
            .prepare_cached(
                "UPDATE auth_devices SET pni_registration_id = ?3 WHERE account = ?1 AND device = ?2",
            )
            .and_then(|mut update| {
                let registration_id = device.pni_registration_id.map(RegistrationId::get);
                update.execute(params![row, device.id.get(), registration_id])
            })
            .map_err(sql)?;
    }
    Ok(())
}

fn record_notices(
    connection: &Connection,
    vault: &Vault,
    found: &Found,
    account: &Account,
    change: &NumberChange,
) -> Result<Vec<NumberNotice>, StorageError> {
    let Some(pni) = account.pni() else { return Ok(Vec::new()) };
    let mut insert = connection
        .prepare_cached(
            "INSERT INTO auth_number_notices (account, device, pni, recorded, data) VALUES (?1, ?2, ?3, ?4, ?5)
             RETURNING id",
        )
        .map_err(sql)?;
    let mut notices = Vec::new();
    for NewNotice { device_id, content } in &change.notices {
        let device = DeviceAddress { aci: account.aci, device_id: *device_id };
        let plain = Zeroizing::new(serde_json::to_vec(content).map_err(StorageError::unavailable)?);
        let sealed = vault.seal(Place { column: NOTICE, row: &row_of(device) }, &plain);
        let recorded = integer(change.at.as_millis());
        let row = params![found.id, device_id.get(), pni.0.as_bytes(), recorded, sealed];
        let id = insert.query_row(row, |row| row.get(0)).map_err(sql)?;
        notices.push(NumberNotice { id, device, pni, content: content.clone() });
    }
    Ok(notices)
}

fn undelivered(
    connection: &Connection,
    vault: &Vault,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<NumberNotice>, StorageError> {
    let mut select = connection
        .prepare_cached(
            "SELECT auth_number_notices.id AS id, auth_accounts.aci AS aci, device, auth_number_notices.pni AS pni,
                 data
             FROM auth_number_notices JOIN auth_accounts ON auth_accounts.id = account
             WHERE recorded < ?1 ORDER BY auth_number_notices.id LIMIT ?2",
        )
        .map_err(sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = select.query(params![integer(before.as_millis()), limit]).map_err(sql)?;
    let mut notices = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        notices.push(read_notice(row, vault)?);
    }
    Ok(notices)
}

fn read_notice(row: &Row<'_>, vault: &Vault) -> Result<NumberNotice, StorageError> {
    let id: i64 = row.get("id").map_err(sql)?;
    let at = Columns { row, table: "auth_number_notices", name: id.to_string() };
    let uuid = |bytes: Vec<u8>| Uuid::from_slice(&bytes).ok();
    let device = DeviceAddress {
        aci: Aci(at.read("aci", uuid)?),
        device_id: at.read("device", |id: u32| DeviceId::try_from(id).ok())?,
    };
    let content = at.read("data", |sealed: Vec<u8>| {
        let plain = vault.open(Place { column: NOTICE, row: &row_of(device) }, &sealed).ok()?;
        serde_json::from_slice(&plain).ok()
    })?;
    Ok(NumberNotice { id, device, pni: Pni(at.read("pni", uuid)?), content })
}

/// What binds a sealed message to the device it is for.
fn row_of(DeviceAddress { aci, device_id }: DeviceAddress) -> [u8; 17] {
    let mut row = [device_id.get(); 17];
    row[..16].copy_from_slice(aci.0.as_bytes());
    row
}
