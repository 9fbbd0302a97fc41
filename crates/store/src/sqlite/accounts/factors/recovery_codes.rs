//! Recovery codes, of which only keyed hashes are kept.

use auth::second_factor::recovery::RecoveryCode;
use protocol::{Aci, ambient::StorageError};
use rusqlite::Connection;
use vault::Vault;

use super::{
    super::{super::sql, rows::account_row},
    execute, has_factor,
};

/// The keyed hash of a code, which is another for each account.
pub(super) fn index(vault: &Vault, Aci(aci): Aci, code: &RecoveryCode) -> [u8; 32] {
    vault.index("auth.recovery_code", &[&aci.as_bytes()[..], code.as_bytes()].concat())
}

/// Keeps those in place of all that there were, if the account has a factor. Answers whether it has.
pub(super) fn replace(connection: &Connection, aci: Aci, indexes: &[[u8; 32]]) -> Result<bool, StorageError> {
    let Some(account) = account_row(connection, aci)? else { return Ok(false) };
    if !has_factor(connection, account)? {
        return Ok(false);
    }
    execute(connection, "DELETE FROM auth_recovery_codes WHERE account = ?1", &[&account])?;
    for index in indexes {
        let insert = "INSERT INTO auth_recovery_codes (account, code_index) VALUES (?1, ?2)";
        execute(connection, insert, &[&account, index])?;
    }
    Ok(true)
}

/// Uses one up. Answers whether there was such a one.
pub(super) fn remove(connection: &Connection, account: i64, index: &[u8; 32]) -> Result<bool, StorageError> {
    let delete = "DELETE FROM auth_recovery_codes WHERE account = ?1 AND code_index = ?2";
    execute(connection, delete, &[&account, index]).map(|removed| removed > 0)
}

/// Removes those of an account that has no factor any more.
pub(super) fn remove_without_factor(connection: &Connection, account: i64) -> Result<(), StorageError> {
    let delete = "DELETE FROM auth_recovery_codes
         WHERE account = ?1 AND NOT EXISTS (SELECT 1 FROM auth_factors WHERE account = ?1)";
    execute(connection, delete, &[&account]).map(drop)
}

/// How many are left.
pub(super) fn count(connection: &Connection, account: i64) -> Result<usize, StorageError> {
    let count: u32 = connection
        .prepare_cached("SELECT count(*) FROM auth_recovery_codes WHERE account = ?1")
        .and_then(|mut statement| statement.query_row([account], |row| row.get(0)))
        .map_err(sql)?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}
