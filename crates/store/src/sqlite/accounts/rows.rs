//! Accounts and devices as rows: reading, writing, sealing.

use auth::{
    Account, Device,
    account::{AccountVersion, NumberIdentity},
    capabilities::Capabilities,
    device::{Agent, Credential, DeviceName, PushService, PushToken},
    secrets::SaltedHash,
};
use protocol::{
    AccessKey, Aci, DeviceId, PhoneNumber, Pni, RegistrationId, ServiceId, UnidentifiedAccess,
    ambient::{StorageError, Timestamp},
    keys::EcPublicKey,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;
use vault::{Place, Vault};

use super::super::sql;

const NUMBER: &str = "auth_accounts.number";
const ACCESS_KEY: &str = "auth_accounts.access_key";
const PUSH_TOKEN: &str = "auth_devices.push_token";

/// An account and the number of its row.
pub(super) struct Found {
    pub(super) id: i64,
    pub(super) account: Account,
}

/// Reads an account with its devices.
pub(super) fn account(
    connection: &Connection,
    vault: &Vault,
    id: ServiceId,
) -> Result<Option<Found>, StorageError> {
    let query = match id {
        ServiceId::Aci(_) => concat!(account_columns!(), "WHERE aci = ?1"),
        ServiceId::Pni(_) => concat!(account_columns!(), "WHERE pni = ?1"),
    };
    let mut statement = connection.prepare_cached(query).map_err(sql)?;
    let mut rows = statement.query([id.uuid().as_bytes()]).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else { return Ok(None) };
    let (id, mut account) = read_account(row, vault)?;
    account.devices = devices(connection, vault, id, account.aci)?;
    Ok(Some(Found { id, account }))
}

/// The row of an account, if it exists.
pub(super) fn account_row(connection: &Connection, Aci(aci): Aci) -> Result<Option<i64>, StorageError> {
    connection
        .prepare_cached("SELECT id FROM auth_accounts WHERE aci = ?1")
        .and_then(|mut statement| statement.query_row([aci.as_bytes()], |row| row.get(0)).optional())
        .map_err(sql)
}

/// Writes an account, over the one of the same ACI if there is one, and answers its row. Its devices are
/// not touched.
pub(super) fn write_account(
    connection: &Connection,
    vault: &Vault,
    account: &Account,
    recovery_password: Option<&SaltedHash>,
) -> Result<i64, StorageError> {
    let aci = account.aci.0.as_bytes();
    let number = account.number.as_ref();
    let sealed_number = number.map(|number| seal_number(vault, account.aci, &number.number));
    connection
        .prepare_cached(
            "INSERT INTO auth_accounts (aci, version, identity_key, pni, pni_identity_key, number, access_key,
                 unrestricted_access, discoverable, registration_lock, recovery_password)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (aci) DO UPDATE SET
                 version = excluded.version, identity_key = excluded.identity_key, pni = excluded.pni,
                 pni_identity_key = excluded.pni_identity_key, number = excluded.number,
                 access_key = excluded.access_key, unrestricted_access = excluded.unrestricted_access,
                 discoverable = excluded.discoverable, registration_lock = excluded.registration_lock,
                 recovery_password = coalesce(excluded.recovery_password, recovery_password)
             RETURNING id",
        )
        .and_then(|mut statement| {
            statement.query_row(
                params![
                    aci,
                    integer(account.version.0),
                    account.identity_key.as_ref().map(EcPublicKey::as_bytes),
                    number.map(|n| n.pni.0.into_bytes()),
                    number.map(|n| n.identity_key.as_bytes()),
                    sealed_number,
                    seal_access_key(vault, account.aci, account.unidentified_access.key.as_ref()),
                    account.unidentified_access.unrestricted,
                    account.discoverable,
                    account.registration_lock.map(|hash| hash.to_bytes()),
                    recovery_password.map(SaltedHash::to_bytes),
                ],
                |row| row.get(0),
            )
        })
        .map_err(sql)
}

