//! Devices that have not been seen for long.

use std::time::Duration;

use async_trait::async_trait;
use auth::idle::{IdleStore, UnseenSince};
use protocol::{
    Aci, DeviceAddress, DeviceId,
    ambient::{StorageError, Timestamp},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{
    super::sql,
    SqliteAccounts, identities, linking, registration,
    rows::{Columns, integer},
};

#[async_trait]
impl IdleStore for SqliteAccounts {
    async fn begin_round(
        &self,
        at: Timestamp,
        away: Duration,
        grace: Duration,
    ) -> Result<bool, StorageError> {
        self.database.write(move |connection| begin_round(connection, at, away, grace)).await
    }

    async fn seen_at_once(&self, devices: Vec<DeviceAddress>, day: Timestamp) -> Result<(), StorageError> {
        self.database
            .write(move |connection| devices.into_iter().try_for_each(|device| seen(connection, device, day)))
            .await
    }

    async fn unseen_devices(
        &self,
        since: UnseenSince,
        limit: usize,
    ) -> Result<Vec<DeviceAddress>, StorageError> {
        self.database.read(move |connection| unseen_devices(connection, since, limit)).await
    }

    async fn remove_unseen_device(
        &self,
        device: DeviceAddress,
        since: UnseenSince,
        at: Timestamp,
    ) -> Result<bool, StorageError> {
        self.write_and_forget(move |connection, vault| {
            let unseen = |device, since| is_unseen(connection, device, since);
            let primary = DeviceAddress { device_id: DeviceId::PRIMARY, ..device };
            if !unseen(device, since.linked)? && !unseen(primary, since.primary)? {
                return Ok((false, Vec::new()));
            }
            let former = linking::remove_device(connection, vault, device, at)?.map(|found| found.account);
            Ok((former.is_some(), former.as_ref().map(identities).unwrap_or_default()))
        })
        .await
    }

    async fn unseen_accounts(&self, since: Timestamp, limit: usize) -> Result<Vec<Aci>, StorageError> {
        self.database.read(move |connection| unseen_accounts(connection, since, limit)).await
    }

    async fn delete_unseen_account(
        &self,
        aci: Aci,
        since: Timestamp,
        at: Timestamp,
    ) -> Result<bool, StorageError> {
        self.write_and_forget(move |connection, vault| {
            let primary = DeviceAddress { aci, device_id: DeviceId::PRIMARY };
            if !is_unseen(connection, primary, Some(since))? {
                return Ok((false, Vec::new()));
            }
            let deleted = registration::delete(connection, vault, aci, at)?;
            Ok((deleted.is_some(), deleted.as_ref().map(identities).unwrap_or_default()))
        })
        .await
    }
}

fn begin_round(
    connection: &Connection,
    at: Timestamp,
    away: Duration,
    grace: Duration,
) -> Result<bool, StorageError> {
    let now = integer(at.as_millis());
    let last: Option<(i64, i64)> = connection
        .prepare_cached("SELECT at, resume FROM auth_idle_rounds")
        .and_then(|mut select| select.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .map_err(sql)?;
    let resume = match last {
        Some((last, _)) if last.saturating_add(millis(away)) < now => now.saturating_add(millis(grace)),
        Some((_, resume)) => resume,
        None => now,
    };
    connection
        .prepare_cached("INSERT OR REPLACE INTO auth_idle_rounds (only, at, resume) VALUES (1, ?1, ?2)")
        .and_then(|mut insert| insert.execute([now, resume]))
        .map_err(sql)?;
    Ok(now >= resume)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Notes the day on which a device was seen, unless a later one is known.
pub(super) fn seen(
    connection: &Connection,
    device: DeviceAddress,
    day: Timestamp,
) -> Result<(), StorageError> {
    connection
        .prepare_cached(
            "UPDATE auth_devices SET last_seen = ?3
             WHERE account = (SELECT id FROM auth_accounts WHERE aci = ?1) AND device = ?2 AND last_seen < ?3",
        )
        .and_then(|mut update| {
            let day = integer(day.as_millis());
            update.execute(params![device.aci.0.as_bytes(), device.device_id.get(), day])
        })
        .map(drop)
        .map_err(sql)
}

fn is_unseen(
    connection: &Connection,
    device: DeviceAddress,
    since: Option<Timestamp>,
) -> Result<bool, StorageError> {
    let Some(since) = since else { return Ok(false) };
    let last_seen: Option<i64> = connection
        .prepare_cached(
            "SELECT last_seen FROM auth_devices
             WHERE account = (SELECT id FROM auth_accounts WHERE aci = ?1) AND device = ?2",
        )
        .and_then(|mut select| {
            let device = params![device.aci.0.as_bytes(), device.device_id.get()];
            select.query_row(device, |row| row.get(0)).optional()
        })
        .map_err(sql)?;
    Ok(last_seen.is_some_and(|last_seen| last_seen < integer(since.as_millis())))
}

fn unseen_devices(
    connection: &Connection,
    since: UnseenSince,
    limit: usize,
) -> Result<Vec<DeviceAddress>, StorageError> {
    let mut devices = Vec::new();
    for (query, since) in [
        (
            "SELECT aci, device FROM auth_devices JOIN auth_accounts ON id = account
             WHERE last_seen < ?1 AND device > 1 LIMIT ?2",
            since.linked,
        ),
        (
            "SELECT aci, linked.device AS device
             FROM auth_devices AS main JOIN auth_accounts ON id = main.account
                 JOIN auth_devices AS linked ON linked.account = main.account AND linked.device > 1
             WHERE main.last_seen < ?1 AND main.device = 1 LIMIT ?2",
            since.primary,
        ),
    ] {
        let Some(since) = since.filter(|_| devices.len() < limit) else { continue };
        let mut select = connection.prepare_cached(query).map_err(sql)?;
        let room = i64::try_from(limit - devices.len()).unwrap_or(i64::MAX);
        let mut rows = select.query(params![integer(since.as_millis()), room]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            devices.push(read_address(row)?);
        }
    }
    Ok(devices)
}

fn unseen_accounts(
    connection: &Connection,
    since: Timestamp,
    limit: usize,
) -> Result<Vec<Aci>, StorageError> {
    let mut select = connection
        .prepare_cached(
            "SELECT aci, device FROM auth_devices JOIN auth_accounts ON id = account
             WHERE last_seen < ?1 AND device = 1 AND number IS NOT NULL LIMIT ?2",
        )
        .map_err(sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = select.query(params![integer(since.as_millis()), limit]).map_err(sql)?;
    let mut accounts = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        accounts.push(read_address(row)?.aci);
    }
    Ok(accounts)
}

fn read_address(row: &Row<'_>) -> Result<DeviceAddress, StorageError> {
    let at = Columns { row, table: "auth_devices", name: "that was not seen".to_owned() };
    Ok(DeviceAddress {
        aci: Aci(at.read("aci", |bytes: Vec<u8>| Uuid::from_slice(&bytes).ok())?),
        device_id: at.read("device", |id: u32| DeviceId::try_from(id).ok())?,
    })
}
