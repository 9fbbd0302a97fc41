//! Second factors of accounts.

mod recovery_codes;
mod rows;

use std::time::Duration;

use async_trait::async_trait;
use auth::second_factor::{
    FACTORS_MAX, FactorId, FactorKind, FactorSecret, Label, TOTP_KEYS_MAX,
    attempts::Attempts,
    recovery::RecoveryCode,
    store::{AddOutcome, Advance, Factors, NewFactor, PendingTotp, SecondFactorStore},
    webauthn::CredentialId,
};
use protocol::{
    Aci,
    ambient::{StorageError, Timestamp},
};
use rusqlite::{Connection, OptionalExtension, ToSql, params};
use uuid::Uuid;
use vault::Vault;

use super::{
    super::sql,
    SqliteAccounts,
    rows::{Columns, account_row, integer},
};

#[async_trait]
impl SecondFactorStore for SqliteAccounts {
    async fn factors(&self, aci: Aci) -> Result<Option<Factors>, StorageError> {
        let vault = self.vault.clone();
        self.database
            .read(move |connection| {
                let owner = rows::owner(connection, &vault, aci)?;
                owner.map(|owner| rows::factors(&owner)).transpose()
            })
            .await
    }

    async fn set_pending(&self, aci: Aci, pending: PendingTotp) -> Result<bool, StorageError> {
        let vault = self.vault.clone();
        self.database
            .write(move |connection| {
                let Some(owner) = rows::owner(connection, &vault, aci)? else { return Ok(false) };
                rows::write_pending(&owner, Some(&pending))?;
                Ok(true)
            })
            .await
    }

    async fn add(&self, aci: Aci, new: NewFactor) -> Result<AddOutcome, StorageError> {
        let vault = self.vault.clone();
        self.database.write(move |connection| add(connection, &vault, aci, &new)).await
    }

    async fn attempt(&self, aci: Aci, now: Timestamp) -> Result<Result<(), Duration>, StorageError> {
        self.database
            .write(move |connection| {
                let Some(account) = account_row(connection, aci)? else { return Ok(Ok(())) };
                match attempts(connection, account)?.begin(now) {
                    Ok(attempts) => write_attempts(connection, account, attempts).map(Ok),
                    Err(wait) => Ok(Err(wait)),
                }
            })
            .await
    }

    async fn proved(
        &self,
        aci: Aci,
        id: FactorId,
        Advance { from, to }: Advance,
    ) -> Result<bool, StorageError> {
        self.database
            .write(move |connection| {
                let Some(account) = account_row(connection, aci)? else { return Ok(false) };
                let advanced = execute(
                    connection,
                    "UPDATE auth_factors SET counter = ?4 WHERE account = ?1 AND factor = ?2 AND counter = ?3",
                    &[&account, &id.get(), &integer(from), &integer(to)],
                )?;
                if advanced > 0 {
                    write_attempts(connection, account, Attempts::default())?;
                }
                Ok(advanced > 0)
            })
            .await
    }

    async fn set_label(&self, aci: Aci, id: FactorId, label: Label) -> Result<bool, StorageError> {
        let vault = self.vault.clone();
        self.database
            .write(move |connection| {
                let Some(account) = account_row(connection, aci)? else { return Ok(false) };
                let (encrypted, plain) = rows::label_columns(&vault, aci, id, &label);
                let set = execute(
                    connection,
                    "UPDATE auth_factors SET encrypted_label = ?3, plain_label = ?4
                     WHERE account = ?1 AND factor = ?2",
                    &[&account, &id.get(), &encrypted, &plain],
                )?;
                Ok(set > 0)
            })
            .await
    }

    async fn remove(&self, aci: Aci, id: FactorId, kind: Option<FactorKind>) -> Result<bool, StorageError> {
        self.database
            .write(move |connection| {
                let Some(account) = account_row(connection, aci)? else { return Ok(false) };
                let removed = execute(
                    connection,
                    "DELETE FROM auth_factors WHERE account = ?1 AND factor = ?2 AND kind = coalesce(?3, kind)",
                    &[&account, &id.get(), &kind.map(rows::kind_number)],
                )?;
                recovery_codes::remove_without_factor(connection, account)?;
                Ok(removed > 0)
            })
            .await
    }

    async fn set_recovery_codes(&self, aci: Aci, codes: &[RecoveryCode]) -> Result<bool, StorageError> {
        let indexes: Vec<_> =
            codes.iter().map(|code| recovery_codes::index(&self.vault, aci, code)).collect();
        self.database.write(move |connection| recovery_codes::replace(connection, aci, &indexes)).await
    }

