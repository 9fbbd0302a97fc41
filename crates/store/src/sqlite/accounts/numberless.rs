//! Accounts without a number coming to be and passing to a new device: each of these is one transaction.

use ::keys::{KeySlot, KeyUpload};
use async_trait::async_trait;
use auth::{
    Account,
    account::AccountVersion,
    registration::{
        ReceiptSerial,
        store::{NewNumberless, NumberlessStore},
    },
    revocation::QueueClear,
    secrets::SaltedHash,
    store::RegisterOutcome,
};
use protocol::{Aci, ServiceId, ambient::StorageError};
use rusqlite::{Connection, params};
use vault::Vault;

use super::{
    super::{keys, sql},
    SqliteAccounts, identities, queue_clears,
    registration::remove_devices,
    rows::{self, Columns},
};

#[async_trait]
impl NumberlessStore for SqliteAccounts {
    async fn recovery_password(&self, aci: Aci) -> Result<Option<SaltedHash>, StorageError> {
        self.database.read(move |connection| recovery_password(connection, aci)).await
    }

    async fn create_numberless(
        &self,
        receipt: ReceiptSerial,
        new: NewNumberless,
    ) -> Result<Option<Account>, StorageError> {
        self.write_and_forget(move |connection, vault| {
            let account = create(connection, vault, receipt, &new)?;
            let changed = account.as_ref().map(identities).unwrap_or_default();
            Ok((account, changed))
        })
        .await
    }

    async fn replace_numberless(
        &self,
        at: AccountVersion,
        new: NewNumberless,
    ) -> Result<RegisterOutcome, StorageError> {
        self.write_and_forget(move |connection, vault| {
            let outcome = replace(connection, vault, at, &new)?;
            Ok((outcome, vec![ServiceId::Aci(new.aci)]))
        })
        .await
    }
}

fn recovery_password(connection: &Connection, Aci(aci): Aci) -> Result<Option<SaltedHash>, StorageError> {
    let mut select = connection
        .prepare_cached("SELECT recovery_password FROM auth_accounts WHERE aci = ?1")
        .map_err(sql)?;
    let mut rows = select.query([aci.as_bytes()]).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else { return Ok(None) };
    let at = Columns { row, table: "auth_accounts", name: "of an account".to_owned() };
    at.maybe("recovery_password", |bytes: Vec<u8>| SaltedHash::from_bytes(&bytes))
}

fn create(
    connection: &Connection,
    vault: &Vault,
    receipt: ReceiptSerial,
    new: &NewNumberless,
) -> Result<Option<Account>, StorageError> {
    let index: [u8; 32] = vault.index("auth.receipt", receipt.as_bytes());
    let fresh = connection
        .prepare_cached("INSERT INTO auth_receipts (serial_index) VALUES (?1) ON CONFLICT DO NOTHING")
        .and_then(|mut insert| insert.execute(params![index]))
        .map_err(sql)?;
    if fresh == 0 {
        return Ok(None);
    }
    let account = account(new, AccountVersion(new.at.as_millis()));
    write(connection, vault, &account, new)?;
    Ok(Some(account))
}

fn replace(
    connection: &Connection,
    vault: &Vault,
    at: AccountVersion,
    new: &NewNumberless,
) -> Result<RegisterOutcome, StorageError> {
    let found = rows::account(connection, vault, ServiceId::Aci(new.aci))?.map(|found| found.account);
    let Some(replaced) = found.filter(|account| account.version == at && account.number.is_none()) else {
        return Ok(RegisterOutcome::Outdated);
    };
    remove_devices(connection, &replaced)?;
    queue_clears::record(connection, QueueClear { aci: new.aci, device: None, cutoff: new.at })?;
    let version = AccountVersion(replaced.version.0 + 1).max(AccountVersion(new.at.as_millis()));
    let account = account(new, version);
    write(connection, vault, &account, new)?;
    Ok(RegisterOutcome::Registered { account: Box::new(account), replaced: Some(Box::new(replaced)) })
}

fn account(new: &NewNumberless, version: AccountVersion) -> Account {
    Account {
        aci: new.aci,
        identity_key: Some(new.keys.identity_key),
        number: None,
        unidentified_access: new.unidentified_access.clone(),
        discoverable: false,
        registration_lock: None,
        devices: vec![new.device.clone()],
        version,
    }
}

fn write(
    connection: &Connection,
    vault: &Vault,
    account: &Account,
    new: &NewNumberless,
) -> Result<(), StorageError> {
    let row = rows::write_account(connection, vault, account, Some(&new.recovery_password))?;
    rows::insert_device(connection, vault, row, account.aci, &new.device)?;
    let upload = KeyUpload {
        signed: Some(new.keys.signed_pre_key.clone()),
        last_resort: Some(new.keys.last_resort_pre_key.clone()),
        ..KeyUpload::default()
    };
    keys::put(connection, KeySlot { identity: account.aci.0, device: new.device.id }, &upload)
}
