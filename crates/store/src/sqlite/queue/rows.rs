//! Rows of the queue: reading them, and what their seals are bound to.

use messages::{Position, Volume};
use protocol::{Aci, DeviceAddress, ambient::StorageError};
use rusqlite::{Connection, Row, params};
use vault::Place;

use crate::sqlite::sql;

/// A sealed envelope as it was read.
pub(super) struct SealedRow {
    pub(super) position: i64,
    pub(super) sealed: Vec<u8>,
    /// The id of the end it shares with others.
    pub(super) shared: Option<i64>,
    /// That end, sealed; it is there whenever there is an id.
    pub(super) body: Option<Vec<u8>>,
}

/// Reads up to the limits, and whether more follows.
pub(super) fn read(
    connection: &Connection,
    DeviceAddress { aci: Aci(aci), device_id }: DeviceAddress,
    after: Position,
    messages: usize,
    bytes: usize,
) -> Result<(Vec<SealedRow>, bool), StorageError> {
    let mut select = connection
        .prepare_cached(
            "SELECT queue.position, queue.envelope, queue.shared, shared.body
             FROM messages_queue AS queue LEFT JOIN messages_shared AS shared ON shared.id = queue.shared
             WHERE queue.aci = ?1 AND queue.device = ?2 AND queue.position > ?3
             ORDER BY queue.position LIMIT ?4",
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
        let row = sealed_row(row).map_err(sql)?;
        size += row.sealed.len() + row.body.as_ref().map_or(0, Vec::len);
        page.push(row);
    }
    Ok((page, false))
}

fn sealed_row(row: &Row<'_>) -> rusqlite::Result<SealedRow> {
    Ok(SealedRow { position: row.get(0)?, sealed: row.get(1)?, shared: row.get(2)?, body: row.get(3)? })
}

/// A count and a sum of sizes.
pub(super) fn volume(row: &Row<'_>) -> rusqlite::Result<Volume> {
    let count = |column| row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or_default());
    Ok(Volume { envelopes: count(0)?, bytes: count(1)? })
}

/// What names a row to the vault: a sealed envelope opens in its own row only.
pub(super) fn envelope_name(
    DeviceAddress { aci: Aci(aci), device_id }: DeviceAddress,
    position: Position,
) -> [u8; 25] {
    let mut name = [0; 25];
    name[..8].copy_from_slice(&position.0.to_be_bytes());
    name[8..24].copy_from_slice(aci.as_bytes());
    name[24] = device_id.get();
    name
}

/// Where the envelope of that name is sealed for.
pub(super) fn envelope_place(name: &[u8]) -> Place<'_> {
    Place { column: "messages.envelope", row: name }
}

/// Where the shared end of that id, big endian, is sealed for.
pub(super) fn body_place(id: &[u8]) -> Place<'_> {
    Place { column: "messages.shared_body", row: id }
}

/// An envelope is not what was written.
pub(super) fn corrupt(row: &SealedRow) -> StorageError {
    StorageError::Corrupt { table: "messages_queue", column: "envelope", row: row.position.to_string() }
}

/// A shared end is not what was written, or is not there.
pub(super) fn corrupt_body(id: i64) -> StorageError {
    StorageError::Corrupt { table: "messages_shared", column: "body", row: id.to_string() }
}

/// Positions are microseconds: they fit an `i64` for another 290,000 years.
pub(super) fn row_id(position: Position) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}
