//! SQLite as the server's store uses it (crates/store/src/sqlite/database.rs): a writer and a reader.

use std::path::Path;

use rusqlite::{CachedStatement, Connection, OpenFlags, params};

use crate::engine::{Device, Engine, Message};

/// As in the store.
const WRITER_CACHE_KIB: i64 = 8 * 1024;

/// How the rows lie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    /// The store's: rows by position, and an index that holds sizes too.
    Covering,
    /// Rows by position, and an index of device addresses (which ends in the position by itself).
    Narrow,
    /// No index: rows by device and position.
    Clustered,
    /// As `Covering`, with pages of twice the length.
    LargePages,
}

impl Layout {
    fn page_size(self) -> u32 {
        if matches!(self, Self::LargePages) { 8192 } else { 4096 }
    }

    fn schema(self) -> String {
        let (key, index) = match self {
            Self::Covering | Self::LargePages => {
                ("(position)) STRICT", "CREATE INDEX IF NOT EXISTS i ON queue (aci, device, position, size)")
            }
            Self::Narrow => ("(position)) STRICT", "CREATE INDEX IF NOT EXISTS i ON queue (aci, device)"),
            Self::Clustered => ("(aci, device, position)) STRICT, WITHOUT ROWID", ""),
        };
        format!(
            "CREATE TABLE IF NOT EXISTS queue (
                 position INTEGER NOT NULL,
                 aci      BLOB    NOT NULL CHECK (length(aci) = 16),
                 device   INTEGER NOT NULL CHECK (device BETWEEN 1 AND 127),
                 envelope BLOB    NOT NULL,
                 shared   INTEGER,
                 size     INTEGER NOT NULL,
                 PRIMARY KEY {key};
             {index}"
        )
    }
}

pub(crate) struct Sqlite {
    reader: Connection,
    writer: Connection,
}

impl Sqlite {
    pub(crate) fn open(folder: &Path, layout: Layout) -> anyhow::Result<Self> {
        let path = folder.join("messages.sqlite");
        let writer = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        writer.pragma_update(None, "page_size", layout.page_size())?;
        writer.pragma_update(None, "journal_mode", "WAL")?;
        writer.pragma_update(None, "synchronous", "FULL")?;
        writer.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        writer.execute_batch(&layout.schema())?;
        Ok(Self { reader: connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?, writer })
    }

    fn commit(
        &mut self,
        sql: &str,
        batch: &[Message],
        change: impl Fn(&mut CachedStatement<'_>, &Message) -> rusqlite::Result<usize>,
    ) -> anyhow::Result<()> {
        let transaction = self.writer.transaction()?;
        let mut statement = transaction.prepare_cached(sql)?;
        for message in batch {
            anyhow::ensure!(change(&mut statement, message)? == 1, "a message was not there, or was twice");
        }
        drop(statement);
        Ok(transaction.commit()?)
    }
}

impl Engine for Sqlite {
    fn append(&mut self, batch: &[Message]) -> anyhow::Result<()> {
        let sql = "INSERT INTO queue (position, aci, device, envelope, shared, size)
                   VALUES (?1, ?2, ?3, ?4, NULL, ?5)";
        self.commit(sql, batch, |insert, Message { device, position, value }| {
            let size = i64::try_from(value.len()).unwrap_or(i64::MAX);
            insert.execute(params![position.cast_signed(), &device[..16], device[16], value, size])
        })
    }

    fn read(&mut self, device: Device, after: u64, limit: usize) -> anyhow::Result<Vec<Message>> {
        let limit = i64::try_from(limit)?;
        let mut select = self.reader.prepare_cached(
            "SELECT position, envelope FROM queue WHERE aci = ?1 AND device = ?2 AND position > ?3
             ORDER BY position LIMIT ?4",
        )?;
        let rows = select
            .query_map(params![&device[..16], device[16], after.cast_signed(), limit], |row| {
                Ok(Message { device, position: row.get::<_, i64>(0)?.cast_unsigned(), value: row.get(1)? })
            })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn delete(&mut self, batch: &[Message]) -> anyhow::Result<()> {
        let sql = "DELETE FROM queue WHERE position = ?1 AND aci = ?2 AND device = ?3";
        self.commit(sql, batch, |delete, Message { device, position, .. }| {
            delete.execute(params![position.cast_signed(), &device[..16], device[16]])
        })
    }
}

fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}
