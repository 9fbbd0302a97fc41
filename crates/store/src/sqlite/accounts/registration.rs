//! Accounts coming and going: each of these is one transaction.

use std::iter;

use ::keys::{KeySlot, KeyUpload};
use auth::{
    Account,
    account::{AccountVersion, NumberIdentity},
    revocation::QueueClear,
    secrets::SaltedHash,
    store::{NewRegistration, NumberRecord, RegisterOutcome},
};
use protocol::{
    Aci, PhoneNumber, Pni, ServiceId,
    ambient::{StorageError, Timestamp},
};
use rusqlite::{Connection, params};
use uuid::Uuid;
use vault::Vault;

use super::{
    super::{admission, keys, profiles, sql},
    queue_clears,
    rows::{self, Columns, integer},
};

/// What the store knows of a number.
struct Number {
    pni: Pni,
    /// Who holds it, or held it last.
    aci: Option<Aci>,
    /// When the last holder was deleted, if nobody holds it.
    deleted_at: Option<Timestamp>,
    recovery_password: Option<SaltedHash>,
}

/// The keyed hash by which a number is found.
pub(super) fn number_index(vault: &Vault, number: &PhoneNumber) -> [u8; 32] {
    vault.index("auth.number", number.as_str().as_bytes())
}

/// What is known of a number.
pub(super) fn number(
    connection: &Connection,
    vault: &Vault,
    index: &[u8; 32],
) -> Result<NumberRecord, StorageError> {
    let Some(number) = find_number(connection, index)? else { return Ok(NumberRecord::default()) };
    Ok(NumberRecord {
        account: holder(connection, vault, &number)?,
        recovery_password: number.recovery_password,
    })
}

/// Creates or replaces the account of a number.
pub(super) fn register(
    connection: &Connection,
    vault: &Vault,
    registration: &NewRegistration,
) -> Result<RegisterOutcome, StorageError> {
    let index = number_index(vault, &registration.number);
    let number = find_number(connection, &index)?;
    let replaced = number.as_ref().map(|number| holder(connection, vault, number)).transpose()?.flatten();
    if registration.replaces != replaced.as_ref().map(|account| (account.aci, account.version)) {
        return Ok(RegisterOutcome::Outdated);
    }
    let account = new_account(registration, number.as_ref(), replaced.as_ref());
    if replaced.is_none()
        && !admission::settle(connection, registration.admitted, account.aci, registration.at)?
    {
        return Ok(RegisterOutcome::NotAdmitted);
    }
    if let Some(replaced) = &replaced {
        remove_devices(connection, replaced)?;
        queue_clears::record(
            connection,
            QueueClear { aci: replaced.aci, device: None, cutoff: registration.at },
        )?;
    }
    let row = rows::write_account(connection, vault, &account, registration.recovery_password.as_ref())?;
    rows::insert_device(connection, vault, row, account.aci, &registration.device)?;
    write_number(connection, &index, &account, registration.recovery_password.as_ref())?;
    write_keys(connection, &account, registration)?;
    Ok(RegisterOutcome::Registered { account: Box::new(account), replaced: replaced.map(Box::new) })
}

/// Deletes an account; its number keeps its PNI.
pub(super) fn delete(
    connection: &Connection,
    vault: &Vault,
    aci: Aci,
    at: Timestamp,
) -> Result<Option<Account>, StorageError> {
    let Some(found) = rows::account(connection, vault, ServiceId::Aci(aci))? else { return Ok(None) };
    remove_devices(connection, &found.account)?;
    profiles::remove(connection, aci)?;
    connection
        .prepare_cached("DELETE FROM auth_accounts WHERE id = ?1")
        .and_then(|mut statement| statement.execute([found.id]))
        .map_err(sql)?;
    connection
        .prepare_cached(
            "UPDATE auth_numbers SET deleted_at = ?2, recovery_password = NULL WHERE aci = ?1 AND deleted_at IS NULL",
        )
        .and_then(|mut statement| statement.execute(params![aci.0.as_bytes(), integer(at.as_millis())]))
        .map_err(sql)?;
    queue_clears::record(connection, QueueClear { aci, device: None, cutoff: at })?;
    Ok(Some(found.account))
}

fn find_number(connection: &Connection, index: &[u8; 32]) -> Result<Option<Number>, StorageError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT pni, aci, deleted_at, recovery_password FROM auth_numbers WHERE number_index = ?1",
        )
        .map_err(sql)?;
    let mut rows = statement.query([index]).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else { return Ok(None) };
    let at = Columns { row, table: "auth_numbers", name: "of a number".to_owned() };
    let uuid = |bytes: Vec<u8>| Uuid::from_slice(&bytes).ok();
    Ok(Some(Number {
        pni: Pni(at.read("pni", uuid)?),
        aci: at.maybe("aci", uuid)?.map(Aci),
        deleted_at: at.maybe("deleted_at", |at: i64| at.try_into().ok().map(Timestamp::from_millis))?,
        recovery_password: at.maybe("recovery_password", |bytes: Vec<u8>| SaltedHash::from_bytes(&bytes))?,
    }))
}

