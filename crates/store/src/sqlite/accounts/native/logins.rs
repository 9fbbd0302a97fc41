//! Names and passwords.

use auth::native::{DeviceIdentifier, Username, hashing::PasswordHash, store::StoredLogin};
use protocol::{Aci, ambient::StorageError};
use rusqlite::{Connection, Row, params};
use uuid::Uuid;
use vault::{Place, Vault};

use super::super::{
    super::sql,
    rows::{Columns, integer},
};

const USERNAME: &str = "auth_logins.username";
const PASSWORD: &str = "auth_logins.password";

/// The keyed hash by which a name is found.
pub(super) fn username_index(vault: &Vault, username: &Username) -> [u8; 32] {
    vault.index("auth.username", username.as_str().as_bytes())
}

/// The keyed hash by which an account knows a device again.
pub(super) fn identifier_index(vault: &Vault, aci: Aci, identifier: &DeviceIdentifier) -> [u8; 32] {
    vault.index("auth.device_identifier", &[aci.0.as_bytes(), identifier.as_bytes()].concat())
}

/// Whether somebody has that name.
pub(super) fn is_taken(
    connection: &Connection,
    vault: &Vault,
    username: &Username,
) -> Result<bool, StorageError> {
    connection
        .prepare_cached("SELECT 1 FROM auth_logins WHERE username_index = ?1")
        .and_then(|mut statement| statement.exists([username_index(vault, username)]))
        .map_err(sql)
}

/// The account that has that name.
pub(super) fn account_named(
    connection: &Connection,
    vault: &Vault,
    username: &Username,
) -> Result<Option<Aci>, StorageError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT aci FROM auth_logins JOIN auth_accounts ON auth_accounts.id = account WHERE username_index = ?1",
        )
        .map_err(sql)?;
    let mut rows = statement.query([username_index(vault, username)]).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else { return Ok(None) };
    let at = Columns { row, table: "auth_accounts", name: "of a name".to_owned() };
    at.read("aci", |bytes: Vec<u8>| Uuid::from_slice(&bytes).ok()).map(|aci| Some(Aci(aci)))
}

/// Adds the login of the account of that row.
pub(super) fn insert(
    connection: &Connection,
    vault: &Vault,
    row: i64,
    aci: Aci,
    username: &Username,
    password: &PasswordHash,
) -> Result<(), StorageError> {
    let seal = |column, text: &str| vault.seal(Place { column, row: aci.0.as_bytes() }, text.as_bytes());
    connection
        .prepare_cached(
            "INSERT INTO auth_logins (account, username_index, username, password, version)
             VALUES (?1, ?2, ?3, ?4, 1)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                row,
                username_index(vault, username),
                seal(USERNAME, username.as_str()),
                seal(PASSWORD, password.as_str()),
            ])
        })
        .map(drop)
        .map_err(sql)
}

/// The login of that name, and whether the account knows that device.
pub(super) fn by_name(
    connection: &Connection,
    vault: &Vault,
    username: &Username,
    device: &DeviceIdentifier,
) -> Result<Option<StoredLogin>, StorageError> {
    let mut statement =
        connection.prepare_cached(concat!(login_columns!(), "WHERE username_index = ?1")).map_err(sql)?;
    let mut rows = statement.query([username_index(vault, username)]).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else { return Ok(None) };
    let mut login = read(row, vault)?;
    let account: i64 = row.get("account").map_err(sql)?;
    login.knows_device = connection
        .prepare_cached("SELECT 1 FROM auth_native_devices WHERE account = ?1 AND identifier_index = ?2")
        .and_then(|mut statement| {
            statement.exists(params![account, identifier_index(vault, login.aci, device)])
        })
        .map_err(sql)?;
    Ok(Some(login))
}

/// The login of that account.
pub(super) fn of_account(
    connection: &Connection,
    vault: &Vault,
    Aci(aci): Aci,
) -> Result<Option<StoredLogin>, StorageError> {
    let mut statement =
        connection.prepare_cached(concat!(login_columns!(), "WHERE aci = ?1")).map_err(sql)?;
    let mut rows = statement.query([aci.as_bytes()]).map_err(sql)?;
    rows.next().map_err(sql)?.map(|row| read(row, vault)).transpose()
}

/// Sets hash and version of the login of that account, if it is of the former version. Answers whether it was.
pub(super) fn set(
    connection: &Connection,
    vault: &Vault,
    aci: Aci,
    version: u64,
    new_version: u64,
    hash: &PasswordHash,
) -> Result<bool, StorageError> {
    let sealed = vault.seal(Place { column: PASSWORD, row: aci.0.as_bytes() }, hash.as_str().as_bytes());
    connection
        .prepare_cached(
            "UPDATE auth_logins SET password = ?3, version = ?4
             WHERE account = (SELECT id FROM auth_accounts WHERE aci = ?1) AND version = ?2",
        )
        .and_then(|mut statement| {
            statement.execute(params![aci.0.as_bytes(), integer(version), sealed, integer(new_version)])
        })
        .map(|changed| changed > 0)
        .map_err(sql)
}

/// Reads the name that [`insert`] has sealed.
pub(super) fn open_username(vault: &Vault, aci: Aci, sealed: &[u8]) -> Option<Username> {
    open(vault, USERNAME, aci, sealed, |text| Username::new(text).ok())
}

fn open<T>(
    vault: &Vault,
    column: &'static str,
    Aci(aci): Aci,
    sealed: &[u8],
    read: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let plain = vault.open(Place { column, row: aci.as_bytes() }, sealed).ok()?;
    read(std::str::from_utf8(&plain).ok()?)
}

fn read(row: &Row<'_>, vault: &Vault) -> Result<StoredLogin, StorageError> {
    let account: i64 = row.get("account").map_err(sql)?;
    let at = Columns { row, table: "auth_logins", name: account.to_string() };
    let aci = Aci(at.read("aci", |bytes: Vec<u8>| Uuid::from_slice(&bytes).ok())?);
    Ok(StoredLogin {
        aci,
        username: at.read("username", |sealed: Vec<u8>| open_username(vault, aci, &sealed))?,
        password: at.read("password", |sealed: Vec<u8>| {
            open(vault, PASSWORD, aci, &sealed, PasswordHash::from_text)
        })?,
        version: at.read("version", |version: i64| version.try_into().ok())?,
        knows_device: false,
    })
}

macro_rules! login_columns {
    () => {
        "SELECT account, aci, username, password, auth_logins.version
         FROM auth_logins JOIN auth_accounts ON auth_accounts.id = account "
    };
}
use login_columns;
