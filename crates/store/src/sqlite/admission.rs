//! Invitations and those who wait, in SQLite.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use auth::admission::{
    AdmissionStore, Admitted, Applicant, Application, ApplicationId, Standing,
    invite::{Invite, InviteCode, InviteId, NewInvite},
};
use protocol::{
    Aci, PhoneNumber,
    ambient::{StorageError, Timestamp},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;
use vault::{Place, Vault};

use super::{Database, sql};

const PENDING: i64 = 0;
const APPROVED: i64 = 1;
const REFUSED: i64 = 2;

const NUMBER: i64 = 1;
const NAME: i64 = 2;

/// What makes an invitation usable at the moment `?1`.
macro_rules! usable {
    () => {
        "revoked IS NULL AND NOT voided AND used < uses AND expires > ?1"
    };
}

/// Invitations and applications kept in one [`Database`], beside the accounts they lead to. The file shows neither codes
/// nor numbers, names and notes.
#[derive(Clone)]
pub struct SqliteAdmission {
    database: Arc<Database>,
    vault: Vault,
}

impl SqliteAdmission {
    /// Those in that file, sealed with those keys.
    pub fn new(database: Arc<Database>, vault: Vault) -> Self {
        Self { database, vault }
    }

    fn number_index(&self, number: &PhoneNumber) -> [u8; 32] {
        self.vault.index("auth.invite.number", number.as_str().as_bytes())
    }

    /// A bound code is one of a million, and the same for several numbers.
    fn code_index(&self, code: &InviteCode, number: Option<&PhoneNumber>) -> [u8; 32] {
        let number = number.filter(|_| code.is_bound()).map_or("", PhoneNumber::as_str);
        self.vault.index("auth.invite.code", format!("{}/{number}", code.as_str()).as_bytes())
    }

    fn applicant_index(&self, applicant: &Applicant) -> [u8; 32] {
        match applicant {
            Applicant::Number(number) => {
                self.vault.index("auth.application.number", number.as_str().as_bytes())
            }
            Applicant::Name(name) => self.vault.index("auth.application.name", name.as_bytes()),
        }
    }
}

#[async_trait]
impl AdmissionStore for SqliteAdmission {
    async fn add_invite(&self, new: NewInvite) -> Result<bool, StorageError> {
        let NewInvite { invite, code, number } = new;
        let code_index = self.code_index(&code, number.as_ref());
        let number_index = number.as_ref().map(|number| self.number_index(number));
        let note = invite.note.as_ref().map(|note| self.vault.seal(note_place(&invite.id), note.as_bytes()));
        self.database
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "INSERT INTO auth_invites
                             (id, made, code_index, number_index, uses, created, expires, note)
                         VALUES (?1, (SELECT coalesce(max(made), 0) + 1 FROM auth_invites), ?2, ?3, ?4, ?5, ?6, ?7)
                         ON CONFLICT (code_index) DO NOTHING",
                    )
                    .and_then(|mut insert| {
                        insert.execute(params![
                            invite.id.0.as_bytes(),
                            code_index,
                            number_index,
                            invite.uses,
                            millis(invite.created),
                            millis(invite.expires),
                            note
                        ])
                    })
                    .map(|inserted| inserted > 0)
                    .map_err(sql)
            })
            .await
    }

    async fn invites(&self) -> Result<Vec<Invite>, StorageError> {
        let vault = self.vault.clone();
        self.database.read(move |connection| select_invites(connection, &vault)).await
    }

    async fn revoke_invite(&self, id: InviteId, at: Timestamp) -> Result<bool, StorageError> {
        self.database
            .write(move |connection| {
                connection
                    .prepare_cached("UPDATE auth_invites SET revoked = ?2 WHERE id = ?1 AND revoked IS NULL")
                    .and_then(|mut update| update.execute(params![id.0.as_bytes(), millis(at)]))
                    .map(|updated| updated > 0)
                    .map_err(sql)
            })
            .await
    }

    async fn find_invite(
        &self,
        code: &InviteCode,
        number: Option<&PhoneNumber>,
        now: Timestamp,
    ) -> Result<Option<InviteId>, StorageError> {
        if code.is_bound() && number.is_none() {
            return Ok(None);
        }
        let index = self.code_index(code, number);
        self.database
            .read(move |connection| {
                let found: Option<Vec<u8>> = connection
                    .prepare_cached(concat!(
                        "SELECT id FROM auth_invites WHERE code_index = ?2 AND ",
                        usable!()
                    ))
                    .and_then(|mut select| {
                        select.query_row(params![millis(now), index], |row| row.get(0)).optional()
                    })
                    .map_err(sql)?;
                found.map(|id| uuid("auth_invites", &id).map(InviteId)).transpose()
            })
            .await
    }

    async fn is_invited(&self, number: &PhoneNumber, now: Timestamp) -> Result<bool, StorageError> {
        let index = self.number_index(number);
        self.database
            .read(move |connection| {
                connection
                    .prepare_cached(concat!(
                        "SELECT EXISTS (SELECT 1 FROM auth_invites WHERE number_index = ?2 AND ",
                        usable!(),
                        ")"
                    ))
                    .and_then(|mut select| select.query_row(params![millis(now), index], |row| row.get(0)))
                    .map_err(sql)
            })
            .await
    }

    async fn wrong_code(&self, number: &PhoneNumber, max: u32) -> Result<(), StorageError> {
        let index = self.number_index(number);
        self.database
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE auth_invites SET wrong_codes = wrong_codes + 1, voided = wrong_codes + 1 >= ?2
                         WHERE number_index = ?1 AND NOT voided",
                    )
                    .and_then(|mut update| update.execute(params![index, max]))
                    .map(drop)
                    .map_err(sql)
            })
            .await
    }

    async fn apply(
        &self,
        applicant: &Applicant,
        id: ApplicationId,
        at: Timestamp,
        max: u32,
    ) -> Result<Standing, StorageError> {
        let index = self.applicant_index(applicant);
        // Asking again is common and changes nothing: it costs no write.
        if let Some(standing) =
            self.database.read(move |connection| select_standing(connection, &index)).await?
        {
            return Ok(standing);
        }
        let (kind, text) = match applicant {
            Applicant::Number(number) => (NUMBER, number.as_str()),
            Applicant::Name(name) => (NAME, name.as_str()),
        };
        let sealed = self.vault.seal(applicant_place(&id), text.as_bytes());
        self.database
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "INSERT INTO auth_applications (id, applicant_index, kind, applicant, at, standing)
                         SELECT ?1, ?2, ?3, ?4, ?5, 0
                         WHERE (SELECT count(*) FROM auth_applications WHERE standing = 0) < ?6
                         ON CONFLICT (applicant_index) DO NOTHING",
                    )
                    .and_then(|mut insert| {
                        insert.execute(params![id.0.as_bytes(), index, kind, sealed, millis(at), max])
                    })
                    .map_err(sql)?;
                Ok(select_standing(connection, &index)?.unwrap_or(Standing::Pending))
            })
            .await
    }

    async fn applications(&self) -> Result<Vec<Application>, StorageError> {
        let vault = self.vault.clone();
        self.database.read(move |connection| select_applications(connection, &vault)).await
    }

    async fn decide(
        &self,
        id: ApplicationId,
        approve: bool,
        at: Timestamp,
    ) -> Result<Option<Applicant>, StorageError> {
        let vault = self.vault.clone();
        self.database
            .write(move |connection| {
                let standing = if approve { APPROVED } else { REFUSED };
                let decided = connection
                    .prepare_cached(
                        "UPDATE auth_applications SET standing = ?2, at = ?3 WHERE id = ?1
                         RETURNING id, kind, applicant, at, standing",
                    )
                    .and_then(|mut update| {
                        let row = params![id.0.as_bytes(), standing, millis(at)];
                        update.query_row(row, ApplicationRow::of).optional()
                    })
                    .map_err(sql)?;
                Ok(decided.map(|row| row.open(&vault)).transpose()?.map(|found| found.applicant))
            })
            .await
    }

    async fn remove_expired(&self, invites: Timestamp, applications: Timestamp) -> Result<(), StorageError> {
        self.database
            .write(move |connection| {
                for (statement, before) in [
                    ("DELETE FROM auth_invites WHERE coalesce(revoked, expires) < ?1", invites),
                    ("DELETE FROM auth_applications WHERE at < ?1", applications),
                ] {
                    connection
                        .prepare_cached(statement)
                        .and_then(|mut delete| delete.execute([millis(before)]))
                        .map_err(sql)?;
                }
                Ok(())
            })
            .await
    }
}