/// Adds a device to the account of that row.
pub(super) fn insert_device(
    connection: &Connection,
    vault: &Vault,
    row: i64,
    aci: Aci,
    device: &Device,
) -> Result<(), StorageError> {
    connection
        .prepare_cached(
            "INSERT INTO auth_devices (account, device, credential, locked, registration_id, pni_registration_id,
                 name, fetches_messages, push_token, capabilities, agent, created, last_seen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                row,
                device.id.get(),
                device.credential.hash.to_bytes(),
                device.credential.locked,
                device.registration_id.get(),
                device.pni_registration_id.map(RegistrationId::get),
                device.name.as_ref().map(DeviceName::as_bytes),
                device.fetches_messages,
                seal_push_token(vault, aci, device.id, device.push_token.as_ref()),
                device.capabilities.to_bits(),
                device.agent.as_ref().map(Agent::as_str),
                integer(device.created.as_millis()),
                integer(device.last_seen.as_millis()),
            ])
        })
        .map(drop)
        .map_err(sql)
}

pub(super) fn seal_number(vault: &Vault, aci: Aci, number: &PhoneNumber) -> Vec<u8> {
    vault.seal(Place { column: NUMBER, row: aci.0.as_bytes() }, number.as_str().as_bytes())
}

pub(super) fn seal_access_key(vault: &Vault, aci: Aci, key: Option<&AccessKey>) -> Option<Vec<u8>> {
    key.map(|key| vault.seal(Place { column: ACCESS_KEY, row: aci.0.as_bytes() }, key.as_bytes()))
}

pub(super) fn seal_push_token(
    vault: &Vault,
    aci: Aci,
    device: DeviceId,
    token: Option<&PushToken>,
) -> Option<Vec<u8>> {
    let token = token?;
    let service = match token.service() {
        PushService::Apns => b'a',
        PushService::Fcm => b'f',
        PushService::WebPush => b'w',
    };
    let plaintext = zeroize::Zeroizing::new([&[service], token.as_str().as_bytes()].concat());
    Some(vault.seal(Place { column: PUSH_TOKEN, row: &device_name(aci, device) }, &plaintext))
}

/// What binds a sealed column of a device to its row.
pub(super) fn device_name(aci: Aci, device: DeviceId) -> [u8; 17] {
    let mut name = [device.get(); 17];
    name[..16].copy_from_slice(aci.0.as_bytes());
    name
}

fn read_account(row: &Row<'_>, vault: &Vault) -> Result<(i64, Account), StorageError> {
    let id: i64 = row.get("id").map_err(sql)?;
    let at = Columns { row, table: "auth_accounts", name: id.to_string() };
    let aci = Aci(at.read("aci", |bytes: Vec<u8>| Uuid::from_slice(&bytes).ok())?);
    let place = |column| Place { column, row: aci.0.as_bytes() };
    let number = at.maybe("number", |sealed: Vec<u8>| {
        let plain = vault.open(place(NUMBER), &sealed).ok()?;
        std::str::from_utf8(&plain).ok()?.parse::<PhoneNumber>().ok()
    })?;
    let number = match number {
        None => None,
        Some(number) => Some(NumberIdentity {
            number,
            pni: Pni(at.read("pni", |bytes: Vec<u8>| Uuid::from_slice(&bytes).ok())?),
            identity_key: at
                .read("pni_identity_key", |bytes: Vec<u8>| EcPublicKey::try_from(&bytes[..]).ok())?,
        }),
    };
    let access_key = at.maybe("access_key", |sealed: Vec<u8>| {
        AccessKey::try_from(&vault.open(place(ACCESS_KEY), &sealed).ok()?[..]).ok()
    })?;
    let account = Account {
        aci,
        identity_key: at.maybe("identity_key", |bytes: Vec<u8>| EcPublicKey::try_from(&bytes[..]).ok())?,
        number,
        unidentified_access: UnidentifiedAccess {
            key: access_key,
            unrestricted: at.read("unrestricted_access", Some)?,
        },
        discoverable: at.read("discoverable", Some)?,
        registration_lock: at.maybe("registration_lock", |bytes: Vec<u8>| SaltedHash::from_bytes(&bytes))?,
        devices: Vec::new(),
        version: AccountVersion(at.read("version", |version: i64| version.try_into().ok())?),
    };
    Ok((id, account))
}