/// The PNI that a number has, and the account that holds it now.
pub(super) fn pni_and_holder(
    connection: &Connection,
    vault: &Vault,
    index: &[u8; 32],
) -> Result<(Option<Pni>, Option<Account>), StorageError> {
    let Some(number) = find_number(connection, index)? else { return Ok((None, None)) };
    Ok((Some(number.pni), holder(connection, vault, &number)?))
}

/// The account that holds a number now.
fn holder(connection: &Connection, vault: &Vault, number: &Number) -> Result<Option<Account>, StorageError> {
    match (number.aci, number.deleted_at) {
        (Some(aci), None) => {
            Ok(rows::account(connection, vault, ServiceId::Aci(aci))?.map(|found| found.account))
        }
        _ => Ok(None),
    }
}

fn new_account(
    registration: &NewRegistration,
    number: Option<&Number>,
    replaced: Option<&Account>,
) -> Account {
    let taken_up = number
        .filter(|number| number.deleted_at.is_some_and(|at| at >= registration.reuse_deleted_since))
        .and_then(|number| number.aci);
    let aci = replaced.map(|account| account.aci).or(taken_up).unwrap_or(registration.new_aci);
    // Beginning with the time, an account that was deleted and made anew is not taken for its former self.
    let begin = AccountVersion(registration.at.as_millis());
    let version = replaced.map_or(begin, |account| AccountVersion(account.version.0 + 1).max(begin));
    Account {
        aci,
        identity_key: Some(registration.aci_keys.identity_key),
        number: Some(NumberIdentity {
            number: registration.number.clone(),
            pni: number.map_or(registration.new_pni, |number| number.pni),
            identity_key: registration.pni_keys.identity_key,
        }),
        unidentified_access: registration.unidentified_access.clone(),
        discoverable: registration.discoverable,
        registration_lock: registration.registration_lock,
        devices: vec![registration.device.clone()],
        version,
    }
}

/// Removes every device of an account with all its keys, what would have let more devices in, and what was left
/// for them.
pub(super) fn remove_devices(connection: &Connection, account: &Account) -> Result<(), StorageError> {
    for statement in [
        "DELETE FROM auth_devices WHERE account = (SELECT id FROM auth_accounts WHERE aci = ?1)",
        "DELETE FROM auth_link_codes WHERE account = (SELECT id FROM auth_accounts WHERE aci = ?1)",
        "DELETE FROM auth_transfer_archives WHERE account = (SELECT id FROM auth_accounts WHERE aci = ?1)",
        "DELETE FROM auth_number_notices WHERE account = (SELECT id FROM auth_accounts WHERE aci = ?1)",
    ] {
        connection
            .prepare_cached(statement)
            .and_then(|mut statement| statement.execute([account.aci.0.as_bytes()]))
            .map_err(sql)?;
    }
    key_identities(account).try_for_each(|identity| keys::remove(connection, identity, None))
}

/// Writes the keys with which both identities of a new primary begin.
fn write_keys(
    connection: &Connection,
    account: &Account,
    registration: &NewRegistration,
) -> Result<(), StorageError> {
    for (identity, new) in key_identities(account).zip([&registration.aci_keys, &registration.pni_keys]) {
        // A number may have left its identity with keys of an account that was not this one.
        keys::remove(connection, identity, None)?;
        let upload = KeyUpload {
            signed: Some(new.signed_pre_key.clone()),
            last_resort: Some(new.last_resort_pre_key.clone()),
            ..KeyUpload::default()
        };
        keys::put(connection, KeySlot { identity, device: registration.device.id }, &upload)?;
    }
    Ok(())
}

/// What the keys of an account are filed under: its ACI, then its PNI.
pub(super) fn key_identities(account: &Account) -> impl Iterator<Item = Uuid> {
    iter::once(account.aci.0).chain(account.pni().map(|pni| pni.0))
}

fn write_number(
    connection: &Connection,
    index: &[u8; 32],
    account: &Account,
    recovery_password: Option<&SaltedHash>,
) -> Result<(), StorageError> {
    let Some(pni) = account.pni() else { return Ok(()) };
    connection
        .prepare_cached(
            "INSERT INTO auth_numbers (number_index, pni, aci, deleted_at, recovery_password)
             VALUES (?1, ?2, ?3, NULL, ?4)
             ON CONFLICT (number_index) DO UPDATE SET
                 aci = excluded.aci, deleted_at = NULL,
                 recovery_password = coalesce(excluded.recovery_password, recovery_password)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                index,
                pni.0.as_bytes(),
                account.aci.0.as_bytes(),
                recovery_password.map(SaltedHash::to_bytes)
            ])
        })
        .map(drop)
        .map_err(sql)
}
