//! What commands that change something write into the log.

use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use audit::AuditStore;
use auth::audit::{AuditEvent, AuditTrail};
use parking_lot::Mutex;
use protocol::{
    DeviceAddress,
    ambient::{StorageError, SystemClock},
};
use store::sqlite::{Database, Schema, SqliteAudit};
use vault::Vault;

use super::Checkpoints;
use crate::{
    config::Config,
    secrets::Secrets,
    wiring::{AUDIT_FILE, Form},
};

/// The trail of a command: each event is written at once, also while a server runs.
pub(crate) struct CommandTrail {
    config: Config,
    vault: Vault,
    database: Arc<Database>,
    store: Arc<SqliteAudit>,
    form: Form,
    failure: Mutex<Option<StorageError>>,
}

impl CommandTrail {
    /// Opens the log, before anything is changed that is to be in it.
    pub(crate) fn open(config: &Config) -> Result<Arc<Self>> {
        let path = config.data.join(AUDIT_FILE);
        let vault = Secrets::of(config).vault()?;
        let database = Database::open_beside(&path, Schema::Audit)
            .with_context(|| format!("the audit log {} cannot be opened", path.display()))?;
        let database = Arc::new(database);
        Ok(Arc::new(Self {
            config: config.clone(),
            form: Form::new(config, &vault, Arc::new(SystemClock)),
            store: Arc::new(SqliteAudit::new(Arc::clone(&database), vault.clone())),
            vault,
            database,
            failure: Mutex::default(),
        }))
    }

    /// Notes where the log ends. Fails if an event could not be written: the operator must hear of it.
    pub(crate) async fn close(&self) -> Result<()> {
        let failed = "it is done, but not in the audit log";
        let failure = self.failure.lock().take();
        let outcome = if let Some(failure) = failure {
            Err(failure).context(failed)
        } else {
            let store = self.store.clone();
            let mut checkpoints = Checkpoints::new(&self.config, &self.vault, store, Arc::new(SystemClock));
            checkpoints.write().await.context(failed)
        };
        self.database.close().await;
        outcome
    }
}

#[async_trait]
impl AuditTrail for CommandTrail {
    fn ready(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn signed_in(&self, _: DeviceAddress, _: bool) {}

    async fn record(&self, event: AuditEvent) {
        if let Err(failure) = self.store.append(vec![self.form.entry(&event)]).await {
            *self.failure.lock() = Some(failure);
        }
    }
}

/// Writes one event into the log. It is on disk when this returns.
pub(crate) async fn record(config: &Config, event: AuditEvent) -> Result<()> {
    let trail = CommandTrail::open(config)?;
    trail.record(event).await;
    trail.close().await
}
