//! Accounts, devices and phone numbers in `SQLite`.

mod change_number;
mod changes;
mod factors;
mod idle;
mod linking;
mod native;
mod numberless;
mod owner;
mod push_token;
mod queue_clears;
mod registration;
mod roster;
mod rows;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use auth::{
    Account,
    account::AccountVersion,
    device::Credential,
    revocation::QueueClear,
    secrets::SaltedHash,
    store::{
        AccountChange, AccountStore, ChangeOutcome, DeviceChange, NewRegistration, NumberRecord,
        RegisterOutcome, SignIn,
    },
};
use protocol::{
    Aci, DeviceAddress, PhoneNumber, Pni, ServiceId,
    ambient::{StorageError, Timestamp},
};
use rusqlite::{Connection, params};
use uuid::Uuid;
use vault::Vault;

use super::{Database, sql};
use roster::Rosters;
use rows::{Columns, integer};

/// Accounts kept in one [`Database`]. Cheap to clone; clones share what they keep in memory.
///
/// Only one of these (and its clones) may write to a file, since it answers from memory what others could
/// have changed.
#[derive(Clone)]
pub struct SqliteAccounts {
    database: Arc<Database>,
    vault: Vault,
    rosters: Arc<Rosters>,
}

impl SqliteAccounts {
    /// The accounts in that file, sealed with those keys.
    pub fn new(database: Arc<Database>, vault: Vault) -> Self {
        Self { database, vault, rosters: Arc::new(Rosters::new()) }
    }

    async fn read_account(&self, id: ServiceId) -> Result<Option<Account>, StorageError> {
        let vault = self.vault.clone();
        let found = self.database.read(move |connection| rows::account(connection, &vault, id)).await?;
        Ok(found.map(|found| found.account))
    }

    /// Writes, and forgets the rosters that the outcome names before anybody hears of it.
    ///
    /// On a task of its own: a caller that goes away must not leave a committed write with a roster from
    /// before it.
    async fn write_and_forget<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Connection, &Vault) -> Result<(T, Vec<ServiceId>), StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (database, vault, rosters) =
            (Arc::clone(&self.database), self.vault.clone(), Arc::clone(&self.rosters));
        let task = tokio::spawn(async move {
            match database.write(move |connection| write(connection, &vault)).await {
                Ok((outcome, changed)) => {
                    rosters.forget(changed);
                    Ok(outcome)
                }
                Err(error) => {
                    // Whether it was committed is not known for certain.
                    rosters.forget_all();
                    Err(error)
                }
            }
        });
        task.await.map_err(StorageError::unavailable)?
    }
}

#[async_trait]
impl AccountStore for SqliteAccounts {
    async fn sign_in(&self, device: DeviceAddress) -> Result<Option<SignIn>, StorageError> {
        self.database.read(move |connection| sign_in(connection, device)).await
    }

    async fn account(&self, id: ServiceId) -> Result<Option<Account>, StorageError> {
        self.read_account(id).await
    }

    async fn exists(&self, id: ServiceId) -> Result<bool, StorageError> {
        self.database
            .read(move |connection| {
                let query = match id {
                    ServiceId::Aci(_) => "SELECT 1 FROM auth_accounts WHERE aci = ?1",
                    ServiceId::Pni(_) => "SELECT 1 FROM auth_accounts WHERE pni = ?1",
                };
                let mut statement = connection.prepare_cached(query).map_err(sql)?;
                statement.exists([id.uuid().as_bytes()]).map_err(sql)
            })
            .await
    }

    async fn number(&self, number: &PhoneNumber) -> Result<NumberRecord, StorageError> {
        let vault = self.vault.clone();
        let index = registration::number_index(&vault, number);
        self.database.read(move |connection| registration::number(connection, &vault, &index)).await
    }

    async fn register(&self, new: NewRegistration) -> Result<RegisterOutcome, StorageError> {
        self.write_and_forget(move |connection, vault| {
            let outcome = registration::register(connection, vault, &new)?;
            let changed = match &outcome {
                RegisterOutcome::Registered { account, .. } => identities(account),
                RegisterOutcome::Outdated | RegisterOutcome::NotAdmitted => Vec::new(),
            };
            Ok((outcome, changed))
        })
        .await
    }

    async fn lock(&self, aci: Aci, at: AccountVersion, keep_recovery: bool) -> Result<(), StorageError> {
        self.database.write(move |connection| lock(connection, aci, at, keep_recovery)).await
    }