    async fn use_recovery_code(&self, aci: Aci, code: &RecoveryCode) -> Result<bool, StorageError> {
        let index = recovery_codes::index(&self.vault, aci, code);
        self.database
            .write(move |connection| {
                let Some(account) = account_row(connection, aci)? else { return Ok(false) };
                let used = recovery_codes::remove(connection, account, &index)?;
                if used {
                    write_attempts(connection, account, Attempts::default())?;
                }
                Ok(used)
            })
            .await
    }

    async fn passkey_owner(&self, credential: &CredentialId) -> Result<Option<Aci>, StorageError> {
        let index = rows::credential_index(&self.vault, credential);
        self.database.read(move |connection| passkey_owner(connection, &index)).await
    }
}

fn add(
    connection: &Connection,
    vault: &Vault,
    aci: Aci,
    new: &NewFactor,
) -> Result<AddOutcome, StorageError> {
    let Some(owner) = rows::owner(connection, vault, aci)? else { return Ok(AddOutcome::NoSuchAccount) };
    let present = rows::factors(&owner)?;
    match &new.secret {
        FactorSecret::Totp(key) => {
            let is_pending = present.pending.as_ref().is_some_and(|pending| pending.key.is(key));
            if !is_pending {
                return Ok(AddOutcome::NotPending);
            }
            if present.totp_keys().count() >= TOTP_KEYS_MAX {
                return Ok(AddOutcome::TooMany);
            }
        }
        FactorSecret::Passkey(credential) => {
            if passkey_owner(connection, &rows::credential_index(vault, &credential.id))?.is_some() {
                return Ok(AddOutcome::Taken);
            }
        }
    }
    let taken: Vec<_> = present.confirmed.iter().map(|factor| factor.id).collect();
    let Some(id) = FactorId::first_free(&taken).filter(|_| taken.len() < FACTORS_MAX) else {
        return Ok(AddOutcome::TooMany);
    };
    rows::insert(&owner, id, new)?;
    if new.secret.kind() == FactorKind::Totp {
        rows::write_pending(&owner, None)?;
    }
    write_attempts(connection, owner.account, Attempts::default())?;
    execute(connection, "UPDATE auth_accounts SET version = version + 1 WHERE id = ?1", &[&owner.account])?;
    Ok(AddOutcome::Added(id))
}

/// Whether the account of that row has any factor.
pub(super) fn has_factor(connection: &Connection, account: i64) -> Result<bool, StorageError> {
    connection
        .prepare_cached("SELECT 1 FROM auth_factors WHERE account = ?1")
        .and_then(|mut statement| statement.exists([account]))
        .map_err(sql)
}

fn attempts(connection: &Connection, account: i64) -> Result<Attempts, StorageError> {
    let mut statement = connection
        .prepare_cached("SELECT failures, blocked_until FROM auth_factor_state WHERE account = ?1")
        .map_err(sql)?;
    let mut rows = statement.query([account]).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else { return Ok(Attempts::default()) };
    let at = Columns { row, table: "auth_factor_state", name: account.to_string() };
    Ok(Attempts {
        failures: at.read("failures", Some)?,
        blocked_until: at.read("blocked_until", |at: i64| at.try_into().ok().map(Timestamp::from_millis))?,
    })
}

fn write_attempts(connection: &Connection, account: i64, attempts: Attempts) -> Result<(), StorageError> {
    execute(
        connection,
        "INSERT INTO auth_factor_state (account, failures, blocked_until) VALUES (?1, ?2, ?3)
         ON CONFLICT (account) DO UPDATE SET failures = excluded.failures, blocked_until = excluded.blocked_until",
        &[&account, &attempts.failures, &integer(attempts.blocked_until.as_millis())],
    )
    .map(drop)
}

fn passkey_owner(connection: &Connection, index: &[u8; 32]) -> Result<Option<Aci>, StorageError> {
    let found: Option<Vec<u8>> = connection
        .prepare_cached(
            "SELECT aci FROM auth_factors JOIN auth_accounts ON auth_accounts.id = account
             WHERE credential_index = ?1",
        )
        .and_then(|mut statement| statement.query_row(params![index], |row| row.get(0)).optional())
        .map_err(sql)?;
    let corrupt =
        |_| StorageError::Corrupt { table: "auth_accounts", column: "aci", row: "of a passkey".to_owned() };
    found.map(|aci| Uuid::from_slice(&aci).map(Aci).map_err(corrupt)).transpose()
}

fn execute(
    connection: &Connection,
    statement: &str,
    parameters: &[&dyn ToSql],
) -> Result<usize, StorageError> {
    connection.prepare_cached(statement).and_then(|mut statement| statement.execute(parameters)).map_err(sql)
}
