//! Codes by which a device that is logged in lets another one in.

use async_trait::async_trait;
use auth::{
    linking::LinkCodeId,
    native::{
        SessionId,
        linking::store::{CodeOffer, CodeState, NativeLinkStore, RedeemOutcome, Redemption},
        store::{OpenSession, OpenSessionOutcome, Publication, PublishOutcome},
    },
};
use protocol::{
    Aci, DeviceId, ServiceId,
    ambient::{StorageError, Timestamp},
};
use rusqlite::{Connection, params};
use uuid::Uuid;
use vault::Vault;

use super::{
    super::{
        super::sql,
        SqliteAccounts,
        rows::{self, Columns, integer},
    },
    opening, publishing,
};

const TABLE: &str = "auth_native_link_codes";

#[async_trait]
impl NativeLinkStore for SqliteAccounts {
    async fn offer_code(&self, offer: CodeOffer) -> Result<bool, StorageError> {
        self.database.write(move |connection| insert(connection, offer)).await
    }

    async fn offered_code(
        &self,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Option<CodeState>, StorageError> {
        self.database.read(move |connection| state(connection, session, now)).await
    }

    async fn withdraw_code(&self, session: SessionId) -> Result<(), StorageError> {
        self.database
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "DELETE FROM auth_native_link_codes
                         WHERE session = (SELECT id FROM auth_native_sessions WHERE session = ?1)",
                    )
                    .and_then(|mut statement| statement.execute([session.as_bytes()]))
                    .map(drop)
                    .map_err(sql)
            })
            .await
    }

    async fn redeem_code(&self, redemption: Redemption) -> Result<RedeemOutcome, StorageError> {
        self.write_and_forget(move |connection, vault| {
            let outcome = redeem(connection, vault, redemption)?;
            let changed = match outcome {
                RedeemOutcome::Redeemed { device, .. } => vec![ServiceId::Aci(device.aci)],
                _ => Vec::new(),
            };
            Ok((outcome, changed))
        })
        .await
    }
}

fn insert(connection: &Connection, offer: CodeOffer) -> Result<bool, StorageError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO auth_native_link_codes (session, code, login_version, expires, account)
             SELECT id, ?2, version, ?3, account FROM auth_native_sessions JOIN auth_logins USING (account)
             WHERE session = ?1 AND expires > ?4",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                offer.session.as_bytes(),
                offer.code.as_bytes(),
                integer(offer.expires.as_millis()),
                integer(offer.at.as_millis()),
            ])
        })
        .map(|inserted| inserted > 0)
        .map_err(sql)
}

fn state(
    connection: &Connection,
    session: SessionId,
    now: Timestamp,
) -> Result<Option<CodeState>, StorageError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT codes.device, codes.expires
             FROM auth_native_sessions AS sessions JOIN auth_native_link_codes AS codes ON codes.session = sessions.id
                 JOIN auth_logins AS logins ON logins.account = codes.account
             WHERE sessions.session = ?1 AND codes.expires > ?2
                 AND (codes.device IS NOT NULL OR codes.login_version = logins.version)",
        )
        .map_err(sql)?;
    let mut rows = statement.query(params![session.as_bytes(), integer(now.as_millis())]).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else { return Ok(None) };
    let at = Columns { row, table: TABLE, name: "of a session".to_owned() };
    Ok(Some(match at.maybe("device", |id: u32| DeviceId::try_from(id).ok())? {
        Some(device) => CodeState::Used(device),
        None => CodeState::Open {
            expires: at.read("expires", |ms: i64| ms.try_into().ok().map(Timestamp::from_millis))?,
        },
    }))
}

/// A code that can be used.
struct OpenCode {
    /// Its row, which is that of its session.
    row: i64,
    offered_by: SessionId,
    aci: Aci,
    login_version: u64,
}

fn open_code(
    connection: &Connection,
    code: LinkCodeId,
    now: Timestamp,
) -> Result<Option<OpenCode>, StorageError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT codes.session AS id, sessions.session, aci, login_version
             FROM auth_native_link_codes AS codes JOIN auth_native_sessions AS sessions ON sessions.id = codes.session
                 JOIN auth_accounts ON auth_accounts.id = codes.account
             WHERE code = ?1 AND codes.expires > ?2 AND sessions.expires > ?2 AND codes.device IS NULL",
        )
        .map_err(sql)?;
    let mut rows = statement.query(params![code.as_bytes(), integer(now.as_millis())]).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else { return Ok(None) };
    let id: i64 = row.get("id").map_err(sql)?;
    let at = Columns { row, table: TABLE, name: id.to_string() };
    Ok(Some(OpenCode {
        row: id,
        offered_by: at.read("session", |bytes: Vec<u8>| SessionId::from_bytes(&bytes))?,
        aci: Aci(at.read("aci", |bytes: Vec<u8>| Uuid::from_slice(&bytes).ok())?),
        login_version: at.read("login_version", |version: i64| version.try_into().ok())?,
    }))
}

/// What is refused is refused before anything is written: the code stays as it was.
fn redeem(
    connection: &Connection,
    vault: &Vault,
    redemption: Redemption,
) -> Result<RedeemOutcome, StorageError> {
    let Some(code) = open_code(connection, redemption.code, redemption.session.at)? else {
        return Ok(RedeemOutcome::NoSuchCode);
    };
    if let Some(keys) = &redemption.keys {
        let account = rows::account(connection, vault, ServiceId::Aci(code.aci))?;
        let identity = account.and_then(|found| found.account.identity_key);
        if identity.is_some_and(|identity| identity != keys.identity_key) {
            return Ok(RedeemOutcome::OtherIdentity);
        }
    }
    let open = OpenSession {
        aci: code.aci,
        login_version: code.login_version,
        // By whoever logged the device in that shows the code.
        factor_shown: true,
        device: redemption.device,
        session: redemption.session,
        devices_max: redemption.devices_max,
    };
    let (device, registration_id, joined) = match opening::open(connection, vault, &open)? {
        OpenSessionOutcome::Opened { device, registration_id, joined } => (device, registration_id, joined),
        OpenSessionOutcome::Outdated => return Ok(RedeemOutcome::NoSuchCode),
        OpenSessionOutcome::TooManyDevices => return Ok(RedeemOutcome::TooManyDevices),
    };
    if let Some(keys) = redemption.keys {
        let publication =
            Publication { device: device.address(), keys, registration_id: None, replace: false };
        let published = publishing::publish(connection, vault, &publication)?;
        if published != PublishOutcome::Published {
            return Err(StorageError::unavailable("keys were refused that had been checked"));
        }
    }
    use_up(connection, code.row, device.device_id, redemption.remembered_until)?;
    Ok(RedeemOutcome::Redeemed { device, registration_id, joined, offered_by: code.offered_by })
}

/// Nothing is left of a code that its own device has used: that session has ended.
fn use_up(connection: &Connection, row: i64, device: DeviceId, until: Timestamp) -> Result<(), StorageError> {
    connection
        .prepare_cached("UPDATE auth_native_link_codes SET device = ?2, expires = ?3 WHERE session = ?1")
        .and_then(|mut statement| statement.execute(params![row, device.get(), integer(until.as_millis())]))
        .map(drop)
        .map_err(sql)
}
