//! Profiles in `SQLite`.

use std::{fmt, sync::Arc};

use ::profiles::{Profile, ProfileStore};
use async_trait::async_trait;
use protocol::{Aci, ambient::StorageError};
use rusqlite::{Connection, OptionalExtension, params};
use vault::{Place, Vault};

use super::{Database, sql};

const USERNAME: &str = "profiles_profiles.username";

/// Profiles kept in one [`Database`].
#[derive(Clone)]
pub struct SqliteProfiles {
    database: Arc<Database>,
    vault: Vault,
}

impl SqliteProfiles {
    /// The profiles in that file, sealed with those keys.
    pub fn new(database: Arc<Database>, vault: Vault) -> Self {
        Self { database, vault }
    }
}

#[async_trait]
impl ProfileStore for SqliteProfiles {
    async fn profile(&self, aci: Aci) -> Result<Option<Profile>, StorageError> {
        let vault = self.vault.clone();
        self.database.read(move |connection| select(connection, &vault, aci)).await
    }
}

/// Adds the profile of a new account, in the transaction that creates it.
pub(super) fn insert(
    connection: &Connection,
    vault: &Vault,
    Aci(aci): Aci,
    username: &str,
) -> Result<(), StorageError> {
    let sealed = vault.seal(Place { column: USERNAME, row: aci.as_bytes() }, username.as_bytes());
    connection
        .prepare_cached("INSERT INTO profiles_profiles (aci, username) VALUES (?1, ?2)")
        .and_then(|mut statement| statement.execute(params![aci.as_bytes(), sealed]))
        .map(drop)
        .map_err(sql)
}

/// Removes the profile of an account, in the transaction that deletes it.
pub(super) fn remove(connection: &Connection, Aci(aci): Aci) -> Result<(), StorageError> {
    connection
        .prepare_cached("DELETE FROM profiles_profiles WHERE aci = ?1")
        .and_then(|mut statement| statement.execute([aci.as_bytes()]))
        .map(drop)
        .map_err(sql)
}

fn select(connection: &Connection, vault: &Vault, aci: Aci) -> Result<Option<Profile>, StorageError> {
    let sealed: Option<Vec<u8>> = connection
        .prepare_cached("SELECT username FROM profiles_profiles WHERE aci = ?1")
        .and_then(|mut statement| statement.query_row([aci.0.as_bytes()], |row| row.get(0)).optional())
        .map_err(sql)?;
    let Some(sealed) = sealed else { return Ok(None) };
    let corrupt = || StorageError::Corrupt {
        table: "profiles_profiles",
        column: "username",
        row: "of an account".to_owned(),
    };
    let plain =
        vault.open(Place { column: USERNAME, row: aci.0.as_bytes() }, &sealed).map_err(|_| corrupt())?;
    let username = std::str::from_utf8(&plain).map_err(|_| corrupt())?.to_owned();
    Ok(Some(Profile { aci, username }))
}

impl fmt::Debug for SqliteProfiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteProfiles").finish_non_exhaustive()
    }
}