/// Uses up what admitted a new account, in the transaction that makes it. `false`, and nothing is used, if it admits
/// nobody any more: the account must not be made.
pub(super) fn settle(
    connection: &Connection,
    admitted: Admitted,
    aci: Aci,
    at: Timestamp,
) -> Result<bool, StorageError> {
    match admitted {
        Admitted::Freely => Ok(true),
        Admitted::ByInvite(InviteId(invite)) => use_invite(connection, invite, aci, at),
        Admitted::ByOperator(ApplicationId(application)) => connection
            .prepare_cached("DELETE FROM auth_applications WHERE id = ?1 AND standing = ?2")
            .and_then(|mut delete| delete.execute(params![application.as_bytes(), APPROVED]))
            .map(|deleted| deleted > 0)
            .map_err(sql),
    }
}

fn use_invite(connection: &Connection, invite: Uuid, aci: Aci, at: Timestamp) -> Result<bool, StorageError> {
    let used = connection
        .prepare_cached(concat!("UPDATE auth_invites SET used = used + 1 WHERE id = ?2 AND ", usable!()))
        .and_then(|mut update| update.execute(params![millis(at), invite.as_bytes()]))
        .map_err(sql)?;
    if used == 0 {
        return Ok(false);
    }
    connection
        .prepare_cached("INSERT INTO auth_invite_uses (invite, aci, at) VALUES (?1, ?2, ?3)")
        .and_then(|mut insert| insert.execute(params![invite.as_bytes(), aci.0.as_bytes(), millis(at)]))
        .map_err(sql)?;
    Ok(true)
}

