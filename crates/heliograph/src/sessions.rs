//! `heliograph sessions`: who is logged in to the native API, and logging them out.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use auth::native::{Username, operator::SessionOperator, session::SessionInfo};
use protocol::{Aci, ambient::SystemClock};
use serde::Serialize;
use store::sqlite::SqliteAccounts;

use crate::{
    beside::{Beside, with_accounts},
    config::Config,
};

/// A session as it is shown. What people call their devices is for their own eyes.
#[derive(Serialize)]
struct SessionLine {
    session: String,
    device: u8,
    created: u64,
    last_used: u64,
    expires: u64,
}

/// A line of JSON for each session of an account, the longest first.
pub(crate) async fn list(config: &Config, account: &str) -> Result<Vec<String>> {
    let found = with_operator(config, async |operator| {
        let aci = account_of(operator, account).await?;
        Ok(operator.sessions(aci).await?)
    })
    .await?;
    let lines =
        found.into_iter().map(|SessionInfo { id, device_id, created, last_used, expires, .. }| {
            let line = SessionLine {
                session: id.to_string(),
                device: device_id.get(),
                created: created.as_millis(),
                last_used: last_used.as_millis(),
                expires: expires.as_millis(),
            };
            serde_json::to_string(&line).context("a session cannot be written as JSON")
        });
    lines.collect()
}

/// Ends every session of an account, or without one of everybody.
pub(crate) async fn end(config: &Config, account: Option<&str>) -> Result<String> {
    with_operator(config, async |operator| {
        let whose = match account {
            Some(account) => Some(account_of(operator, account).await?),
            None => None,
        };
        let ended = operator.end(whose).await?;
        Ok(format!("{ended} ended; a running server closes their connections within a second or two"))
    })
    .await
}

/// The account of that ACI or username.
async fn account_of(operator: &SessionOperator, text: &str) -> Result<Aci> {
    if let Ok(aci) = text.parse() {
        return Ok(aci);
    }
    let username = Username::new(text).context("that is neither the UUID of an account nor a username")?;
    match operator.account_named(&username).await? {
        Some(aci) => Ok(aci),
        None => bail!("nobody has that username"),
    }
}

/// Works on sessions beside a server that may be running.
async fn with_operator<T>(
    config: &Config,
    work: impl AsyncFnOnce(&SessionOperator) -> Result<T>,
) -> Result<T> {
    with_accounts(config, async |Beside { database, vault, trail }| {
        let accounts = SqliteAccounts::new(Arc::clone(database), vault.clone());
        work(&SessionOperator::new(Arc::new(accounts), trail.clone(), Arc::new(SystemClock))).await
    })
    .await
}
