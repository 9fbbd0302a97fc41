//! Codes by which forgotten passwords are reset.

use auth::native::{
    email::{
        code::MailCodeHash,
        store::{NewReset, RESETS_MAX, ResetDone, ResetOf, ResetTarget},
    },
    hashing::PasswordHash,
};
use protocol::{
    Aci,
    ambient::{StorageError, Timestamp},
};
use rusqlite::{Connection, Row, params};
use uuid::Uuid;
use vault::Vault;

use super::{
    super::{
        super::sql,
        rows::{self, Columns, integer},
    },
    emails, logins, sessions,
};

/// Codes removed at once, so that the writer is not held for long.
const REMOVED_AT_ONCE: u32 = 1000;

/// The account of that name or address, if it has an address.
pub(super) fn target(
    connection: &Connection,
    vault: &Vault,
    of: &ResetOf,
) -> Result<Option<ResetTarget>, StorageError> {
    let (statement, index) = match of {
        ResetOf::Username(username) => {
            (concat!(target_columns!(), "WHERE username_index = ?1"), logins::username_index(vault, username))
        }
        ResetOf::Address(address) => {
            (concat!(target_columns!(), "WHERE address_index = ?1"), emails::address_index(vault, address))
        }
    };
    one(connection, vault, statement, &[&index])
}

/// Notes a code, if login and address are still those, and voids the oldest ones beyond the bound.
pub(super) fn add(connection: &Connection, vault: &Vault, new: &NewReset) -> Result<bool, StorageError> {
    let NewReset { target: ResetTarget { aci, login_version, address, .. }, code, expires } = new;
    let index = emails::address_index(vault, address);
    let added = connection
        .prepare_cached(
            "INSERT INTO auth_password_resets (code, account, login_version, address_index, expires)
             SELECT ?1, account, version, address_index, ?5
             FROM auth_logins JOIN auth_emails USING (account)
             WHERE account = (SELECT id FROM auth_accounts WHERE aci = ?2)
                 AND version = ?3 AND address_index = ?4",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                code.as_bytes(),
                aci.0.as_bytes(),
                integer(*login_version),
                index,
                integer(expires.as_millis()),
            ])
        })
        .map_err(sql)?;
    emails::delete(
        connection,
        "DELETE FROM auth_password_resets WHERE code IN
             (SELECT code FROM auth_password_resets
              WHERE account = (SELECT id FROM auth_accounts WHERE aci = ?1)
              ORDER BY expires DESC LIMIT -1 OFFSET ?2)",
        params![aci.0.as_bytes(), RESETS_MAX],
    )?;
    Ok(added > 0)
}

/// Whose password that code sets, if login and address are still those that it was made for.
pub(super) fn find(
    connection: &Connection,
    vault: &Vault,
    code: MailCodeHash,
    now: Timestamp,
) -> Result<Option<ResetTarget>, StorageError> {
    one(
        connection,
        vault,
        concat!(
            target_columns!(),
            "JOIN auth_password_resets USING (account, address_index)
             WHERE code = ?1 AND expires > ?2 AND login_version = auth_logins.version"
        ),
        params![code.as_bytes(), integer(now.as_millis())],
    )
}

/// Sets the password, uses up the codes, ends the sessions.
pub(super) fn reset(
    connection: &Connection,
    vault: &Vault,
    code: MailCodeHash,
    password: &PasswordHash,
    now: Timestamp,
) -> Result<Option<ResetDone>, StorageError> {
    let Some(target) = find(connection, vault, code, now)? else { return Ok(None) };
    let ResetTarget { aci, login_version, .. } = target;
    if !logins::set(connection, vault, aci, login_version, login_version + 1, password)? {
        return Ok(None);
    }
    if let Some(account) = rows::account_row(connection, aci)? {
        remove_all(connection, account)?;
    }
    let devices = sessions::end_all(connection, aci, None)?;
    Ok(Some(ResetDone { target, devices }))
}

/// Voids every code of an account.
pub(super) fn remove_all(connection: &Connection, account: i64) -> Result<(), StorageError> {
    emails::delete(connection, "DELETE FROM auth_password_resets WHERE account = ?1", params![account])
}

/// Removes codes of every kind that are over, some of each at once.
pub(super) fn remove_expired(connection: &Connection, now: Timestamp) -> Result<usize, StorageError> {
    let mut removed = 0;
    for statement in [
        "DELETE FROM auth_password_resets WHERE code IN
             (SELECT code FROM auth_password_resets WHERE expires <= ?1 LIMIT ?2)",
        "DELETE FROM auth_email_proofs WHERE code IN
             (SELECT code FROM auth_email_proofs WHERE expires <= ?1 LIMIT ?2)",
        "DELETE FROM auth_email_wishes WHERE account IN
             (SELECT account FROM auth_email_wishes WHERE expires <= ?1 LIMIT ?2)",
    ] {
        removed += connection
            .prepare_cached(statement)
            .and_then(|mut statement| statement.execute(params![integer(now.as_millis()), REMOVED_AT_ONCE]))
            .map_err(sql)?;
    }
    Ok(removed)
}

fn one(
    connection: &Connection,
    vault: &Vault,
    statement: &str,
    parameters: &[&dyn rusqlite::ToSql],
) -> Result<Option<ResetTarget>, StorageError> {
    let mut statement = connection.prepare_cached(statement).map_err(sql)?;
    let mut rows = statement.query(parameters).map_err(sql)?;
    rows.next().map_err(sql)?.map(|row| read(row, vault)).transpose()
}

fn read(row: &Row<'_>, vault: &Vault) -> Result<ResetTarget, StorageError> {
    let at = Columns { row, table: "auth_logins", name: "of a reset".to_owned() };
    let aci = Aci(at.read("aci", |bytes: Vec<u8>| Uuid::from_slice(&bytes).ok())?);
    let sealed: Vec<u8> = row.get("address").map_err(sql)?;
    Ok(ResetTarget {
        aci,
        username: at.read("username", |sealed: Vec<u8>| logins::open_username(vault, aci, &sealed))?,
        login_version: at.read("version", |version: i64| version.try_into().ok())?,
        address: emails::open_confirmed(vault, aci, &sealed)?,
    })
}

macro_rules! target_columns {
    () => {
        "SELECT aci, username, auth_logins.version AS version, address
         FROM auth_logins JOIN auth_emails USING (account)
             JOIN auth_accounts ON auth_accounts.id = account "
    };
}
use target_columns;
