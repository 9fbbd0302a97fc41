//! E-mail addresses, those that are wished for, and codes that prove them before there is an account.

use auth::{
    mail::MailAddress,
    native::email::{
        EmailState, NewcomerEmail,
        code::MailCodeHash,
        store::{ConfirmOutcome, EmailWish, PROOFS_MAX},
    },
};
use protocol::{
    Aci,
    ambient::{StorageError, Timestamp},
};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;
use vault::{Place, Vault};

use super::{
    super::{
        super::sql,
        rows::{self, Columns, integer},
    },
    resets,
};

const ADDRESS: &str = "auth_emails.address";
const WISHED: &str = "auth_email_wishes.address";

/// The keyed hash by which an address is found.
pub(super) fn address_index(vault: &Vault, address: &MailAddress) -> [u8; 32] {
    vault.index("auth.email", address.as_str().as_bytes())
}

/// The address that counts and the one that is wished for.
pub(super) fn state(
    connection: &Connection,
    vault: &Vault,
    aci: Aci,
    now: Timestamp,
) -> Result<EmailState, StorageError> {
    let Some(account) = rows::account_row(connection, aci)? else { return Ok(EmailState::default()) };
    let wished = connection
        .prepare_cached("SELECT address, expires FROM auth_email_wishes WHERE account = ?1 AND expires > ?2")
        .and_then(|mut statement| {
            let row = statement.query_row(params![account, integer(now.as_millis())], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
            });
            row.optional()
        })
        .map_err(sql)?;
    let wished = match wished {
        Some((sealed, expires)) => {
            let expires = Timestamp::from_millis(expires.try_into().unwrap_or(0));
            Some((open(vault, WISHED, aci, &sealed)?, expires))
        }
        None => None,
    };
    Ok(EmailState { confirmed: confirmed(connection, vault, account, aci)?, wished })
}

/// The account that has that address.
pub(super) fn owner(
    connection: &Connection,
    vault: &Vault,
    address: &MailAddress,
) -> Result<Option<Aci>, StorageError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT aci FROM auth_emails JOIN auth_accounts ON auth_accounts.id = account
             WHERE address_index = ?1",
        )
        .map_err(sql)?;
    let mut rows = statement.query([address_index(vault, address)]).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else { return Ok(None) };
    let at = Columns { row, table: "auth_accounts", name: "of an address".to_owned() };
    at.read("aci", |bytes: Vec<u8>| Uuid::from_slice(&bytes).ok()).map(|aci| Some(Aci(aci)))
}

/// Notes what an account wishes for. Answers whether there is such an account.
pub(super) fn wish(
    connection: &Connection,
    vault: &Vault,
    aci: Aci,
    wish: &EmailWish,
) -> Result<bool, StorageError> {
    let Some(account) = rows::account_row(connection, aci)? else { return Ok(false) };
    insert_wish(connection, vault, account, aci, wish)?;
    Ok(true)
}

/// Writes the address with which an account begins.
pub(super) fn begin_with(
    connection: &Connection,
    vault: &Vault,
    account: i64,
    aci: Aci,
    email: &NewcomerEmail,
) -> Result<(), StorageError> {
    match email {
        NewcomerEmail::Wished(wish) => insert_wish(connection, vault, account, aci, wish),
        NewcomerEmail::Proved(wish) => {
            let index = address_index(vault, &wish.address);
            delete(connection, "DELETE FROM auth_email_proofs WHERE address_index = ?1", params![index])?;
            put(connection, vault, account, aci, &wish.address)
        }
    }
}

/// Whether the address with which an account is to begin is proved, if it is said to be.
pub(super) fn may_begin_with(
    connection: &Connection,
    vault: &Vault,
    email: &NewcomerEmail,
) -> Result<bool, StorageError> {
    match email {
        NewcomerEmail::Wished(_) => Ok(true),
        NewcomerEmail::Proved(EmailWish { address, code, at, .. }) => {
            is_proof(connection, vault, address, *code, *at)
        }
    }
}

/// Makes the wished address that of the account.
pub(super) fn confirm(
    connection: &Connection,
    vault: &Vault,
    aci: Aci,
    code: MailCodeHash,
    now: Timestamp,
) -> Result<ConfirmOutcome, StorageError> {
    let Some(account) = rows::account_row(connection, aci)? else { return Ok(ConfirmOutcome::WrongCode) };
    let sealed: Option<Vec<u8>> = connection
        .prepare_cached(
            "DELETE FROM auth_email_wishes WHERE account = ?1 AND code = ?2 AND expires > ?3
             RETURNING address",
        )
        .and_then(|mut statement| {
            let parameters = params![account, code.as_bytes(), integer(now.as_millis())];
            statement.query_row(parameters, |row| row.get(0)).optional()
        })
        .map_err(sql)?;
    let Some(sealed) = sealed else { return Ok(ConfirmOutcome::WrongCode) };
    let address = open(vault, WISHED, aci, &sealed)?;
    if owner(connection, vault, &address)?.is_some_and(|owner| owner != aci) {
        return Ok(ConfirmOutcome::WrongCode);
    }
    let former = confirmed(connection, vault, account, aci)?.filter(|former| *former != address);
    put(connection, vault, account, aci, &address)?;
    resets::remove_all(connection, account)?;
    Ok(ConfirmOutcome::Confirmed { former })
}

