//! Message queues in SQLite: a table that grows at its end and an index by device.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use messages::{Batch, Page, Position, QueueStore, StoredEnvelope};
use protocol::{Aci, DeviceAddress, DeviceId, ambient::StorageError};
use rusqlite::{Connection, params};
use vault::{Place, Vault};

use super::{Database, sql};

/// Message queues kept in one [`Database`].
pub struct SqliteQueue {
    database: Arc<Database>,
    vault: Vault,
}

/// A sealed envelope on its way to or from its row.
struct SealedRow {
    position: i64,
    sealed: Vec<u8>,
}

impl SqliteQueue {
    /// The queues in that file, sealed with those keys.
    pub fn new(database: Arc<Database>, vault: Vault) -> Self {
        Self { database, vault }
    }

    fn open(&self, device: DeviceAddress, row: &SealedRow) -> Result<StoredEnvelope, StorageError> {
        let corrupt = || StorageError::Corrupt {
            table: "messages_queue",
            column: "envelope",
            row: row.position.to_string(),
        };
        let position = Position(u64::try_from(row.position).map_err(|_| corrupt())?);
        let name = RowName::new(device, position);
        let envelope = self.vault.open_plain(name.place(), &row.sealed).map_err(|_| corrupt())?;
        Ok(StoredEnvelope { position, envelope: Bytes::from(envelope) })
    }
}

#[async_trait]
impl QueueStore for SqliteQueue {
    async fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        let appends: Vec<_> = batch
            .appends
            .into_iter()
            .map(|append| {
                let name = RowName::new(append.device, append.position);
                (append.device, append.position, self.vault.seal(name.place(), &append.envelope))
            })
            .collect();
        let deletes = batch.deletes;
        self.database
            .write(move |connection| {
                let mut insert = connection
                    .prepare_cached("INSERT INTO messages_queue (position, aci, device, envelope) VALUES (?1, ?2, ?3, ?4)")
                    .map_err(sql)?;
                for (device, position, sealed) in &appends {
                    let DeviceAddress { aci: Aci(aci), device_id } = device;
                    insert.execute(params![row_id(*position), aci.as_bytes(), device_id.get(), sealed]).map_err(sql)?;
                }
                let mut delete = connection
                    .prepare_cached("DELETE FROM messages_queue WHERE position = ?1 AND aci = ?2 AND device = ?3")
                    .map_err(sql)?;
                for (DeviceAddress { aci: Aci(aci), device_id }, position) in &deletes {
                    delete.execute(params![row_id(*position), aci.as_bytes(), device_id.get()]).map_err(sql)?;
                }
                Ok(())
            })
            .await
    }

    async fn read(
        &self,
        device: DeviceAddress,
        after: Position,
        messages: usize,
        bytes: usize,
    ) -> Result<Page, StorageError> {
        let (rows, more) = self
            .database
            .read(move |connection| read_rows(connection, device, after, messages, bytes))
            .await?;
        let envelopes = rows.iter().map(|row| self.open(device, row)).collect::<Result<_, _>>()?;
        Ok(Page { envelopes, more })
    }

    async fn clear(
        &self,
        Aci(aci): Aci,
        device: Option<DeviceId>,
        up_to: Position,
    ) -> Result<(), StorageError> {
        self.database
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "DELETE FROM messages_queue
                         WHERE aci = ?1 AND device = coalesce(?2, device) AND position <= ?3",
                    )
                    .and_then(|mut delete| {
                        delete.execute(params![aci.as_bytes(), device.map(DeviceId::get), row_id(up_to)])
                    })
                    .map(drop)
                    .map_err(sql)
            })
            .await
    }

    async fn last_position(&self) -> Result<Position, StorageError> {
        self.database
            .read(|connection| {
                let last: Option<i64> = connection
                    .query_row("SELECT max(position) FROM messages_queue", [], |row| row.get(0))
                    .map_err(sql)?;
                Ok(Position(last.and_then(|last| u64::try_from(last).ok()).unwrap_or_default()))
            })
            .await
    }
}

/// Reads up to the limits, and whether more follows.
fn read_rows(
    connection: &Connection,
    DeviceAddress { aci: Aci(aci), device_id }: DeviceAddress,
    after: Position,
    messages: usize,
    bytes: usize,
) -> Result<(Vec<SealedRow>, bool), StorageError> {
    let mut select = connection
        .prepare_cached(
            "SELECT position, envelope FROM messages_queue
             WHERE aci = ?1 AND device = ?2 AND position > ?3 ORDER BY position LIMIT ?4",
        )
        .map_err(sql)?;
    // One row more than asked for tells whether the page was cut.
    let limit = i64::try_from(messages.max(1)).unwrap_or(i64::MAX).saturating_add(1);
    let mut rows =
        select.query(params![aci.as_bytes(), device_id.get(), row_id(after), limit]).map_err(sql)?;
    let mut page = Vec::new();
    let mut size = 0;
    while let Some(row) = rows.next().map_err(sql)? {
        if page.len() == messages.max(1) || (size > bytes && !page.is_empty()) {
            return Ok((page, true));
        }
        let row = SealedRow { position: row.get(0).map_err(sql)?, sealed: row.get(1).map_err(sql)? };
        size += row.sealed.len();
        page.push(row);
    }
    Ok((page, false))
}

/// What names a row to the vault: a sealed envelope opens in its own row only.
struct RowName([u8; 25]);

impl RowName {
    fn new(DeviceAddress { aci: Aci(aci), device_id }: DeviceAddress, position: Position) -> Self {
        let mut name = [0; 25];
        name[..8].copy_from_slice(&position.0.to_be_bytes());
        name[8..24].copy_from_slice(aci.as_bytes());
        name[24] = device_id.get();
        Self(name)
    }

    fn place(&self) -> Place<'_> {
        Place { column: "messages.envelope", row: &self.0 }
    }
}

/// Positions are microseconds: they fit an `i64` for another 290,000 years.
fn row_id(position: Position) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}
