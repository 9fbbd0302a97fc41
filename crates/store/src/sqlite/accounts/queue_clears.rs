//! Queues that are still to be cleared, recorded with what makes it necessary.

use auth::revocation::QueueClear;
use protocol::{
    Aci, DeviceId,
    ambient::{StorageError, Timestamp},
};
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{
    super::sql,
    rows::{Columns, integer},
};

/// Stands for all devices of an account.
const ALL_DEVICES: u8 = 0;

/// The queues that are still to be cleared, oldest first.
pub(super) fn pending(connection: &Connection, limit: usize) -> Result<Vec<QueueClear>, StorageError> {
    let mut statement = connection
        .prepare_cached("SELECT aci, device, cutoff FROM auth_queue_clears ORDER BY cutoff LIMIT ?1")
        .map_err(sql)?;
    let mut rows = statement.query([i64::try_from(limit).unwrap_or(i64::MAX)]).map_err(sql)?;
    let mut clears = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        let at = Columns { row, table: "auth_queue_clears", name: "of an account".to_owned() };
        clears.push(QueueClear {
            aci: Aci(at.read("aci", |bytes: Vec<u8>| Uuid::from_slice(&bytes).ok())?),
            device: at.read("device", |device: u32| match device {
                0 => Some(None),
                device => DeviceId::try_from(device).ok().map(Some),
            })?,
            cutoff: at.read("cutoff", |at: i64| at.try_into().ok().map(Timestamp::from_millis))?,
        });
    }
    Ok(clears)
}

/// Adds one. Of two for the same devices the later includes the other.
pub(super) fn record(connection: &Connection, clear: QueueClear) -> Result<(), StorageError> {
    run(
        connection,
        "INSERT INTO auth_queue_clears (aci, device, cutoff) VALUES (?1, ?2, ?3)
         ON CONFLICT (aci, device) DO UPDATE SET cutoff = max(cutoff, excluded.cutoff)",
        clear,
    )
}

/// Forgets one, unless there is a later one for the same devices by now.
pub(super) fn forget(connection: &Connection, clear: QueueClear) -> Result<(), StorageError> {
    run(connection, "DELETE FROM auth_queue_clears WHERE aci = ?1 AND device = ?2 AND cutoff <= ?3", clear)
}

fn run(connection: &Connection, statement: &str, clear: QueueClear) -> Result<(), StorageError> {
    let device = clear.device.map_or(ALL_DEVICES, DeviceId::get);
    connection
        .prepare_cached(statement)
        .and_then(|mut statement| {
            statement.execute(params![clear.aci.0.as_bytes(), device, integer(clear.cutoff.as_millis())])
        })
        .map(drop)
        .map_err(sql)
}
