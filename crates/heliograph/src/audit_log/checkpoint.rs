//! Where the log once ended: a file beside it, so that an end that is cut off shows.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use audit::{AuditStore, chain::ChainKey, checkpoint::Checkpoint};
use protocol::ambient::{Clock, Timestamp};
use store::sqlite::audit_chain_key;
use vault::Vault;

use crate::{config::Config, secrets};

/// The last checkpoint, in the data folder.
const CHECKPOINT_FILE: &str = "audit-checkpoint.json";

/// How often the running server states the head in its own log, where an operator may keep it apart from the machine.
const STATED_EVERY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// States where the log ends.
pub(crate) struct Checkpoints {
    path: PathBuf,
    key: ChainKey,
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    stated: Option<Timestamp>,
}

impl Checkpoints {
    /// For the log of that configuration.
    pub(crate) fn new(
        config: &Config,
        vault: &Vault,
        store: Arc<dyn AuditStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            path: config.data.join(CHECKPOINT_FILE),
            key: audit_chain_key(vault),
            store,
            clock,
            stated: None,
        }
    }

    /// Writes down where the log ends, if that has changed; once a day also into the server's own log.
    pub(crate) async fn write(&mut self) -> Result<()> {
        let (head, at) = (self.store.head().await?, self.clock.now());
        if self.stated.is_none_or(|stated| at.as_millis() >= stated.as_millis() + STATED_EVERY_MILLIS) {
            tracing::info!(head = head.to_text(), "the audit log ends here");
            self.stated = Some(at);
        }
        // A command may have written a later one. What cannot be read is not overwritten by something that may be less.
        if let Some(text) = read_file(&self.path)?
            && Checkpoint::from_json(&self.key, &text)?.head.seq >= head.seq
        {
            return Ok(());
        }
        secrets::write_private(&self.path, Checkpoint { head, at }.to_json(&self.key).as_bytes())
    }
}

/// The last checkpoint, if there is one.
pub(super) fn read(config: &Config, key: &ChainKey) -> Result<Option<Checkpoint>> {
    let path = config.data.join(CHECKPOINT_FILE);
    let Some(text) = read_file(&path)? else { return Ok(None) };
    let checkpoint = Checkpoint::from_json(key, &text);
    checkpoint.map(Some).with_context(|| format!("{} is not as it was written", path.display()))
}

fn read_file(path: &PathBuf) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}
