//! Rows of the queue: reading them, and what their seals are bound to.

use std::{io, slice};

use bytes::Bytes;
use messages::{Position, Volume};
use protocol::{Aci, DeviceAddress, ambient::StorageError};
use rusqlite::{Connection, Row, params};
use vault::Place;

use super::segments::{Reader, Segments, Spot};
use crate::sqlite::sql;

/// A sealed envelope as it was read.
pub(super) struct SealedRow {
    pub(super) position: i64,
    /// Empty until it has been fetched from its segment, if it lies in one.
    pub(super) sealed: Bytes,
    spot: Option<Spot>,
    /// The id of the end it shares with others.
    pub(super) shared: Option<i64>,
    /// That end, sealed; it is there whenever there is an id.
    pub(super) body: Option<Vec<u8>>,
}

/// Why rows were not read.
pub(super) enum ReadError {
    /// The store refused.
    Storage(StorageError),
    /// What a row names is not where it says. That is so for a moment when it has been moved since the row was read.
    NotThere(io::Error),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(sql(error))
    }
}

/// Reads up to the limits, and whether more follows.
///
/// An envelope that is not where it should be is [`ReadError::NotThere`], and is passed over when it is known to be lost:
/// its file may have been left out of a backup, and what comes behind it can be delivered all the same.
pub(super) fn read(
    connection: &Connection,
    segments: &Segments,
    DeviceAddress { aci: Aci(aci), device_id }: DeviceAddress,
    after: Position,
    messages: usize,
    bytes: usize,
    pass_over_lost: bool,
) -> Result<(Vec<SealedRow>, bool), ReadError> {
    let mut select = connection.prepare_cached(
        "SELECT queue.position, queue.envelope, queue.shared, shared.body, queue.segment, queue.at, queue.length
         FROM messages_queue AS queue LEFT JOIN messages_shared AS shared ON shared.id = queue.shared
         WHERE queue.aci = ?1 AND queue.device = ?2 AND queue.position > ?3
         ORDER BY queue.position LIMIT ?4",
    )?;
    // One row more than asked for tells whether the page was cut. What is passed over does not count, so that behind it
    // the page goes on: there is no limit then (a negative one in SQLite) but the page's.
    let one_more = i64::try_from(messages.max(1)).unwrap_or(i64::MAX).saturating_add(1);
    let limit = if pass_over_lost { -1 } else { one_more };
    let mut rows = select.query(params![aci.as_bytes(), device_id.get(), row_id(after), limit])?;
    let mut reader = Reader::new(segments);
    let mut page = Vec::new();
    let mut size = 0;
    // Once for a page: there can be as many as a queue holds.
    let mut complained = false;
    let mut more = false;
    while let Some(row) = rows.next()? {
        if page.len() == messages.max(1) || (size > bytes && !page.is_empty()) {
            more = true;
            break;
        }
        let mut row = SealedRow::of(row)?;
        if pass_over_lost {
            // One by one: what lies beside a lost one may be there.
            match fetch(slice::from_mut(&mut row), &mut reader) {
                Err(ReadError::NotThere(error)) => {
                    if !complained {
                        let position = row.position;
                        tracing::error!(%error, position, "messages are not in the file in which they should be");
                    }
                    complained = true;
                    continue;
                }
                fetched => fetched?,
            }
        }
        size += row.len();
        page.push(row);
    }
    if !pass_over_lost {
        fetch(&mut page, &mut reader)?;
    }
    Ok((page, more))
}

impl SealedRow {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let spot = spot(row, 4)?;
        let sealed = if spot.is_none() { row.get::<_, Vec<u8>>(1)?.into() } else { Bytes::new() };
        Ok(Self { position: row.get(0)?, sealed, spot, shared: row.get(2)?, body: row.get(3)? })
    }

    /// Bytes that it takes, fetched or not.
    fn len(&self) -> usize {
        self.spot.map_or(self.sealed.len(), Spot::bytes) + self.body.as_ref().map_or(0, Vec::len)
    }
}

/// Fetches what lies in segments; what lies side by side, as a batch has put what one device gets, in one go.
fn fetch(page: &mut [SealedRow], segments: &mut Reader<'_>) -> Result<(), ReadError> {
    let joined =
        |spot: Option<Spot>, next: Option<Spot>| spot.zip(next).and_then(|(spot, next)| spot.joined(next));
    for run in page.chunk_by_mut(|row, next| joined(row.spot, next.spot).is_some()) {
        let Some(spot) = run.iter().map(|row| row.spot).reduce(joined).flatten() else { continue };
        let mut bytes = segments.read(spot).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => ReadError::NotThere(error),
            _ => ReadError::Storage(StorageError::unavailable(error)),
        })?;
        for row in run {
            let length = row.spot.map_or(0, Spot::bytes);
            row.sealed = bytes.split_to(length.min(bytes.len()));
        }
    }
    Ok(())
}

/// Where the envelope of a row lies, if in a segment: the three columns from that one on.
pub(super) fn spot(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Spot>> {
    let segment: Option<i64> = row.get(column)?;
    segment
        .map(|segment| Ok(Spot { segment, at: row.get(column + 1)?, length: row.get(column + 2)? }))
        .transpose()
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
