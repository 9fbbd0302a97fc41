//! Reports of spam in SQLite.

use std::{fmt, path::Path, sync::Arc};

use async_trait::async_trait;
use messages::report::{Report, ReportStore, ReportedMessage, ReportedSource};
use protocol::{
    Aci,
    ambient::{StorageError, Timestamp},
};
use rusqlite::{Connection, params};
use uuid::Uuid;
use vault::Vault;

use super::{Database, ReadError, Schema, database, sql};

/// Reports forgotten by one write, so that it never holds the writer for long.
const REMOVED_AT_ONCE: u32 = 1000;

/// Reports kept in one [`Database`]. The file does not show who made them.
#[derive(Clone)]
pub struct SqliteReports {
    database: Arc<Database>,
    vault: Vault,
}

/// Like [`ReportStore::sources`], from a file that a server may be using.
pub fn read_report_sources(path: &Path) -> Result<Vec<ReportedSource>, ReadError> {
    let connection = database::open_to_read(path, Schema::Accounts)?;
    Ok(select_sources(&connection)?)
}

impl SqliteReports {
    /// The reports in that file, told apart with those keys.
    pub fn new(database: Arc<Database>, vault: Vault) -> Self {
        Self { database, vault }
    }

    fn index(&self, ReportedMessage { guid, recipient: Aci(recipient), .. }: &ReportedMessage) -> [u8; 32] {
        self.vault.index("messages.report", &[&recipient.as_bytes()[..], guid.as_bytes()].concat())
    }
}

#[async_trait]
impl ReportStore for SqliteReports {
    async fn insert(&self, Report { message, at }: Report, max: u32) -> Result<bool, StorageError> {
        let index = self.index(&message);
        let Aci(source) = message.source;
        self.database
            .write(move |connection| {
                let inserted = connection
                    .prepare_cached(
                        "INSERT INTO messages_reports (report_index, source, reported_at) VALUES (?1, ?2, ?3)
                         ON CONFLICT (report_index) DO NOTHING",
                    )
                    .and_then(|mut insert| insert.execute(params![index, source.as_bytes(), millis(at)]))
                    .map_err(sql)?;
                // Ids are given out in a row, and only the oldest are taken away.
                connection
                    .prepare_cached(
                        "DELETE FROM messages_reports
                         WHERE id <= (SELECT max(id) FROM messages_reports) - ?1",
                    )
                    .and_then(|mut trim| trim.execute([max]))
                    .map_err(sql)?;
                Ok(inserted > 0)
            })
            .await
    }

    async fn sources(&self) -> Result<Vec<ReportedSource>, StorageError> {
        self.database.read(select_sources).await
    }

    async fn remove_before(&self, moment: Timestamp) -> Result<usize, StorageError> {
        let mut removed = 0;
        loop {
            let round = self
                .database
                .write(move |connection| {
                    connection
                        .prepare_cached(
                            "DELETE FROM messages_reports WHERE reported_at < ?1 AND id IN
                                 (SELECT id FROM messages_reports ORDER BY id LIMIT ?2)",
                        )
                        .and_then(|mut delete| delete.execute(params![millis(moment), REMOVED_AT_ONCE]))
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

fn select_sources(connection: &Connection) -> Result<Vec<ReportedSource>, StorageError> {
    let mut select = connection
        .prepare_cached(
            "SELECT source, count(*), min(reported_at), max(reported_at) FROM messages_reports
             GROUP BY source ORDER BY 2 DESC, 4 DESC, 1",
        )
        .map_err(sql)?;
    let mut rows = select.query([]).map_err(sql)?;
    let mut sources = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        let source: Vec<u8> = row.get(0).map_err(sql)?;
        let number = |column: usize| -> Result<u64, StorageError> {
            let number: i64 = row.get(column).map_err(sql)?;
            u64::try_from(number).map_err(|_| corrupt("reported_at"))
        };
        sources.push(ReportedSource {
            source: Aci(Uuid::from_slice(&source).map_err(|_| corrupt("source"))?),
            reports: number(1)?,
            first: Timestamp::from_millis(number(2)?),
            last: Timestamp::from_millis(number(3)?),
        });
    }
    Ok(sources)
}

fn corrupt(column: &'static str) -> StorageError {
    StorageError::Corrupt { table: "messages_reports", column, row: "one of a reported account".to_owned() }
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Debug for SqliteReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteReports").finish_non_exhaustive()
    }
}
