//! Verification sessions in `SQLite`.

use std::{fmt, path::Path, sync::Arc};

use async_trait::async_trait;
use auth::verification::{Session, SessionId, SessionStore, StoredSession, WaitingCode};
use protocol::ambient::{StorageError, Timestamp};
use rusqlite::{OptionalExtension, params};
use vault::{Place, Vault};
use zeroize::Zeroizing;

use super::{Database, ReadError, Schema, database, sql};

/// Expired sessions removed by one write, so that it never holds the writer for long.
const REMOVED_AT_ONCE: u32 = 1000;

/// Verification sessions kept in one [`Database`].
///
/// A session is found by a keyed hash of its id and sealed as a whole: the file shows neither the id, by
/// which somebody could go on with it, nor the number and the code.
#[derive(Clone)]
pub struct SqliteSessions {
    database: Arc<Database>,
    vault: Vault,
}

/// The codes that wait to be handed in, from a file that a server may be using; in the order in which they were asked for.
pub fn read_waiting_codes(path: &Path, vault: &Vault, now: Timestamp) -> Result<Vec<WaitingCode>, ReadError> {
    let connection = database::open_to_read(path, Schema::Accounts)?;
    let mut select = connection
        .prepare("SELECT id_index, version, data FROM auth_sessions WHERE expires > ?1")
        .map_err(sql)?;
    let mut rows = select.query([millis(now)]).map_err(sql)?;
    let mut codes = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        let (index, version): (Vec<u8>, i64) = (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?);
        let sealed: Vec<u8> = row.get(2).map_err(sql)?;
        let index = index.try_into().map_err(|_| StorageError::Corrupt {
            table: "auth_sessions",
            column: "id_index",
            row: format!("version {version}"),
        })?;
        codes.extend(open(vault, &index, version, &sealed)?.session.waiting_code());
    }
    codes.sort_by_key(|code| code.asked);
    Ok(codes)
}

impl SqliteSessions {
    /// The sessions in that file, sealed with those keys.
    pub fn new(database: Arc<Database>, vault: Vault) -> Self {
        Self { database, vault }
    }

    fn index(&self, id: &SessionId) -> [u8; 32] {
        self.vault.index("auth.session", id.as_bytes())
    }

    fn seal(&self, index: &[u8; 32], session: &Session) -> Result<Vec<u8>, StorageError> {
        let plain = Zeroizing::new(serde_json::to_vec(session).map_err(StorageError::unavailable)?);
        Ok(self.vault.seal(place(index), &plain))
    }
}

#[async_trait]
impl SessionStore for SqliteSessions {
    async fn insert(&self, id: &SessionId, session: Session) -> Result<(), StorageError> {
        let index = self.index(id);
        let (sealed, expires) = (self.seal(&index, &session)?, millis(session.expires()));
        self.database
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "INSERT INTO auth_sessions (id_index, version, expires, data) VALUES (?1, 0, ?2, ?3)",
                    )
                    .and_then(|mut statement| statement.execute(params![index, expires, sealed]))
                    .map(drop)
                    .map_err(sql)
            })
            .await
    }

    async fn load(&self, id: &SessionId, now: Timestamp) -> Result<Option<StoredSession>, StorageError> {
        let index = self.index(id);
        let found: Option<(i64, Vec<u8>)> = self
            .database
            .read(move |connection| {
                connection
                    .prepare_cached(
                        "SELECT version, data FROM auth_sessions WHERE id_index = ?1 AND expires > ?2",
                    )
                    .and_then(|mut statement| {
                        let row = statement
                            .query_row(params![index, millis(now)], |row| Ok((row.get(0)?, row.get(1)?)));
                        row.optional()
                    })
                    .map_err(sql)
            })
            .await?;
        found.map(|(version, sealed)| open(&self.vault, &index, version, &sealed)).transpose()
    }

    async fn replace(&self, id: &SessionId, version: u64, session: Session) -> Result<bool, StorageError> {
        let index = self.index(id);
        let (sealed, expires) = (self.seal(&index, &session)?, millis(session.expires()));
        let version = i64::try_from(version).unwrap_or(i64::MAX);
        self.database
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE auth_sessions SET version = version + 1, expires = ?3, data = ?4
                         WHERE id_index = ?1 AND version = ?2",
                    )
                    .and_then(|mut statement| statement.execute(params![index, version, expires, sealed]))
                    .map(|replaced| replaced > 0)
                    .map_err(sql)
            })
            .await
    }

    async fn remove_expired(&self, now: Timestamp) -> Result<usize, StorageError> {
        let mut removed = 0;
        loop {
            let round = self
                .database
                .write(move |connection| {
                    connection
                        .prepare_cached(
                            "DELETE FROM auth_sessions WHERE id_index IN
                                 (SELECT id_index FROM auth_sessions WHERE expires <= ?1 LIMIT ?2)",
                        )
                        .and_then(|mut statement| statement.execute(params![millis(now), REMOVED_AT_ONCE]))
                        .map_err(sql)
                })
                .await?;
            removed += round;
            if round < REMOVED_AT_ONCE as usize {
                return Ok(removed);
            }
        }
    }
}

fn open(vault: &Vault, index: &[u8; 32], version: i64, sealed: &[u8]) -> Result<StoredSession, StorageError> {
    let corrupt = || StorageError::Corrupt {
        table: "auth_sessions",
        column: "data",
        row: format!("version {version}"),
    };
    let plain = vault.open(place(index), sealed).map_err(|_| corrupt())?;
    let session = serde_json::from_slice(&plain).map_err(|_| corrupt())?;
    Ok(StoredSession { session, version: u64::try_from(version).map_err(|_| corrupt())? })
}

fn place(index: &[u8; 32]) -> Place<'_> {
    Place { column: "auth_sessions.data", row: index }
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Debug for SqliteSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteSessions").finish_non_exhaustive()
    }
}
