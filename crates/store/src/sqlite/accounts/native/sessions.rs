//! Sessions and their refresh tokens.

use auth::{
    Authenticated,
    native::{
        SessionId,
        session::{LiveSession, NewSession, SessionInfo},
        store::{RotateOutcome, Rotation},
    },
};
use protocol::{
    Aci, DeviceAddress, DeviceId, Pni,
    ambient::{StorageError, Timestamp},
};
use rusqlite::{Connection, params};
use uuid::Uuid;
use vault::Vault;

use super::{
    super::{
        super::sql,
        rows::{Columns, integer},
    },
    opening,
};

const TABLE: &str = "auth_native_sessions";

/// Sessions removed at once, so that the writer is not held for long.
const REMOVED_AT_ONCE: u32 = 1000;

/// Adds a session of that device, which must have none.
pub(super) fn insert(
    connection: &Connection,
    account: i64,
    device: DeviceId,
    new: &NewSession,
) -> Result<(), StorageError> {
    connection
        .prepare_cached(
            "INSERT INTO auth_native_sessions
                 (session, family, token, account, device, created, last_used, expires, ends)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                new.id.as_bytes(),
                new.family.as_bytes(),
                new.token.as_bytes(),
                account,
                device.get(),
                integer(new.at.as_millis()),
                integer(new.expires.as_millis()),
                integer(new.ends.as_millis()),
            ])
        })
        .map(drop)
        .map_err(sql)
}

/// What is asked of a session for every request: one look-up.
pub(super) fn live(
    connection: &Connection,
    id: SessionId,
    now: Timestamp,
) -> Result<Option<LiveSession>, StorageError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT aci, pni, device, expires, keyless
             FROM auth_native_sessions JOIN auth_native_devices USING (account, device)
                 JOIN auth_accounts ON auth_accounts.id = account
             WHERE session = ?1 AND expires > ?2",
        )
        .map_err(sql)?;
    let mut rows = statement.query(params![id.as_bytes(), integer(now.as_millis())]).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else { return Ok(None) };
    let at = Columns { row, table: TABLE, name: "of a session".to_owned() };
    let DeviceAddress { aci, device_id } = address(&at)?;
    let pni = at.maybe("pni", |bytes: Vec<u8>| Uuid::from_slice(&bytes).ok())?.map(Pni);
    Ok(Some(LiveSession {
        device: Authenticated { aci, device_id, pni },
        expires: moment(&at, "expires")?,
        keyless: at.read("keyless", Some)?,
    }))
}

/// Trades one token for the next, or ends the session if the token is not its present one.
pub(super) fn rotate(connection: &Connection, rotation: &Rotation) -> Result<RotateOutcome, StorageError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT auth_native_sessions.id AS id, session, token, ends, aci, device, account
             FROM auth_native_sessions JOIN auth_accounts ON auth_accounts.id = account
             WHERE family = ?1 AND expires > ?2",
        )
        .map_err(sql)?;
    let now = integer(rotation.at.as_millis());
    let mut rows = statement.query(params![rotation.family.as_bytes(), now]).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else { return Ok(RotateOutcome::Unknown) };
    let (id, account): (i64, i64) = (row.get("id").map_err(sql)?, row.get("account").map_err(sql)?);
    let at = Columns { row, table: TABLE, name: id.to_string() };
    let (device, session) = (address(&at)?, session_id(&at)?);
    let presented_is_present =
        at.read("token", |stored: Vec<u8>| Some(rotation.presented.matches(&stored)))?;
    if !presented_is_present {
        connection
            .prepare_cached("DELETE FROM auth_native_sessions WHERE id = ?1")
            .and_then(|mut statement| statement.execute([id]))
            .map_err(sql)?;
        return Ok(RotateOutcome::Reused { device, session });
    }
    let expires = rotation.expires.min(moment(&at, "ends")?);
    connection
        .prepare_cached(
            "UPDATE auth_native_sessions SET token = ?2, last_used = ?3, expires = ?4 WHERE id = ?1",
        )
        .and_then(|mut statement| {
            statement.execute(params![id, rotation.next.as_bytes(), now, integer(expires.as_millis())])
        })
        .map_err(sql)?;
    opening::note_seen(connection, account, device.device_id, rotation.day)?;
    Ok(RotateOutcome::Rotated { device, session, expires })
}

