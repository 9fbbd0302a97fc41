//! Commands that change accounts beside a server that may be running.

use std::sync::Arc;

use anyhow::{Context, Result};
use store::sqlite::{Database, Schema};
use vault::Vault;

use crate::{audit_log::CommandTrail, config::Config, secrets::Secrets, wiring::ACCOUNTS_FILE};

/// What a command works on.
pub(crate) struct Beside {
    pub(crate) database: Arc<Database>,
    pub(crate) vault: Vault,
    /// Takes down what the command does.
    pub(crate) trail: Arc<CommandTrail>,
}

/// Opens the accounts and the audit log, works on them, and closes them. Fails if what was done could not be written into
/// the audit log.
pub(crate) async fn with_accounts<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Beside) -> Result<T>,
) -> Result<T> {
    let path = config.data.join(ACCOUNTS_FILE);
    let vault = Secrets::of(config).vault()?;
    let database = Database::open_beside(&path, Schema::Accounts)
        .with_context(|| format!("the store {} cannot be opened", path.display()))?;
    let beside = Beside { database: Arc::new(database), vault, trail: CommandTrail::open(config)? };
    let outcome = work(&beside).await;
    beside.database.close().await;
    beside.trail.close().await.and(outcome)
}