fn devices(
    connection: &Connection,
    vault: &Vault,
    account: i64,
    aci: Aci,
) -> Result<Vec<Device>, StorageError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT device, credential, locked, registration_id, pni_registration_id, name, fetches_messages,
                 push_token, capabilities, agent, created, last_seen
             FROM auth_devices WHERE account = ?1 ORDER BY device",
        )
        .map_err(sql)?;
    let mut rows = statement.query([account]).map_err(sql)?;
    let mut devices = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        devices.push(read_device(row, vault, account, aci)?);
    }
    Ok(devices)
}

fn read_device(row: &Row<'_>, vault: &Vault, account: i64, aci: Aci) -> Result<Device, StorageError> {
    let at = Columns { row, table: "auth_devices", name: account.to_string() };
    let registration_id = |id: u32| RegistrationId::try_from(id).ok();
    let time = |millis: i64| millis.try_into().ok().map(Timestamp::from_millis);
    let id = at.read("device", |id: u32| DeviceId::try_from(id).ok())?;
    Ok(Device {
        id,
        credential: Credential {
            hash: at.read("credential", |bytes: Vec<u8>| SaltedHash::from_bytes(&bytes))?,
            locked: at.read("locked", Some)?,
        },
        registration_id: at.read("registration_id", registration_id)?,
        pni_registration_id: at.maybe("pni_registration_id", registration_id)?,
        name: at.maybe("name", DeviceName::new)?,
        fetches_messages: at.read("fetches_messages", Some)?,
        push_token: at.maybe("push_token", |sealed: Vec<u8>| open_push_token(vault, aci, id, &sealed))?,
        capabilities: at.read("capabilities", |bits| Some(Capabilities::from_bits(bits)))?,
        agent: at.maybe("agent", |text: String| Some(Agent::new(&text)))?,
        created: at.read("created", time)?,
        last_seen: at.read("last_seen", time)?,
    })
}

pub(super) fn open_push_token(vault: &Vault, aci: Aci, device: DeviceId, sealed: &[u8]) -> Option<PushToken> {
    let plain = vault.open(Place { column: PUSH_TOKEN, row: &device_name(aci, device) }, sealed).ok()?;
    let (service, token) = plain.split_first()?;
    let service = match service {
        b'a' => PushService::Apns,
        b'f' => PushService::Fcm,
        b'w' => PushService::WebPush,
        _ => return None,
    };
    PushToken::new(service, std::str::from_utf8(token).ok()?.to_owned())
}

/// The columns of a row, read so that a value that cannot be is named.
pub(super) struct Columns<'a> {
    pub(super) row: &'a Row<'a>,
    pub(super) table: &'static str,
    /// What names the row in an error.
    pub(super) name: String,
}

impl Columns<'_> {
    /// Reads a column that always has a value.
    pub(super) fn read<S: rusqlite::types::FromSql, T>(
        &self,
        column: &'static str,
        convert: impl FnOnce(S) -> Option<T>,
    ) -> Result<T, StorageError> {
        self.maybe(column, convert)?.ok_or_else(|| self.corrupt(column))
    }

    /// Reads a column that may be null.
    pub(super) fn maybe<S: rusqlite::types::FromSql, T>(
        &self,
        column: &'static str,
        convert: impl FnOnce(S) -> Option<T>,
    ) -> Result<Option<T>, StorageError> {
        match self.row.get::<_, Option<S>>(column) {
            Ok(None) => Ok(None),
            Ok(Some(stored)) => convert(stored).map(Some).ok_or_else(|| self.corrupt(column)),
            Err(_) => Err(self.corrupt(column)),
        }
    }

    fn corrupt(&self, column: &'static str) -> StorageError {
        StorageError::Corrupt { table: self.table, column, row: self.name.clone() }
    }
}

/// The engine's integers are signed; times and versions stay far below where that matters.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

macro_rules! account_columns {
    () => {
        "SELECT id, aci, version, identity_key, pni, pni_identity_key, number, access_key, unrestricted_access,
             discoverable, registration_lock
         FROM auth_accounts "
    };
}
use account_columns;
