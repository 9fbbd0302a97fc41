//! Second factors as rows: reading, writing, sealing.

use auth::second_factor::{
    EncryptedLabel, Factor, FactorId, FactorKind, FactorSecret, Label, PlainLabel,
    store::{Factors, NewFactor, PendingTotp},
    totp::TotpKey,
    webauthn::CredentialId,
};
use protocol::{
    Aci,
    ambient::{StorageError, Timestamp},
};
use rusqlite::{Connection, Row};
use serde::{Serialize, de::DeserializeOwned};
use vault::{Place, Vault};
use zeroize::Zeroizing;

use super::{
    super::{
        super::sql,
        rows::{Columns, integer},
    },
    execute, recovery_codes,
};

const SECRET: &str = "auth_factors.secret";
const PLAIN_LABEL: &str = "auth_factors.plain_label";
const PENDING_KEY: &str = "auth_factor_state.pending_key";

/// The account whose factors are read or written, and by what.
pub(super) struct Owner<'a> {
    connection: &'a Connection,
    vault: &'a Vault,
    aci: Aci,
    /// Its row.
    pub(super) account: i64,
    has_number: bool,
}

/// The account, if it exists.
pub(super) fn owner<'a>(
    connection: &'a Connection,
    vault: &'a Vault,
    aci: Aci,
) -> Result<Option<Owner<'a>>, StorageError> {
    let mut statement = connection
        .prepare_cached("SELECT id, number IS NOT NULL FROM auth_accounts WHERE aci = ?1")
        .map_err(sql)?;
    let mut rows = statement.query([aci.0.as_bytes()]).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else { return Ok(None) };
    let (account, has_number) = (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?);
    Ok(Some(Owner { connection, vault, aci, account, has_number }))
}

/// What the account has.
pub(super) fn factors(owner: &Owner<'_>) -> Result<Factors, StorageError> {
    let mut statement = owner
        .connection
        .prepare_cached(
            "SELECT factor, secret, counter, encrypted_label, plain_label, created FROM auth_factors
             WHERE account = ?1 ORDER BY factor",
        )
        .map_err(sql)?;
    let mut rows = statement.query([owner.account]).map_err(sql)?;
    let mut confirmed = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        confirmed.push(read(owner, row)?);
    }
    Ok(Factors {
        has_number: owner.has_number,
        confirmed,
        pending: pending(owner)?,
        recovery_codes: recovery_codes::count(owner.connection, owner.account)?,
    })
}

fn read(owner: &Owner<'_>, row: &Row<'_>) -> Result<Factor, StorageError> {
    let at = Columns { row, table: "auth_factors", name: owner.account.to_string() };
    let id = at.read("factor", |id: u32| FactorId::try_from(id).ok())?;
    let name = factor_name(owner.aci, id);
    let open = |column, sealed: Vec<u8>| open_json(owner.vault, Place { column, row: &name }, &sealed);
    let secret = at.read("secret", |sealed| open(SECRET, sealed))?;
    let encrypted = at.maybe("encrypted_label", |bytes: Vec<u8>| EncryptedLabel::new(&bytes))?;
    let label = match encrypted {
        Some(label) => Label::Encrypted(label),
        None => Label::Plain(at.read("plain_label", |sealed: Vec<u8>| {
            let plain = owner.vault.open(Place { column: PLAIN_LABEL, row: &name }, &sealed).ok()?;
            PlainLabel::new(std::str::from_utf8(&plain).ok()?.to_owned())
        })?),
    };
    Ok(Factor {
        id,
        secret,
        counter: at.read("counter", |counter: i64| counter.try_into().ok())?,
        label,
        created: at.read("created", |at: i64| at.try_into().ok().map(Timestamp::from_millis))?,
    })
}

