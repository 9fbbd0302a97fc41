//! Which devices were woken for what waits for them, beside their queues.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use protocol::{
    Aci, DeviceAddress, DeviceId,
    ambient::{StorageError, Timestamp},
};
use push::{Unwoken, WakeLog};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::{Database, sql};

/// Wake-ups noted in one [`Database`], that of the message queues.
#[derive(Clone)]
pub struct SqliteWakeLog {
    database: Arc<Database>,
}

impl SqliteWakeLog {
    /// The wake-ups noted in that file.
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

#[async_trait]
impl WakeLog for SqliteWakeLog {
    async fn unwoken(&self, after: Option<DeviceAddress>, limit: usize) -> Result<Unwoken, StorageError> {
        self.database.read(move |connection| unwoken(connection, after, limit)).await
    }

    async fn note(&self, woken: Vec<(DeviceAddress, Timestamp)>) -> Result<(), StorageError> {
        self.database
            .write(move |connection| {
                let mut insert = connection
                    .prepare_cached(
                        "INSERT INTO push_woken (aci, device, woken) VALUES (?1, ?2, ?3)
                         ON CONFLICT (aci, device) DO UPDATE SET woken = max(woken, excluded.woken)",
                    )
                    .map_err(sql)?;
                for (DeviceAddress { aci: Aci(aci), device_id }, at) in woken {
                    insert.execute(params![aci.as_bytes(), device_id.get(), millis(at)]).map_err(sql)?;
                }
                Ok(())
            })
            .await
    }

    async fn forget_before(&self, moment: Timestamp, limit: usize) -> Result<usize, StorageError> {
        self.database
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "DELETE FROM push_woken WHERE (aci, device) IN
                             (SELECT aci, device FROM push_woken WHERE woken < ?1 LIMIT ?2)",
                    )
                    .and_then(|mut delete| {
                        delete.execute(params![millis(moment), i64::try_from(limit).unwrap_or(i64::MAX)])
                    })
                    .map_err(sql)
            })
            .await
    }
}

/// From device to device along the index of the queues, however long each queue is.
fn unwoken(
    connection: &Connection,
    after: Option<DeviceAddress>,
    limit: usize,
) -> Result<Unwoken, StorageError> {
    let mut next = connection
        .prepare_cached(
            "SELECT aci, device FROM messages_queue WHERE (aci, device) > (?1, ?2)
             ORDER BY aci, device LIMIT 1",
        )
        .map_err(sql)?;
    let mut is_unwoken = connection
        .prepare_cached(
            "SELECT (SELECT max(position) / 1000 FROM messages_queue WHERE aci = ?1 AND device = ?2)
                 > coalesce((SELECT woken FROM push_woken WHERE aci = ?1 AND device = ?2), -1)",
        )
        .map_err(sql)?;
    let (mut found, mut at) = (Unwoken::default(), after);
    for _ in 0..limit {
        let (aci, device) = at.map_or((Vec::new(), 0), |DeviceAddress { aci: Aci(aci), device_id }| {
            (aci.as_bytes().to_vec(), device_id.get())
        });
        let row = next
            .query_row(params![aci, device], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, u32>(1)?)))
            .optional()
            .map_err(sql)?;
        let Some((aci, device)) = row else { return Ok(Unwoken { next: None, ..found }) };
        let address = address(&aci, device).ok_or_else(corrupt)?;
        if is_unwoken.query_row(params![aci, device], |row| row.get(0)).map_err(sql)? {
            found.devices.push(address);
        }
        at = Some(address);
    }
    Ok(Unwoken { next: at, ..found })
}

fn address(aci: &[u8], device: u32) -> Option<DeviceAddress> {
    Some(DeviceAddress { aci: Aci(Uuid::from_slice(aci).ok()?), device_id: DeviceId::try_from(device).ok()? })
}

fn corrupt() -> StorageError {
    StorageError::Corrupt { table: "messages_queue", column: "device", row: "the next".to_owned() }
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Debug for SqliteWakeLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteWakeLog").finish_non_exhaustive()
    }
}
