//! What commands that change something write into the log.

use std::sync::Arc;

use anyhow::{Context, Result};
use audit::AuditStore;
use auth::audit::AuditEvent;
use protocol::ambient::SystemClock;
use store::sqlite::{Database, Schema, SqliteAudit};

use super::Checkpoints;
use crate::{
    config::Config,
    secrets::Secrets,
    wiring::{AUDIT_FILE, Form},
};

/// Writes an event into the log, also while the server runs. It is on disk when this returns.
///
/// A command calls it after what it did, and fails if this fails: the operator must hear of it.
pub(crate) async fn record(config: &Config, event: AuditEvent) -> Result<()> {
    let path = config.data.join(AUDIT_FILE);
    let failed = || format!("it is done, but not in the audit log {}", path.display());
    let vault = Secrets::of(config).vault().with_context(failed)?;
    let database = Arc::new(Database::open_beside(&path, Schema::Audit).with_context(failed)?);
    let store: Arc<dyn AuditStore> = Arc::new(SqliteAudit::new(Arc::clone(&database), vault.clone()));
    let form = Form::new(config, &vault, Arc::new(SystemClock));
    store.append(vec![form.entry(&event)]).await.with_context(failed)?;
    let mut checkpoints = Checkpoints::new(config, &vault, store, Arc::new(SystemClock));
    let written = checkpoints.write().await.with_context(failed);
    database.close().await;
    written
}
