//! Sessions that a command ends beside a running server.

use async_trait::async_trait;
use auth::native::{Username, operator::OperatedSessions, session::SessionInfo};
use protocol::{
    Aci, DeviceAddress,
    ambient::{StorageError, Timestamp},
};
use rusqlite::{Connection, params};

use super::{
    super::{
        super::sql,
        SqliteAccounts,
        rows::{Columns, integer},
    },
    logins, sessions,
};

const TABLE: &str = "auth_logged_out";

#[async_trait]
impl OperatedSessions for SqliteAccounts {
    async fn account_named(&self, username: &Username) -> Result<Option<Aci>, StorageError> {
        let (vault, username) = (self.vault.clone(), username.clone());
        self.database.read(move |connection| logins::account_named(connection, &vault, &username)).await
    }

    async fn sessions_of(&self, aci: Aci, now: Timestamp) -> Result<Vec<SessionInfo>, StorageError> {
        let vault = self.vault.clone();
        self.database.read(move |connection| sessions::of_account(connection, &vault, aci, now)).await
    }

    async fn end_sessions_of(
        &self,
        whose: Option<Aci>,
        until: Timestamp,
        limit: usize,
    ) -> Result<usize, StorageError> {
        self.database.write(move |connection| end(connection, whose, until, limit)).await
    }

    async fn take_logged_out(&self, limit: usize) -> Result<Vec<DeviceAddress>, StorageError> {
        // Nearly always nobody: a look costs no write.
        let anybody = self.database.read(|connection| {
            connection
                .prepare_cached("SELECT 1 FROM auth_logged_out")
                .and_then(|mut statement| statement.exists([]))
                .map_err(sql)
        });
        if !anybody.await? {
            return Ok(Vec::new());
        }
        self.database.write(move |connection| take(connection, limit)).await
    }
}

fn end(
    connection: &Connection,
    whose: Option<Aci>,
    until: Timestamp,
    limit: usize,
) -> Result<usize, StorageError> {
    let aci = whose.map(|aci| aci.0.into_bytes());
    // Two statements, so that those of one account are found by its index.
    let whose = match whose {
        Some(_) => "account = (SELECT id FROM auth_accounts WHERE aci = ?1)",
        None => "?1 IS NULL",
    };
    let chosen =
        format!("(SELECT id FROM auth_native_sessions WHERE {whose} AND created <= ?2 ORDER BY id LIMIT ?3)");
    let (until, limit) = (integer(until.as_millis()), i64::try_from(limit).unwrap_or(i64::MAX));
    let run = |statement: &str| {
        connection
            .prepare_cached(statement)
            .and_then(|mut statement| statement.execute(params![aci, until, limit]))
            .map_err(sql)
    };
    // The first notes whom the second logs out.
    run(&format!(
        "INSERT OR IGNORE INTO auth_logged_out (account, device)
             SELECT account, device FROM auth_native_sessions WHERE id IN {chosen}"
    ))?;
    run(&format!("DELETE FROM auth_native_sessions WHERE id IN {chosen}"))
}

fn take(connection: &Connection, limit: usize) -> Result<Vec<DeviceAddress>, StorageError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT auth_logged_out.account AS account, auth_logged_out.device AS device, aci,
                 auth_native_sessions.id IS NOT NULL AS again
             FROM auth_logged_out JOIN auth_accounts ON auth_accounts.id = auth_logged_out.account
                 LEFT JOIN auth_native_sessions USING (account, device)
             LIMIT ?1",
        )
        .map_err(sql)?;
    let mut taken = connection
        .prepare_cached("DELETE FROM auth_logged_out WHERE account = ?1 AND device = ?2")
        .map_err(sql)?;
    let mut rows = statement.query([i64::try_from(limit).unwrap_or(i64::MAX)]).map_err(sql)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        let at = Columns { row, table: TABLE, name: "of an account".to_owned() };
        let account: i64 = at.read("account", Some)?;
        let again: bool = at.read("again", Some)?;
        found.push((account, sessions::address(&at)?, again));
    }
    for (account, device, _) in &found {
        taken.execute(params![account, device.device_id.get()]).map_err(sql)?;
    }
    Ok(found.into_iter().filter(|(_, _, again)| !again).map(|(_, device, _)| device).collect())
}