fn select_standing(connection: &Connection, index: &[u8; 32]) -> Result<Option<Standing>, StorageError> {
    let found: Option<(Vec<u8>, i64)> = connection
        .prepare_cached("SELECT id, standing FROM auth_applications WHERE applicant_index = ?1")
        .and_then(|mut select| select.query_row([index], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .map_err(sql)?;
    found.map(|(id, standing)| to_standing(&id, standing)).transpose()
}

fn to_standing(id: &[u8], standing: i64) -> Result<Standing, StorageError> {
    match standing {
        PENDING => Ok(Standing::Pending),
        APPROVED => uuid("auth_applications", id).map(|id| Standing::Approved(ApplicationId(id))),
        REFUSED => Ok(Standing::Refused),
        _ => Err(corrupt("auth_applications", "standing")),
    }
}

fn select_invites(connection: &Connection, vault: &Vault) -> Result<Vec<Invite>, StorageError> {
    let mut select = connection
        .prepare_cached(
            "SELECT id, number_index IS NOT NULL, uses, used, wrong_codes, created, expires, revoked, note
             FROM auth_invites ORDER BY made",
        )
        .map_err(sql)?;
    let mut rows = select.query([]).map_err(sql)?;
    let mut invites = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        let id = InviteId(uuid("auth_invites", &row.get::<_, Vec<u8>>(0).map_err(sql)?)?);
        let note: Option<Vec<u8>> = row.get(8).map_err(sql)?;
        invites.push(Invite {
            id,
            bound: row.get(1).map_err(sql)?,
            uses: row.get(2).map_err(sql)?,
            used: row.get(3).map_err(sql)?,
            wrong_codes: row.get(4).map_err(sql)?,
            created: moment("auth_invites", "created", row.get(5).map_err(sql)?)?,
            expires: moment("auth_invites", "expires", row.get(6).map_err(sql)?)?,
            revoked: row
                .get::<_, Option<i64>>(7)
                .map_err(sql)?
                .map(|at| moment("auth_invites", "revoked", at))
                .transpose()?,
            note: note
                .map(|note| open_text(vault, note_place(&id), &note, "auth_invites", "note"))
                .transpose()?,
            accounts: select_uses(connection, id)?,
        });
    }
    Ok(invites)
}

fn select_uses(connection: &Connection, InviteId(id): InviteId) -> Result<Vec<Aci>, StorageError> {
    let mut select = connection
        .prepare_cached("SELECT aci FROM auth_invite_uses WHERE invite = ?1 ORDER BY rowid")
        .map_err(sql)?;
    let rows = select.query_map([id.as_bytes()], |row| row.get::<_, Vec<u8>>(0)).map_err(sql)?;
    rows.map(|aci| uuid("auth_invite_uses", &aci.map_err(sql)?).map(Aci)).collect()
}

fn select_applications(connection: &Connection, vault: &Vault) -> Result<Vec<Application>, StorageError> {
    let mut select = connection
        .prepare_cached("SELECT id, kind, applicant, at, standing FROM auth_applications ORDER BY at, id")
        .map_err(sql)?;
    let rows = select.query_map([], ApplicationRow::of).map_err(sql)?;
    rows.map(|row| row.map_err(sql)?.open(vault)).collect()
}

struct ApplicationRow {
    id: Vec<u8>,
    kind: i64,
    applicant: Vec<u8>,
    at: i64,
    standing: i64,
}

impl ApplicationRow {
    fn of(row: &Row<'_>) -> Result<Self, rusqlite::Error> {
        Ok(Self {
            id: row.get(0)?,
            kind: row.get(1)?,
            applicant: row.get(2)?,
            at: row.get(3)?,
            standing: row.get(4)?,
        })
    }

    fn open(self, vault: &Vault) -> Result<Application, StorageError> {
        const TABLE: &str = "auth_applications";
        let id = ApplicationId(uuid(TABLE, &self.id)?);
        let text = open_text(vault, applicant_place(&id), &self.applicant, TABLE, "applicant")?;
        let applicant = match self.kind {
            NUMBER => Applicant::Number(text.parse().map_err(|_| corrupt(TABLE, "applicant"))?),
            NAME => Applicant::Name(text),
            _ => return Err(corrupt(TABLE, "kind")),
        };
        let standing = to_standing(&self.id, self.standing)?;
        Ok(Application { id, applicant, asked: moment(TABLE, "at", self.at)?, standing })
    }
}

fn open_text(
    vault: &Vault,
    place: Place<'_>,
    sealed: &[u8],
    table: &'static str,
    column: &'static str,
) -> Result<String, StorageError> {
    let plain = vault.open_plain(place, sealed).map_err(|_| corrupt(table, column))?;
    String::from_utf8(plain).map_err(|_| corrupt(table, column))
}

fn note_place(InviteId(id): &InviteId) -> Place<'_> {
    Place { column: "auth_invites.note", row: id.as_bytes() }
}

fn applicant_place(ApplicationId(id): &ApplicationId) -> Place<'_> {
    Place { column: "auth_applications.applicant", row: id.as_bytes() }
}

fn uuid(table: &'static str, bytes: &[u8]) -> Result<Uuid, StorageError> {
    Uuid::from_slice(bytes).map_err(|_| corrupt(table, "id"))
}

fn moment(table: &'static str, column: &'static str, at: i64) -> Result<Timestamp, StorageError> {
    u64::try_from(at).map(Timestamp::from_millis).map_err(|_| corrupt(table, column))
}

fn corrupt(table: &'static str, column: &'static str) -> StorageError {
    StorageError::Corrupt { table, column, row: "one of those who are to come".to_owned() }
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Debug for SqliteAdmission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteAdmission").finish_non_exhaustive()
    }
}