/// The sessions of an account that are not over, the longest first.
pub(super) fn of_account(
    connection: &Connection,
    vault: &Vault,
    aci: Aci,
    now: Timestamp,
) -> Result<Vec<SessionInfo>, StorageError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT session, device, label, created, last_used, expires
             FROM auth_native_sessions JOIN auth_native_devices USING (account, device)
             WHERE account = (SELECT id FROM auth_accounts WHERE aci = ?1) AND expires > ?2
             ORDER BY created, device",
        )
        .map_err(sql)?;
    let mut rows = statement.query(params![aci.0.as_bytes(), integer(now.as_millis())]).map_err(sql)?;
    let mut sessions = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        let at = Columns { row, table: TABLE, name: "of an account".to_owned() };
        let device_id = device_id(&at)?;
        sessions.push(SessionInfo {
            id: session_id(&at)?,
            device_id,
            label: at
                .maybe("label", |sealed: Vec<u8>| opening::open_label(vault, aci, device_id, &sealed))?,
            created: moment(&at, "created")?,
            last_used: moment(&at, "last_used")?,
            expires: moment(&at, "expires")?,
        });
    }
    Ok(sessions)
}

/// Ends one session of that account.
pub(super) fn end(
    connection: &Connection,
    Aci(aci): Aci,
    id: SessionId,
) -> Result<Option<DeviceId>, StorageError> {
    let ended = ended(
        connection,
        "DELETE FROM auth_native_sessions
         WHERE account = (SELECT id FROM auth_accounts WHERE aci = ?1) AND session = ?2
         RETURNING device",
        params![aci.as_bytes(), id.as_bytes()],
    )?;
    Ok(ended.into_iter().next())
}

/// Ends every session of that account but one.
pub(super) fn end_all(
    connection: &Connection,
    Aci(aci): Aci,
    except: Option<SessionId>,
) -> Result<Vec<DeviceId>, StorageError> {
    ended(
        connection,
        "DELETE FROM auth_native_sessions
         WHERE account = (SELECT id FROM auth_accounts WHERE aci = ?1) AND session IS NOT ?2
         RETURNING device",
        params![aci.as_bytes(), except.as_ref().map(SessionId::as_bytes)],
    )
}

/// Ends the session of that device, if it has one.
pub(super) fn end_of_device(
    connection: &Connection,
    account: i64,
    device: DeviceId,
) -> Result<(), StorageError> {
    connection
        .prepare_cached("DELETE FROM auth_native_sessions WHERE account = ?1 AND device = ?2")
        .and_then(|mut statement| statement.execute(params![account, device.get()]))
        .map(drop)
        .map_err(sql)
}

/// Removes sessions that are over, some at once.
pub(super) fn remove_expired(connection: &Connection, now: Timestamp) -> Result<usize, StorageError> {
    connection
        .prepare_cached(
            "DELETE FROM auth_native_sessions WHERE id IN
                 (SELECT id FROM auth_native_sessions WHERE expires <= ?1 LIMIT ?2)",
        )
        .and_then(|mut statement| statement.execute(params![integer(now.as_millis()), REMOVED_AT_ONCE]))
        .map_err(sql)
}

fn ended(
    connection: &Connection,
    statement: &str,
    parameters: &[&dyn rusqlite::ToSql],
) -> Result<Vec<DeviceId>, StorageError> {
    let mut statement = connection.prepare_cached(statement).map_err(sql)?;
    let mut rows = statement.query(parameters).map_err(sql)?;
    let mut devices = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        devices.push(device_id(&Columns { row, table: TABLE, name: "of an account".to_owned() })?);
    }
    Ok(devices)
}

pub(super) fn address(at: &Columns<'_>) -> Result<DeviceAddress, StorageError> {
    let aci = Aci(at.read("aci", |bytes: Vec<u8>| Uuid::from_slice(&bytes).ok())?);
    Ok(DeviceAddress { aci, device_id: device_id(at)? })
}

fn device_id(at: &Columns<'_>) -> Result<DeviceId, StorageError> {
    at.read("device", |id: u32| DeviceId::try_from(id).ok())
}

fn session_id(at: &Columns<'_>) -> Result<SessionId, StorageError> {
    at.read("session", |bytes: Vec<u8>| SessionId::from_bytes(&bytes))
}

fn moment(at: &Columns<'_>, column: &'static str) -> Result<Timestamp, StorageError> {
    at.read(column, |millis: i64| millis.try_into().ok().map(Timestamp::from_millis))
}
