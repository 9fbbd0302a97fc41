//! Giving up segments: those in which nothing lies any more, and those in which little does.
//!
//! Every so often each segment that is not written to is looked at. One that no row names is deleted. What is left in one
//! that is nearly empty moves into the rows themselves, so that a message nobody fetches for a month does not keep the
//! megabytes of its former neighbours.

use std::{ops::Bound, sync::Arc, time::Duration};

use protocol::ambient::StorageError;
use rusqlite::{Connection, params};
use tokio::time::Instant;

use super::{
    SqliteQueue, rows,
    segments::{Segments, Spot},
};
use crate::sqlite::sql;

/// How long to rest between looks: less than the expiry does, which asks for them.
const INTERVAL: Duration = Duration::from_secs(20);

/// How long a look may take. Of very many segments it sees some, and the next ones the next time.
const PATIENCE: Duration = Duration::from_secs(1);

/// A segment is emptied when what lies in it is less than this part of it.
const SPARSE: u64 = 4;

/// And when it has not been written to for so long: a backup that was begun before has all of it by then.
const SETTLED: Duration = Duration::from_hours(1);

/// Envelopes moved at once: some milliseconds of the writer's time.
const MOVED_AT_ONCE: i64 = 64;

/// How far the segments have been looked at.
#[derive(Default)]
pub(super) struct Progress {
    rested_since: Option<Instant>,
    /// The last one seen.
    seen: i64,
}

/// What lies in a segment.
struct Left {
    envelopes: i64,
    bytes: u64,
}

impl SqliteQueue {
    /// Looks at the segments, if it is time. What fails is tried again the next time.
    pub(super) async fn tidy(&self) {
        if self.tidied.lock().rested_since.is_some_and(|since| since.elapsed() < INTERVAL) {
            return;
        }
        if let Err(error) = self.look().await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the segments of the message queues were not tidied");
        }
        self.tidied.lock().rested_since = Some(Instant::now());
    }

    async fn look(&self) -> Result<(), StorageError> {
        let began = Instant::now();
        let segments = Arc::clone(&self.segments);
        let finished = tokio::task::spawn_blocking(move || segments.finished());
        let finished =
            finished.await.map_err(StorageError::unavailable)?.map_err(StorageError::unavailable)?;
        let seen = self.tidied.lock().seen;
        let not_seen = finished.range((Bound::Excluded(seen), Bound::Unbounded));
        for &segment in not_seen.chain(finished.range(..=seen)) {
            if began.elapsed() > PATIENCE {
                break;
            }
            self.tidy_one(segment).await?;
            self.tidied.lock().seen = segment;
        }
        self.forget_removed().await
    }

    async fn tidy_one(&self, segment: i64) -> Result<(), StorageError> {
        let left = self.database.read(move |connection| left(connection, segment)).await?;
        if left.envelopes > 0 {
            let (bytes, age) = self.segments.measure(segment).map_err(StorageError::unavailable)?;
            if left.bytes > bytes / SPARSE || age < SETTLED {
                return Ok(());
            }
            let move_some = |segments: Arc<Segments>| move |c: &Connection| move_some(c, &segments, segment);
            while self.database.write(move_some(Arc::clone(&self.segments))).await? {}
        }
        // The file first: on a full disk nothing can be written before there is room again.
        self.segments.remove(segment).map_err(StorageError::unavailable)
    }

    /// Forgets the segments that have been removed. One that was lost is remembered as long as rows name it.
    async fn forget_removed(&self) -> Result<(), StorageError> {
        for segment in self.database.read(noted).await? {
            if self.segments.is_there(segment) {
                continue;
            }
            let left = self.database.read(move |connection| left(connection, segment)).await?;
            if left.envelopes == 0 {
                self.database.write(move |connection| forget(connection, segment)).await?;
            }
        }
        Ok(())
    }
}

/// The highest number that a segment bears; its file may be lost.
pub(super) fn highest(connection: &Connection) -> Result<i64, StorageError> {
    connection
        .query_row("SELECT coalesce(max(id), 0) FROM messages_segments", [], |row| row.get(0))
        .map_err(sql)
}

fn noted(connection: &Connection) -> Result<Vec<i64>, StorageError> {
    let mut select = connection.prepare_cached("SELECT id FROM messages_segments").map_err(sql)?;
    select.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(sql)
}

fn left(connection: &Connection, segment: i64) -> Result<Left, StorageError> {
    connection
        .prepare_cached(
            "SELECT count(queue.position), coalesce(sum(queue.length), 0)
             FROM messages_segments JOIN messages_queue AS queue ON queue.position BETWEEN first AND last
             WHERE id = ?1 AND queue.segment = ?1",
        )
        .and_then(|mut select| {
            select.query_row([segment], |row| {
                let bytes: i64 = row.get(1)?;
                Ok(Left { envelopes: row.get(0)?, bytes: bytes.unsigned_abs() })
            })
        })
        .map_err(sql)
}

/// Moves some of what lies in a segment into its rows; says whether there may be more.
fn move_some(connection: &Connection, segments: &Segments, segment: i64) -> Result<bool, StorageError> {
    let some: Vec<(i64, Option<Spot>)> = connection
        .prepare_cached(
            "SELECT position, segment, at, length FROM messages_queue
             WHERE segment = ?1 AND position BETWEEN (SELECT first FROM messages_segments WHERE id = ?1)
                                                 AND (SELECT last FROM messages_segments WHERE id = ?1) LIMIT ?2",
        )
        .and_then(|mut select| {
            let rows = select
                .query_map(params![segment, MOVED_AT_ONCE], |row| Ok((row.get(0)?, rows::spot(row, 1)?)))?;
            rows.collect()
        })
        .map_err(sql)?;
    let mut update = connection
        .prepare_cached(
            "UPDATE messages_queue SET envelope = ?2, segment = NULL, at = NULL, length = NULL WHERE position = ?1",
        )
        .map_err(sql)?;
    for (position, spot) in &some {
        let Some(spot) = spot else { continue };
        let sealed = segments.read(*spot).map_err(StorageError::unavailable)?;
        update.execute(params![position, &sealed[..]]).map_err(sql)?;
    }
    Ok(!some.is_empty())
}

fn forget(connection: &Connection, segment: i64) -> Result<(), StorageError> {
    connection
        .prepare_cached("DELETE FROM messages_segments WHERE id = ?1")
        .and_then(|mut delete| delete.execute([segment]))
        .map(drop)
        .map_err(sql)
}
