//! Accounts, devices and sessions beginning: each of these is one transaction.

use ::keys::{KeySlot, KeyUpload};
use auth::{
    Account, Authenticated,
    account::AccountVersion,
    native::{
        DeviceLabel,
        store::{NewNativeAccount, NewNativeDevice, OpenSession, OpenSessionOutcome, RegisterNativeOutcome},
    },
    store::IdentityKeys,
};
use protocol::{
    Aci, DeviceId, RegistrationId, ServiceId, UnidentifiedAccess,
    ambient::{StorageError, Timestamp},
};
use rusqlite::{Connection, OptionalExtension, params};
use vault::{Place, Vault};

use super::{
    super::{
        super::{admission, keys, profiles, sql},
        factors::has_factor,
        linking, queue_clears,
        rows::{self, Found, integer},
    },
    emails, logins, sessions,
};

const LABEL: &str = "auth_native_devices.label";

/// Writes account, login, device, session and profile.
pub(super) fn register(
    connection: &Connection,
    vault: &Vault,
    new: &NewNativeAccount,
) -> Result<RegisterNativeOutcome, StorageError> {
    if logins::is_taken(connection, vault, &new.username)? {
        return Ok(RegisterNativeOutcome::UsernameTaken);
    }
    if let Some(email) = &new.email
        && !emails::may_begin_with(connection, vault, email)?
    {
        return Ok(RegisterNativeOutcome::NotProved);
    }
    if !admission::settle(connection, new.admitted, new.aci, new.session.at)? {
        return Ok(RegisterNativeOutcome::NotAdmitted);
    }
    let account = Account {
        aci: new.aci,
        identity_key: new.keys.as_ref().map(|keys| keys.identity_key),
        number: None,
        unidentified_access: UnidentifiedAccess::default(),
        discoverable: false,
        registration_lock: None,
        devices: Vec::new(),
        version: AccountVersion(new.session.at.as_millis()),
    };
    let row = rows::write_account(connection, vault, &account, None)?;
    logins::insert(connection, vault, row, new.aci, &new.username, &new.password)?;
    if let Some(email) = &new.email {
        emails::begin_with(connection, vault, row, new.aci, email)?;
    }
    profiles::insert(connection, vault, new.aci, new.username.as_str())?;
    insert_device(connection, vault, row, new.aci, &new.device, new.keys.is_none())?;
    if let Some(keys) = &new.keys {
        put_keys(connection, new.aci, new.device.device.id, keys)?;
    }
    sessions::insert(connection, row, new.device.device.id, &new.session)?;
    Ok(RegisterNativeOutcome::Registered)
}

/// Opens a session of a device that the account knows, or of one that joins it.
pub(super) fn open(
    connection: &Connection,
    vault: &Vault,
    new: &OpenSession,
) -> Result<OpenSessionOutcome, StorageError> {
    let Some(found) = rows::account(connection, vault, ServiceId::Aci(new.aci))? else {
        return Ok(OpenSessionOutcome::Outdated);
    };
    let is_asked = !new.factor_shown && has_factor(connection, found.id)?;
    if is_asked || !has_login_of(connection, found.id, new.login_version)? {
        return Ok(OpenSessionOutcome::Outdated);
    }
    let identifier = logins::identifier_index(vault, new.aci, &new.device.identifier);
    let (device_id, registration_id, joined) = match known_device(connection, &found, &identifier)? {
        Some((device_id, registration_id)) => {
            sessions::end_of_device(connection, found.id, device_id)?;
            note_seen(connection, found.id, device_id, new.device.device.last_seen)?;
            (device_id, registration_id, false)
        }
        None => match join(connection, vault, &found, new)? {
            Some(device_id) => (device_id, new.device.device.registration_id, true),
            None => return Ok(OpenSessionOutcome::TooManyDevices),
        },
    };
    sessions::insert(connection, found.id, device_id, &new.session)?;
    let device = Authenticated { aci: new.aci, device_id, pni: found.account.pni() };
    Ok(OpenSessionOutcome::Opened { device, registration_id, joined })
}

fn has_login_of(connection: &Connection, row: i64, version: u64) -> Result<bool, StorageError> {
    connection
        .prepare_cached("SELECT 1 FROM auth_logins WHERE account = ?1 AND version = ?2")
        .and_then(|mut statement| statement.exists(params![row, integer(version)]))
        .map_err(sql)
}

