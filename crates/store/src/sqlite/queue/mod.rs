//! Message queues in SQLite: a table that grows at its end, an index by device, and the ends that many
//! envelopes share.

mod changes;
mod rows;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use messages::{Batch, Page, Position, QueueStore, QueuedEnvelope, SharedBody, StoredEnvelope, Volume};
use protocol::{Aci, DeviceAddress, DeviceId, ambient::StorageError};
use rusqlite::params;
use vault::Vault;

use super::{Database, sql};
use changes::SealedBatch;
use rows::SealedRow;

/// Message queues kept in one [`Database`].
pub struct SqliteQueue {
    database: Arc<Database>,
    vault: Vault,
}

impl SqliteQueue {
    /// The queues in that file, sealed with those keys.
    pub fn new(database: Arc<Database>, vault: Vault) -> Self {
        Self { database, vault }
    }

    fn open(&self, device: DeviceAddress, row: SealedRow) -> Result<StoredEnvelope, StorageError> {
        let position = Position(u64::try_from(row.position).map_err(|_| rows::corrupt(&row))?);
        let place = rows::envelope_name(device, position);
        let head = self.vault.open_plain(rows::envelope_place(&place), &row.sealed);
        let head = Bytes::from(head.map_err(|_| rows::corrupt(&row))?);
        let Some(id) = row.shared else {
            return Ok(StoredEnvelope { position, envelope: QueuedEnvelope::from(head) });
        };
        let body = row.body.ok_or_else(|| rows::corrupt_body(id))?;
        let bytes = self.vault.open_plain(rows::body_place(&id.to_be_bytes()), &body);
        let bytes = Bytes::from(bytes.map_err(|_| rows::corrupt_body(id))?);
        let id = Position(u64::try_from(id).map_err(|_| rows::corrupt_body(id))?);
        let shared = Some(SharedBody::stored(id, bytes));
        Ok(StoredEnvelope { position, envelope: QueuedEnvelope { head, shared } })
    }
}

#[async_trait]
impl QueueStore for SqliteQueue {
    async fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        // Sealed here, so that the writer's thread only writes.
        let batch = SealedBatch::seal(batch, &self.vault);
        self.database.write(move |connection| batch.apply(connection)).await
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
            .read(move |connection| rows::read(connection, device, after, messages, bytes))
            .await?;
        let envelopes = rows.into_iter().map(|row| self.open(device, row)).collect::<Result<_, _>>()?;
        Ok(Page { envelopes, more })
    }

    async fn clear(&self, aci: Aci, device: Option<DeviceId>, up_to: Position) -> Result<(), StorageError> {
        // Piece by piece: others write in between, and what is left after a crash is cleared again.
        while self.database.write(move |connection| changes::clear(connection, aci, device, up_to)).await? {}
        Ok(())
    }

    async fn expire(&self, up_to: Position, limit: usize) -> Result<Volume, StorageError> {
        self.database.write(move |connection| changes::expire(connection, up_to, limit)).await
    }

    async fn volume(&self, Aci(aci): Aci) -> Result<Volume, StorageError> {
        self.database
            .read(move |connection| {
                connection
                    .prepare_cached(
                        "SELECT count(*), coalesce(sum(size), 0) FROM messages_queue WHERE aci = ?1",
                    )
                    .and_then(|mut select| select.query_row(params![aci.as_bytes()], rows::volume))
                    .map_err(sql)
            })
            .await
    }

    async fn last_position(&self) -> Result<Position, StorageError> {
        self.database
            .read(|connection| {
                let last: i64 = connection
                    .query_row(
                        "SELECT max((SELECT coalesce(max(position), 0) FROM messages_queue),
                                    (SELECT coalesce(max(id), 0) FROM messages_shared))",
                        [],
                        |row| row.get(0),
                    )
                    .map_err(sql)?;
                Ok(Position(u64::try_from(last).unwrap_or_default()))
            })
            .await
    }
}