/// Removes both addresses, and answers the one that counted.
pub(super) fn remove(
    connection: &Connection,
    vault: &Vault,
    aci: Aci,
) -> Result<Option<MailAddress>, StorageError> {
    let Some(account) = rows::account_row(connection, aci)? else { return Ok(None) };
    let former = confirmed(connection, vault, account, aci)?;
    delete(connection, "DELETE FROM auth_emails WHERE account = ?1", params![account])?;
    delete(connection, "DELETE FROM auth_email_wishes WHERE account = ?1", params![account])?;
    resets::remove_all(connection, account)?;
    Ok(former)
}

/// Notes a code that proves an address, and voids the oldest ones beyond the bound.
pub(super) fn add_proof(
    connection: &Connection,
    vault: &Vault,
    wish: &EmailWish,
) -> Result<(), StorageError> {
    let index = address_index(vault, &wish.address);
    connection
        .prepare_cached("INSERT INTO auth_email_proofs (code, address_index, expires) VALUES (?1, ?2, ?3)")
        .and_then(|mut statement| {
            statement.execute(params![wish.code.as_bytes(), index, integer(wish.expires.as_millis())])
        })
        .map_err(sql)?;
    delete(
        connection,
        "DELETE FROM auth_email_proofs WHERE code IN
             (SELECT code FROM auth_email_proofs WHERE address_index = ?1
              ORDER BY expires DESC LIMIT -1 OFFSET ?2)",
        params![index, PROOFS_MAX],
    )
}

/// Whether that code proves the address, and it is nobody's.
pub(super) fn is_proof(
    connection: &Connection,
    vault: &Vault,
    address: &MailAddress,
    code: MailCodeHash,
    now: Timestamp,
) -> Result<bool, StorageError> {
    let index = address_index(vault, address);
    connection
        .prepare_cached(
            "SELECT 1 FROM auth_email_proofs WHERE code = ?1 AND address_index = ?2 AND expires > ?3
             AND NOT EXISTS (SELECT 1 FROM auth_emails WHERE address_index = ?2)",
        )
        .and_then(|mut statement| statement.exists(params![code.as_bytes(), index, integer(now.as_millis())]))
        .map_err(sql)
}

/// Reads what [`put`] has sealed.
pub(super) fn open_confirmed(vault: &Vault, aci: Aci, sealed: &[u8]) -> Result<MailAddress, StorageError> {
    open(vault, ADDRESS, aci, sealed)
}

fn insert_wish(
    connection: &Connection,
    vault: &Vault,
    account: i64,
    aci: Aci,
    wish: &EmailWish,
) -> Result<(), StorageError> {
    let sealed = seal(vault, WISHED, aci, &wish.address);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO auth_email_wishes (account, address, code, expires)
             VALUES (?1, ?2, ?3, ?4)",
        )
        .and_then(|mut statement| {
            let expires = integer(wish.expires.as_millis());
            statement.execute(params![account, sealed, wish.code.as_bytes(), expires])
        })
        .map(drop)
        .map_err(sql)
}

fn put(
    connection: &Connection,
    vault: &Vault,
    account: i64,
    aci: Aci,
    address: &MailAddress,
) -> Result<(), StorageError> {
    connection
        .prepare_cached(
            "INSERT INTO auth_emails (account, address_index, address) VALUES (?1, ?2, ?3)
             ON CONFLICT (account) DO UPDATE SET
                 address_index = excluded.address_index, address = excluded.address",
        )
        .and_then(|mut statement| {
            let sealed = seal(vault, ADDRESS, aci, address);
            statement.execute(params![account, address_index(vault, address), sealed])
        })
        .map(drop)
        .map_err(sql)
}

fn confirmed(
    connection: &Connection,
    vault: &Vault,
    account: i64,
    aci: Aci,
) -> Result<Option<MailAddress>, StorageError> {
    let sealed: Option<Vec<u8>> = connection
        .prepare_cached("SELECT address FROM auth_emails WHERE account = ?1")
        .and_then(|mut statement| statement.query_row([account], |row| row.get(0)).optional())
        .map_err(sql)?;
    sealed.map(|sealed| open_confirmed(vault, aci, &sealed)).transpose()
}

fn seal(vault: &Vault, column: &'static str, aci: Aci, address: &MailAddress) -> Vec<u8> {
    vault.seal(Place { column, row: aci.0.as_bytes() }, address.as_str().as_bytes())
}

fn open(vault: &Vault, column: &'static str, aci: Aci, sealed: &[u8]) -> Result<MailAddress, StorageError> {
    let plain = vault.open(Place { column, row: aci.0.as_bytes() }, sealed).ok();
    let address = plain.and_then(|plain| std::str::from_utf8(&plain).ok()?.parse().ok());
    let (table, column) = column.split_once('.').unwrap_or((column, ""));
    address.ok_or(StorageError::Corrupt { table, column, row: "of an account".to_owned() })
}

pub(super) fn delete(
    connection: &Connection,
    statement: &str,
    parameters: &[&dyn rusqlite::ToSql],
) -> Result<(), StorageError> {
    connection
        .prepare_cached(statement)
        .and_then(|mut statement| statement.execute(parameters))
        .map(drop)
        .map_err(sql)
}