fn known_device(
    connection: &Connection,
    found: &Found,
    identifier: &[u8; 32],
) -> Result<Option<(DeviceId, RegistrationId)>, StorageError> {
    let id: Option<u32> = connection
        .prepare_cached("SELECT device FROM auth_native_devices WHERE account = ?1 AND identifier_index = ?2")
        .and_then(|mut statement| {
            statement.query_row(params![found.id, identifier], |row| row.get(0)).optional()
        })
        .map_err(sql)?;
    let device = id.and_then(|id| DeviceId::try_from(id).ok()).and_then(|id| found.account.device(id));
    Ok(device.map(|device| (device.id, device.registration_id)))
}

/// Adds a device under the lowest free id, if there is room.
fn join(
    connection: &Connection,
    vault: &Vault,
    found: &Found,
    new: &OpenSession,
) -> Result<Option<DeviceId>, StorageError> {
    let mut ids = (1..=u32::from(DeviceId::MAX)).filter_map(|id| DeviceId::try_from(id).ok());
    let free = ids.find(|id| found.account.device(*id).is_none());
    let Some(id) = free.filter(|_| found.account.devices.len() < new.devices_max) else { return Ok(None) };
    let mut device = new.device.clone();
    device.device.id = id;
    // Nothing of a former device of that id meets this one.
    keys::remove(connection, new.aci.0, Some(id))?;
    queue_clears::record(
        connection,
        auth::revocation::QueueClear { aci: new.aci, device: Some(id), cutoff: new.session.at },
    )?;
    insert_device(connection, vault, found.id, new.aci, &device, true)?;
    linking::count_change(connection, found)?;
    Ok(Some(id))
}

fn insert_device(
    connection: &Connection,
    vault: &Vault,
    row: i64,
    aci: Aci,
    new: &NewNativeDevice,
    keyless: bool,
) -> Result<(), StorageError> {
    rows::insert_device(connection, vault, row, aci, &new.device)?;
    let id = new.device.id;
    let label = new.label.as_ref().map(|label| seal_label(vault, aci, id, label));
    connection
        .prepare_cached(
            "INSERT INTO auth_native_devices (account, device, identifier_index, label, keyless)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut statement| {
            let identifier = logins::identifier_index(vault, aci, &new.identifier);
            statement.execute(params![row, id.get(), identifier, label, keyless])
        })
        .map(drop)
        .map_err(sql)
}

pub(super) fn seal_label(vault: &Vault, aci: Aci, device: DeviceId, label: &DeviceLabel) -> Vec<u8> {
    vault.seal(Place { column: LABEL, row: &rows::device_name(aci, device) }, label.as_str().as_bytes())
}

/// Reads what [`seal_label`] has sealed.
pub(super) fn open_label(vault: &Vault, aci: Aci, device: DeviceId, sealed: &[u8]) -> Option<DeviceLabel> {
    let plain = vault.open(Place { column: LABEL, row: &rows::device_name(aci, device) }, sealed).ok()?;
    DeviceLabel::new(std::str::from_utf8(&plain).ok()?.to_owned())
}

/// Writes the keys with which a device begins.
pub(super) fn put_keys(
    connection: &Connection,
    aci: Aci,
    device: DeviceId,
    keys: &IdentityKeys,
) -> Result<(), StorageError> {
    let upload = KeyUpload {
        signed: Some(keys.signed_pre_key.clone()),
        last_resort: Some(keys.last_resort_pre_key.clone()),
        ..KeyUpload::default()
    };
    keys::put(connection, KeySlot { identity: aci.0, device }, &upload)
}

pub(super) fn note_seen(
    connection: &Connection,
    row: i64,
    device: DeviceId,
    day: Timestamp,
) -> Result<(), StorageError> {
    connection
        .prepare_cached(
            "UPDATE auth_devices SET last_seen = max(last_seen, ?3) WHERE account = ?1 AND device = ?2",
        )
        .and_then(|mut statement| statement.execute(params![row, device.get(), integer(day.as_millis())]))
        .map(drop)
        .map_err(sql)
}