fn pending(owner: &Owner<'_>) -> Result<Option<PendingTotp>, StorageError> {
    let mut statement = owner
        .connection
        .prepare_cached("SELECT pending_key, pending_expires FROM auth_factor_state WHERE account = ?1")
        .map_err(sql)?;
    let mut rows = statement.query([owner.account]).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else { return Ok(None) };
    let at = Columns { row, table: "auth_factor_state", name: owner.account.to_string() };
    let place = Place { column: PENDING_KEY, row: owner.aci.0.as_bytes() };
    let key = at.maybe("pending_key", |sealed: Vec<u8>| open_json::<TotpKey>(owner.vault, place, &sealed))?;
    let time = |at: i64| at.try_into().ok().map(Timestamp::from_millis);
    let expires = at.maybe("pending_expires", time)?;
    Ok(key.zip(expires).map(|(key, expires)| PendingTotp { key, expires }))
}

/// Keeps a key until it is confirmed, or none.
pub(super) fn write_pending(owner: &Owner<'_>, pending: Option<&PendingTotp>) -> Result<(), StorageError> {
    let place = Place { column: PENDING_KEY, row: owner.aci.0.as_bytes() };
    let sealed = pending.map(|pending| seal_json(owner.vault, place, &pending.key)).transpose()?;
    let expires = pending.map(|pending| integer(pending.expires.as_millis()));
    execute(
        owner.connection,
        "INSERT INTO auth_factor_state (account, pending_key, pending_expires) VALUES (?1, ?2, ?3)
         ON CONFLICT (account) DO UPDATE SET
             pending_key = excluded.pending_key, pending_expires = excluded.pending_expires",
        &[&owner.account, &sealed, &expires],
    )
    .map(drop)
}

/// Adds a factor under that number, which is free.
pub(super) fn insert(owner: &Owner<'_>, id: FactorId, new: &NewFactor) -> Result<(), StorageError> {
    let name = factor_name(owner.aci, id);
    let secret = seal_json(owner.vault, Place { column: SECRET, row: &name }, &new.secret)?;
    let index = match &new.secret {
        FactorSecret::Passkey(credential) => Some(credential_index(owner.vault, &credential.id)),
        FactorSecret::Totp(_) => None,
    };
    let (encrypted, plain) = label_columns(owner.vault, owner.aci, id, &new.label);
    execute(
        owner.connection,
        "INSERT INTO auth_factors (account, factor, kind, secret, credential_index, counter, encrypted_label,
             plain_label, created)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        &[
            &owner.account,
            &id.get(),
            &kind_number(new.secret.kind()),
            &secret,
            &index,
            &integer(new.counter),
            &encrypted,
            &plain,
            &integer(new.at.as_millis()),
        ],
    )
    .map(drop)
}

/// A label as the columns for encrypted and for plain ones.
pub(super) fn label_columns(
    vault: &Vault,
    aci: Aci,
    id: FactorId,
    label: &Label,
) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    match label {
        Label::Encrypted(label) => (Some(label.as_bytes().to_vec()), None),
        Label::Plain(label) => {
            let place = Place { column: PLAIN_LABEL, row: &factor_name(aci, id) };
            (None, Some(vault.seal(place, label.as_str().as_bytes())))
        }
    }
}

/// How a kind is written.
pub(super) fn kind_number(kind: FactorKind) -> u8 {
    match kind {
        FactorKind::Totp => 1,
        FactorKind::Passkey => 2,
    }
}

/// The keyed hash by which a passkey is found.
pub(super) fn credential_index(vault: &Vault, credential: &CredentialId) -> [u8; 32] {
    vault.index("auth.passkey", credential.as_bytes())
}

/// What binds a sealed column of a factor to its row.
fn factor_name(aci: Aci, id: FactorId) -> [u8; 17] {
    let mut name = [id.get(); 17];
    name[..16].copy_from_slice(aci.0.as_bytes());
    name
}

fn seal_json(vault: &Vault, place: Place<'_>, value: &impl Serialize) -> Result<Vec<u8>, StorageError> {
    let plain = Zeroizing::new(serde_json::to_vec(value).map_err(StorageError::unavailable)?);
    Ok(vault.seal(place, &plain))
}

fn open_json<T: DeserializeOwned>(vault: &Vault, place: Place<'_>, sealed: &[u8]) -> Option<T> {
    serde_json::from_slice(&vault.open(place, sealed).ok()?).ok()
}
