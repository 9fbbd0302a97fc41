//! The embedded store: its files in the data folder.

use std::sync::Arc;

use anyhow::{Context, Result};
use store::sqlite::{Database, Schema};

use crate::config::Config;

/// Accounts, devices, keys, and what else is not a message.
pub(crate) const ACCOUNTS_FILE: &str = "accounts.sqlite";
const MESSAGES_FILE: &str = "messages.sqlite";

/// The embedded store, opened.
pub(crate) struct Stores {
    pub(super) accounts: Arc<Database>,
    pub(super) messages: Arc<Database>,
}

impl Stores {
    /// Opens both files. With `create`, missing ones are made.
    pub(crate) fn open(config: &Config, create: bool) -> Result<Self> {
        let open = |name: &str, schema| {
            let path = config.data.join(name);
            let opened = Database::open(&path, schema, create);
            opened.map(Arc::new).with_context(|| format!("the store {} cannot be opened", path.display()))
        };
        Ok(Self {
            accounts: open(ACCOUNTS_FILE, Schema::Accounts)?,
            messages: open(MESSAGES_FILE, Schema::Messages)?,
        })
    }

    /// Commits what is waiting and closes both files.
    pub(crate) async fn close(&self) {
        self.messages.close().await;
        self.accounts.close().await;
    }
}
