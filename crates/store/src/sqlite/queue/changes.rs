//! Changes of the queue, each inside one transaction: what is appended and deleted, cleared, expired.
//!
//! A shared end counts the envelopes that end in it. Whatever removes envelopes lets go of their ends in the
//! same transaction, and the last one takes its end along.

use std::collections::HashMap;

use messages::{Batch, Position, Volume};
use protocol::{Aci, DeviceAddress, DeviceId, ambient::StorageError};
use rusqlite::{Connection, OptionalExtension, params};
use vault::Vault;

use super::{
    rows::{self, body_place, envelope_name, envelope_place, row_id},
    segments::{Piece, Segments, Spot},
};
use crate::sqlite::sql;

/// Envelopes shorter than this lie in their rows: to say where they lie would be as long.
const PLACED_MIN: usize = 256;

/// Bytes of envelopes that must come together for a piece of a segment, which costs a sync of its own.
const PIECE_MIN: usize = 32 * 1024;

/// Envelopes of an account that are cleared at once.
const CLEARED_AT_ONCE: i64 = 1024;

/// How many envelopes let go of each shared end.
type Released = HashMap<i64, i64>;

/// A [`Batch`], ready to be written.
pub(super) struct SealedBatch {
    bodies: Vec<SealedBody>,
    appends: Vec<SealedAppend>,
    deletes: Vec<(DeviceAddress, Position)>,
}

struct SealedAppend {
    device: DeviceAddress,
    position: i64,
    /// The envelope, if it does not lie in a segment.
    sealed: Vec<u8>,
    spot: Option<Spot>,
    shared: Option<i64>,
    size: i64,
}

struct SealedBody {
    id: i64,
    refs: i64,
    sealed: Vec<u8>,
}

impl SealedBatch {
    /// Seals every envelope, and every shared end once.
    pub(super) fn seal(batch: Batch, vault: &Vault) -> Self {
        let mut bodies = HashMap::new();
        let appends = batch.appends.into_iter().map(|append| {
            let name = envelope_name(append.device, append.position);
            let envelope = append.envelope;
            if let Some(shared) = &envelope.shared {
                let id = row_id(shared.id);
                let seal = || SealedBody {
                    id,
                    refs: 0,
                    sealed: vault.seal(body_place(&id.to_be_bytes()), &shared.bytes),
                };
                bodies.entry(id).or_insert_with(seal).refs += 1;
            }
            SealedAppend {
                device: append.device,
                position: row_id(append.position),
                spot: None,
                sealed: vault.seal(envelope_place(&name), &envelope.head),
                size: i64::try_from(envelope.len()).unwrap_or(i64::MAX),
                shared: envelope.shared.as_ref().map(|shared| row_id(shared.id)),
            }
        });
        let appends = appends.collect();
        Self { bodies: bodies.into_values().collect(), appends, deletes: batch.deletes }
    }

    /// Writes what is long to a segment, if it is worth it. The piece is to be kept until the rows are committed.
    ///
    /// What one device gets lies side by side there, in its order, so that it is read at once.
    pub(super) fn place(&mut self, segments: &Segments) -> Result<Option<Piece>, StorageError> {
        let is_long = |append: &&mut SealedAppend| append.sealed.len() >= PLACED_MIN;
        let mut long: Vec<_> = self.appends.iter_mut().filter(is_long).collect();
        let bytes: usize = long.iter().map(|append| append.sealed.len()).sum();
        if bytes < PIECE_MIN {
            return Ok(None);
        }
        long.sort_unstable_by_key(|append| (append.device, append.position));
        let mut written = Vec::with_capacity(bytes);
        for append in long {
            let (at, length) = (signed(written.len()), signed(append.sealed.len()));
            written.append(&mut append.sealed);
            append.spot = Some(Spot { segment: 0, at, length });
        }
        let piece = segments.append(&written)?;
        for spot in self.appends.iter_mut().filter_map(|append| append.spot.as_mut()) {
            spot.segment = piece.segment;
            spot.at += piece.at;
        }
        Ok(Some(piece))
    }

    pub(super) fn apply(&self, connection: &Connection) -> Result<(), StorageError> {
        self.add_bodies(connection).and_then(|()| self.append(connection)).map_err(sql)?;
        self.note_segment(connection).map_err(sql)?;
        let released = self.delete(connection).map_err(sql)?;
        release(connection, released).map_err(sql)
    }

    /// An end may be there already, when its envelopes come in several batches.
    fn add_bodies(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.bodies.is_empty() {
            return Ok(());
        }
        let mut insert = connection.prepare_cached(
            "INSERT INTO messages_shared (id, refs, body) VALUES (?1, ?2, ?3)
             ON CONFLICT (id) DO UPDATE SET refs = refs + excluded.refs",
        )?;
        self.bodies
            .iter()
            .try_for_each(|body| insert.execute(params![body.id, body.refs, body.sealed]).map(drop))
    }

    fn append(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.appends.is_empty() {
            return Ok(());
        }
        let mut insert = connection.prepare_cached(
            "INSERT INTO messages_queue (position, aci, device, envelope, shared, size, segment, at, length)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        for SealedAppend { device, position, sealed, spot, shared, size } in &self.appends {
            let DeviceAddress { aci: Aci(aci), device_id } = device;
            let (aci, device) = (aci.as_bytes(), device_id.get());
            let [segment, at, length] =
                spot.map_or([None; 3], |spot| [spot.segment, spot.at, spot.length].map(Some));
            insert.execute(params![position, aci, device, sealed, shared, size, segment, at, length])?;
        }
        Ok(())
    }