    async fn remove_recovery_password(&self, number: &PhoneNumber) -> Result<(), StorageError> {
        let index = registration::number_index(&self.vault, number);
        self.database
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE auth_numbers SET recovery_password = NULL WHERE number_index = ?1",
                    )
                    .and_then(|mut statement| statement.execute([index]))
                    .map(drop)
                    .map_err(sql)
            })
            .await
    }

    async fn change(
        &self,
        device: DeviceAddress,
        account_change: AccountChange,
        device_change: DeviceChange,
    ) -> Result<ChangeOutcome, StorageError> {
        let vault = self.vault.clone();
        self.database
            .write(move |connection| {
                changes::change(connection, &vault, device, account_change, device_change)
            })
            .await
    }

    async fn seen(&self, device: DeviceAddress, day: Timestamp) -> Result<(), StorageError> {
        self.database.write(move |connection| idle::seen(connection, device, day)).await
    }

    async fn delete(&self, aci: Aci, at: Timestamp) -> Result<bool, StorageError> {
        self.write_and_forget(move |connection, vault| {
            let deleted = registration::delete(connection, vault, aci, at)?;
            Ok((deleted.is_some(), deleted.as_ref().map(identities).unwrap_or_default()))
        })
        .await
    }

    async fn remove_device(&self, device: DeviceAddress, at: Timestamp) -> Result<bool, StorageError> {
        self.write_and_forget(move |connection, vault| {
            let former = linking::remove_device(connection, vault, device, at)?.map(|found| found.account);
            Ok((former.is_some(), former.as_ref().map(identities).unwrap_or_default()))
        })
        .await
    }

    async fn queue_clears(&self, limit: usize) -> Result<Vec<QueueClear>, StorageError> {
        self.database.read(move |connection| queue_clears::pending(connection, limit)).await
    }

    async fn queue_cleared(&self, clear: QueueClear) -> Result<(), StorageError> {
        self.database.write(move |connection| queue_clears::forget(connection, clear)).await
    }
}

fn sign_in(connection: &Connection, device: DeviceAddress) -> Result<Option<SignIn>, StorageError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT account, credential, locked, last_seen, pni
             FROM auth_accounts JOIN auth_devices ON account = id WHERE aci = ?1 AND device = ?2",
        )
        .map_err(sql)?;
    let mut rows = statement.query(params![device.aci.0.as_bytes(), device.device_id.get()]).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else { return Ok(None) };
    let account: i64 = row.get("account").map_err(sql)?;
    let at = Columns { row, table: "auth_devices", name: account.to_string() };
    Ok(Some(SignIn {
        credential: Credential {
            hash: at.read("credential", |bytes: Vec<u8>| SaltedHash::from_bytes(&bytes))?,
            locked: at.read("locked", Some)?,
        },
        pni: at.maybe("pni", |bytes: Vec<u8>| Uuid::from_slice(&bytes).ok())?.map(Pni),
        last_seen: at.read("last_seen", |at: i64| at.try_into().ok().map(Timestamp::from_millis))?,
    }))
}

fn lock(
    connection: &Connection,
    aci: Aci,
    at: AccountVersion,
    keep_recovery: bool,
) -> Result<(), StorageError> {
    let bumped = connection
        .prepare_cached("UPDATE auth_accounts SET version = version + 1 WHERE aci = ?1 AND version = ?2")
        .and_then(|mut statement| statement.execute(params![aci.0.as_bytes(), integer(at.0)]))
        .map_err(sql)?;
    if bumped == 0 {
        return Ok(());
    }
    connection
        .prepare_cached(
            "UPDATE auth_devices SET locked = TRUE WHERE account = (SELECT id FROM auth_accounts WHERE aci = ?1)",
        )
        .and_then(|mut statement| statement.execute([aci.0.as_bytes()]))
        .map_err(sql)?;
    if !keep_recovery {
        connection
            .prepare_cached(
                "UPDATE auth_numbers SET recovery_password = NULL WHERE aci = ?1 AND deleted_at IS NULL",
            )
            .and_then(|mut statement| statement.execute([aci.0.as_bytes()]))
            .map_err(sql)?;
    }
    Ok(())
}

/// Both service ids of an account.
fn identities(account: &Account) -> Vec<ServiceId> {
    let pni = account.pni().map(ServiceId::Pni);
    [ServiceId::Aci(account.aci)].into_iter().chain(pni).collect()
}

impl fmt::Debug for SqliteAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteAccounts").finish_non_exhaustive()
    }
}
