//! What services stand on: the stores, and what all of them need.

use std::sync::Arc;

use ::audit::Recorder;
use anyhow::{Context, Result};
use auth::{audit::AuditTrail, store::AccountStore, verification::Outbox};
use limits::RateLimits;
use protocol::ambient::{Clock, Entropy, SystemClock, SystemEntropy};
use store::sqlite::{SqliteAccounts, SqliteAudit};
use vault::Vault;

use super::{
    audit::{Form, Trail},
    bridges::Gates,
    stores::Stores,
};
use crate::{audit_log::Checkpoints, config::Config};

/// Where the "outbox" provider leaves codes.
const OUTBOX_FILE: &str = "outbox.jsonl";

/// What the services stand on; the files beside this one have a method for each, which builds it.
pub(super) struct Ground<'a> {
    pub(super) config: &'a Config,
    pub(super) development: bool,
    pub(super) stores: &'a Stores,
    pub(super) vault: &'a Vault,
    pub(super) accounts: Arc<SqliteAccounts>,
    pub(super) limits: Arc<RateLimits>,
    pub(super) audit_log: Arc<SqliteAudit>,
    pub(super) recorder: Recorder,
    pub(super) audit: Arc<dyn AuditTrail>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
}

impl<'a> Ground<'a> {
    pub(super) fn new(
        config: &'a Config,
        stores: &'a Stores,
        vault: &'a Vault,
        development: bool,
    ) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let path = config.data.join(OUTBOX_FILE);
        let outbox = Outbox::open(&path, Arc::clone(&clock))
            .with_context(|| format!("the outbox {} cannot be opened", path.display()))?;
        let audit_log = Arc::new(SqliteAudit::new(Arc::clone(&stores.audit), vault.clone()));
        let recorder = Recorder::new(audit_log.clone(), Arc::clone(&clock), config.audit.life());
        Ok(Self {
            config,
            development,
            stores,
            vault,
            accounts: Arc::new(SqliteAccounts::new(Arc::clone(&stores.accounts), vault.clone())),
            limits: Arc::new(RateLimits::new(Arc::clone(&clock), config.rate_limits())),
            audit: Arc::new(Trail::new(recorder.clone(), Form::new(config, vault, Arc::clone(&clock)))),
            audit_log,
            recorder,
            outbox: Arc::new(outbox),
            clock,
            entropy: Arc::new(SystemEntropy),
        })
    }

    pub(super) fn account_store(&self) -> Arc<dyn AccountStore> {
        self.accounts.clone()
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    pub(super) fn entropy(&self) -> Arc<dyn Entropy> {
        Arc::clone(&self.entropy)
    }

    pub(super) fn limits(&self) -> Arc<RateLimits> {
        Arc::clone(&self.limits)
    }

    pub(super) fn audit(&self) -> Arc<dyn AuditTrail> {
        Arc::clone(&self.audit)
    }

    pub(super) fn gates(&self) -> Arc<Gates> {
        Arc::new(Gates(self.limits()))
    }

    pub(super) fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.config, self.vault, self.audit_log.clone(), self.clock())
    }
}