    /// Notes between which positions the envelopes of the batch stand that lie in a segment.
    fn note_segment(&self, connection: &Connection) -> rusqlite::Result<()> {
        let placed =
            || self.appends.iter().filter_map(|append| Some((append.spot?.segment, append.position)));
        let Some((segment, first)) = placed().min_by_key(|(_, position)| *position) else { return Ok(()) };
        let last = placed().map(|(_, position)| position).max();
        connection
            .prepare_cached(
                "INSERT INTO messages_segments (id, first, last) VALUES (?1, ?2, ?3)
                 ON CONFLICT (id) DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last)",
            )?
            .execute(params![segment, first, last])
            .map(drop)
    }

    fn delete(&self, connection: &Connection) -> rusqlite::Result<Released> {
        let mut released = Released::new();
        if self.deletes.is_empty() {
            return Ok(released);
        }
        // Most envelopes are whole by themselves. Those that are not, or are not there, are looked at.
        let mut whole = connection.prepare_cached(
            "DELETE FROM messages_queue WHERE position = ?1 AND aci = ?2 AND device = ?3 AND shared IS NULL",
        )?;
        let mut select = connection.prepare_cached(
            "SELECT shared FROM messages_queue WHERE position = ?1 AND aci = ?2 AND device = ?3",
        )?;
        for (DeviceAddress { aci: Aci(aci), device_id }, position) in &self.deletes {
            let position = row_id(*position);
            let row = params![position, aci.as_bytes(), device_id.get()];
            if whole.execute(row)? > 0 {
                continue;
            }
            let found: Option<Option<i64>> = select.query_row(row, |row| row.get(0)).optional()?;
            if let Some(shared) = found {
                remove(connection, position, shared, &mut released)?;
            }
        }
        Ok(released)
    }
}

/// Lengths here are of what is in memory.
fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// Removes a row that ends in `shared`, if in anything. The end is asked for before and not with `RETURNING`, for
/// which SQLite builds a table of its own each time.
fn remove(
    connection: &Connection,
    position: i64,
    shared: Option<i64>,
    released: &mut Released,
) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM messages_queue WHERE position = ?1")?.execute([position])?;
    if let Some(id) = shared {
        *released.entry(id).or_default() += 1;
    }
    Ok(())
}

/// Clears some of what an account, or one device of it, has up to that position; says whether there may be
/// more.
pub(super) fn clear(
    connection: &Connection,
    Aci(aci): Aci,
    device: Option<DeviceId>,
    up_to: Position,
) -> Result<bool, StorageError> {
    let mut select = connection
        .prepare_cached(
            "SELECT position, shared FROM messages_queue
             WHERE aci = ?1 AND device = coalesce(?2, device) AND position <= ?3 LIMIT ?4",
        )
        .map_err(sql)?;
    let device = device.map(DeviceId::get);
    let rows: Vec<(i64, Option<i64>)> = select
        .query_map(params![aci.as_bytes(), device, row_id(up_to), CLEARED_AT_ONCE], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .and_then(Iterator::collect)
        .map_err(sql)?;
    let mut released = Released::new();
    for (position, shared) in &rows {
        remove(connection, *position, *shared, &mut released).map_err(sql)?;
    }
    release(connection, released).map_err(sql)?;
    Ok(!rows.is_empty())
}

/// Forgets up to `limit` of the oldest envelopes up to that position.
pub(super) fn expire(connection: &Connection, up_to: Position, limit: usize) -> Result<Volume, StorageError> {
    expire_rows(connection, row_id(up_to), i64::try_from(limit.max(1)).unwrap_or(i64::MAX)).map_err(sql)
}

fn expire_rows(connection: &Connection, up_to: i64, limit: i64) -> rusqlite::Result<Volume> {
    // The last of the batch; all of them when there are fewer.
    let last: Option<i64> = connection
        .prepare_cached(
            "SELECT position FROM messages_queue WHERE position <= ?1 ORDER BY position LIMIT 1 OFFSET ?2",
        )?
        .query_row([up_to, limit - 1], |row| row.get(0))
        .optional()?;
    let end = last.unwrap_or(up_to);
    let volume = connection
        .prepare_cached("SELECT count(*), coalesce(sum(size), 0) FROM messages_queue WHERE position <= ?1")?
        .query_row([end], rows::volume)?;
    if volume.envelopes == 0 {
        return Ok(volume);
    }
    let released: Released = connection
        .prepare_cached(
            "SELECT shared, count(*) FROM messages_queue
             WHERE position <= ?1 AND shared IS NOT NULL GROUP BY shared",
        )?
        .query_map([end], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    connection.prepare_cached("DELETE FROM messages_queue WHERE position <= ?1")?.execute([end])?;
    release(connection, released)?;
    Ok(volume)
}

/// Lets go of shared ends, and forgets those that nothing ends in any more.
fn release(connection: &Connection, released: Released) -> rusqlite::Result<()> {
    if released.is_empty() {
        return Ok(());
    }
    let mut update =
        connection.prepare_cached("UPDATE messages_shared SET refs = refs - ?2 WHERE id = ?1")?;
    let mut forget = connection.prepare_cached("DELETE FROM messages_shared WHERE id = ?1 AND refs <= 0")?;
    for (id, count) in released {
        update.execute([id, count])?;
        forget.execute([id])?;
    }
    Ok(())
}
