//! The embedded store: its files in the data folder.

use std::sync::Arc;

use anyhow::{Context, Result};
use store::sqlite::{Database, Schema};

use crate::{config::Config, secrets};

/// Accounts, devices, keys, and what else is not a message.
pub(crate) const ACCOUNTS_FILE: &str = "accounts.sqlite";
const MESSAGES_FILE: &str = "messages.sqlite";
/// Messages that were stored many at once.
pub(super) const MESSAGES_FOLDER: &str = "messages";
/// The audit log.
pub(crate) const AUDIT_FILE: &str = "audit.sqlite";

/// The embedded store, opened.
pub(crate) struct Stores {
    pub(super) accounts: Arc<Database>,
    pub(super) messages: Arc<Database>,
    pub(super) audit: Arc<Database>,
}

impl Stores {
    /// Opens the files. With `create`, missing ones are made.
    pub(crate) fn open(config: &Config, create: bool) -> Result<Self> {
        let open = |name: &str, schema| {
            let path = config.data.join(name);
            let opened = Database::open(&path, schema, create);
            opened.map(Arc::new).with_context(|| format!("the store {} cannot be opened", path.display()))
        };
        // Whoever shares the folder by a mistake of permissions does not read along.
        let audit = config.data.join(AUDIT_FILE);
        if create && !audit.exists() {
            secrets::write_private(&audit, &[])?;
        }
        Ok(Self {
            accounts: open(ACCOUNTS_FILE, Schema::Accounts)?,
            messages: open(MESSAGES_FILE, Schema::Messages)?,
            audit: open(AUDIT_FILE, Schema::Audit)?,
        })
    }

    /// Commits what is waiting and closes the files.
    pub(crate) async fn close(&self) {
        self.messages.close().await;
        self.accounts.close().await;
        self.audit.close().await;
    }
}
