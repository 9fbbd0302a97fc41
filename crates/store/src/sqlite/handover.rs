//! What devices leave for one another, in SQLite.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use auth::handover::{
    ArchiveAddress, RestoreChoice, RestoreToken, TransferArchive,
    store::{HandoverStore, NewChoice},
};
use protocol::ambient::{StorageError, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Serialize, de::DeserializeOwned};
use vault::{Place, Vault};
use zeroize::Zeroizing;

use super::{Database, sql};

/// Rows removed by one statement, so that it never holds the writer for long.
const REMOVED_AT_ONCE: u32 = 1000;

const ARCHIVE: &str = "auth_transfer_archives.data";
const CHOICE: &str = "auth_restore_choices.data";

/// What devices leave for one another, kept in the accounts' [`Database`] and sealed as a whole.
#[derive(Clone)]
pub struct SqliteHandovers {
    database: Arc<Database>,
    vault: Vault,
}

impl SqliteHandovers {
    /// What is left in that file, sealed with those keys.
    pub fn new(database: Arc<Database>, vault: Vault) -> Self {
        Self { database, vault }
    }

    fn index(&self, token: &RestoreToken) -> [u8; 32] {
        self.vault.index("auth.restore_token", token.as_str().as_bytes())
    }

    fn seal(&self, place: Place<'_>, content: &impl Serialize) -> Result<Vec<u8>, StorageError> {
        let plain = Zeroizing::new(serde_json::to_vec(content).map_err(StorageError::unavailable)?);
        Ok(self.vault.seal(place, &plain))
    }

    fn open<T: DeserializeOwned>(
        &self,
        table: &'static str,
        place: Place<'_>,
        sealed: &[u8],
    ) -> Result<T, StorageError> {
        let corrupt =
            || StorageError::Corrupt { table, column: "data", row: "of a device being set up".to_owned() };
        let plain = self.vault.open(place, sealed).map_err(|_| corrupt())?;
        serde_json::from_slice(&plain).map_err(|_| corrupt())
    }
}

#[async_trait]
impl HandoverStore for SqliteHandovers {
    async fn put_archive(
        &self,
        address: ArchiveAddress,
        archive: TransferArchive,
        expires: Timestamp,
    ) -> Result<bool, StorageError> {
        let sealed = self.seal(Place { column: ARCHIVE, row: &row_of(address) }, &archive)?;
        let ArchiveAddress { aci, device_id, registration_id } = address;
        self.database
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO auth_transfer_archives
                             (account, device, registration_id, expires, data)
                         SELECT id, ?2, ?3, ?4, ?5 FROM auth_accounts WHERE aci = ?1",
                    )
                    .and_then(|mut insert| {
                        let device = device_id.get();
                        let expires = millis(expires);
                        insert.execute(params![aci.0.as_bytes(), device, registration_id, expires, sealed])
                    })
                    .map(|inserted| inserted > 0)
                    .map_err(sql)
            })
            .await
    }

    async fn archive(
        &self,
        address: ArchiveAddress,
        now: Timestamp,
    ) -> Result<Option<TransferArchive>, StorageError> {
        let ArchiveAddress { aci, device_id, registration_id } = address;
        let sealed: Option<Vec<u8>> = self
            .database
            .read(move |connection| {
                connection
                    .prepare_cached(
                        "SELECT data FROM auth_transfer_archives
                         WHERE account = (SELECT id FROM auth_accounts WHERE aci = ?1) AND device = ?2
                             AND registration_id = ?3 AND expires > ?4",
                    )
                    .and_then(|mut select| {
                        let device = device_id.get();
                        let key = params![aci.0.as_bytes(), device, registration_id, millis(now)];
                        select.query_row(key, |row| row.get(0)).optional()
                    })
                    .map_err(sql)
            })
            .await?;
        let place = Place { column: ARCHIVE, row: &row_of(address) };
        sealed.map(|sealed| self.open("auth_transfer_archives", place, &sealed)).transpose()
    }

    async fn put_choice(&self, new: NewChoice) -> Result<bool, StorageError> {
        let index = self.index(&new.token);
        let sealed = self.seal(Place { column: CHOICE, row: &index }, &new.choice)?;
        self.database
            .write(move |connection| {
                let kept: u32 = connection
                    .prepare_cached(
                        "SELECT count(*) FROM auth_restore_choices WHERE expires > ?1 AND token_index != ?2",
                    )
                    .and_then(|mut count| count.query_row(params![millis(new.at), index], |row| row.get(0)))
                    .map_err(sql)?;
                if kept >= new.max {
                    return Ok(false);
                }
                connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO auth_restore_choices (token_index, expires, data)
                         VALUES (?1, ?2, ?3)",
                    )
                    .and_then(|mut insert| insert.execute(params![index, millis(new.expires), sealed]))
                    .map(|_| true)
                    .map_err(sql)
            })
            .await
    }

    async fn choice(
        &self,
        token: &RestoreToken,
        now: Timestamp,
    ) -> Result<Option<RestoreChoice>, StorageError> {
        let index = self.index(token);
        let sealed: Option<Vec<u8>> = self
            .database
            .read(move |connection| {
                connection
                    .prepare_cached(
                        "SELECT data FROM auth_restore_choices WHERE token_index = ?1 AND expires > ?2",
                    )
                    .and_then(|mut select| {
                        select.query_row(params![index, millis(now)], |row| row.get(0)).optional()
                    })
                    .map_err(sql)
            })
            .await?;
        let place = Place { column: CHOICE, row: &index };
        sealed.map(|sealed| self.open("auth_restore_choices", place, &sealed)).transpose()
    }

    async fn remove_expired(&self, now: Timestamp) -> Result<(), StorageError> {
        let now = millis(now);
        loop {
            let removed = self.database.write(move |connection| remove_some(connection, now)).await?;
            if !removed {
                return Ok(());
            }
        }
    }
}

/// Removes a bounded number of rows, and answers whether there may be more.
fn remove_some(connection: &Connection, now: i64) -> Result<bool, StorageError> {
    let mut more = false;
    for statement in [
        "DELETE FROM auth_transfer_archives WHERE (account, device, registration_id) IN
             (SELECT account, device, registration_id FROM auth_transfer_archives WHERE expires <= ?1 LIMIT ?2)",
        "DELETE FROM auth_restore_choices WHERE token_index IN
             (SELECT token_index FROM auth_restore_choices WHERE expires <= ?1 LIMIT ?2)",
    ] {
        let removed = connection
            .prepare_cached(statement)
            .and_then(|mut delete| delete.execute(params![now, REMOVED_AT_ONCE]))
            .map_err(sql)?;
        more |= removed >= REMOVED_AT_ONCE as usize;
    }
    Ok(more)
}

/// What binds sealed word of an archive to the device it is for.
fn row_of(ArchiveAddress { aci, device_id, registration_id }: ArchiveAddress) -> [u8; 19] {
    let mut row = [device_id.get(); 19];
    row[..16].copy_from_slice(aci.0.as_bytes());
    row[17..].copy_from_slice(&registration_id.to_be_bytes());
    row
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Debug for SqliteHandovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteHandovers").finish_non_exhaustive()
    }
}
