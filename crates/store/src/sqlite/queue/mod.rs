//! Message queues in SQLite: a table that grows at its end, an index by device, and the ends that many
//! envelopes share. Envelopes that come many at once lie beside it, in [`segments`]; [`tidy`] gives those up again.

mod changes;
mod rows;
mod segments;
mod tidy;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use messages::{Batch, Page, Position, QueueStore, QueuedEnvelope, SharedBody, StoredEnvelope, Volume};
use parking_lot::Mutex;
use protocol::{Aci, DeviceAddress, DeviceId, ambient::StorageError};
use rusqlite::params;
use vault::Vault;

use super::{Database, sql};
use changes::SealedBatch;
use rows::{ReadError, SealedRow};
use segments::{Piece, Segments};
use tidy::Progress;

/// Envelopes in one batch that are worth a piece of a segment.
const MANY: usize = 32;

/// Message queues kept in one [`Database`] and a folder beside it.
pub struct SqliteQueue {
    database: Arc<Database>,
    segments: Arc<Segments>,
    tidied: Mutex<Progress>,
    vault: Vault,
}

impl SqliteQueue {
    /// The queues in that file and that folder, sealed with those keys. The folder is made if it is not there.
    pub async fn open(database: Arc<Database>, folder: &Path, vault: Vault) -> Result<Self, StorageError> {
        let last = database.read(tidy::highest).await?;
        let segments = Segments::open(folder, last).map_err(StorageError::unavailable)?;
        Ok(Self { database, segments: Arc::new(segments), tidied: Mutex::default(), vault })
    }

    /// Seals a batch and writes to a segment what is to lie there, off the async threads if that is much.
    async fn prepare(&self, batch: Batch) -> Result<(SealedBatch, Option<Piece>), StorageError> {
        if batch.appends.len() < MANY {
            return Ok((SealedBatch::seal(batch, &self.vault), None));
        }
        let (vault, segments) = (self.vault.clone(), Arc::clone(&self.segments));
        let prepared = tokio::task::spawn_blocking(move || {
            let mut batch = SealedBatch::seal(batch, &vault);
            let piece = batch.place(&segments)?;
            Ok((batch, piece))
        });
        prepared.await.map_err(StorageError::unavailable)?
    }

    fn unseal(&self, device: DeviceAddress, row: SealedRow) -> Result<StoredEnvelope, StorageError> {
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
        // Before, so that the writer's thread only writes.
        let (batch, piece) = self.prepare(batch).await?;
        // The piece is handed through, for it must be kept until the commit.
        self.database.write(move |connection| batch.apply(connection).map(|()| piece)).await.map(drop)
    }

    async fn read(
        &self,
        device: DeviceAddress,
        after: Position,
        messages: usize,
        bytes: usize,
    ) -> Result<Page, StorageError> {
        let read = |pass_over_lost| {
            let segments = Arc::clone(&self.segments);
            self.database.read(move |connection| {
                Ok(rows::read(connection, &segments, device, after, messages, bytes, pass_over_lost))
            })
        };
        let mut rows = read(false).await?;
        if let Err(ReadError::NotThere(_)) = rows {
            // It has been moved since its row was read. If it still is not there, it is nowhere.
            rows = read(true).await?;
        }
        let (rows, more) = rows.map_err(|error| match error {
            ReadError::Storage(error) => error,
            ReadError::NotThere(error) => StorageError::unavailable(error),
        })?;
        let envelopes = rows.into_iter().map(|row| self.unseal(device, row)).collect::<Result<_, _>>()?;
        Ok(Page { envelopes, more })
    }

    async fn clear(&self, aci: Aci, device: Option<DeviceId>, up_to: Position) -> Result<(), StorageError> {
        // Piece by piece: others write in between, and what is left after a crash is cleared again.
        while self.database.write(move |connection| changes::clear(connection, aci, device, up_to)).await? {}
        Ok(())
    }

    async fn expire(&self, up_to: Position, limit: usize) -> Result<Volume, StorageError> {
        let expired =
            self.database.write(move |connection| changes::expire(connection, up_to, limit)).await?;
        self.tidy().await;
        Ok(expired)
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
