//! Waking devices that are away.

use std::sync::Arc;

use anyhow::Result;
use auth::{challenge::PushChallenges, verification::Outbox};
use limits::RateLimits;
use messages::{MessageMetrics, MessageQueue, WakeUps, Waker};
use protocol::ambient::{Clock, Entropy};
use push::{PushMetrics, PushParts, PushService, Recovery};
use store::sqlite::{SqliteAccounts, SqliteWakeLog};
use vault::Vault;

use super::{
    bridges::{Pusher, Rewaker},
    ground::Ground,
    providers,
    stores::Stores,
};
use crate::{
    config::{Config, PushProvider},
    secrets::Secrets,
};

/// What wakes devices that are away.
pub(crate) struct Waking {
    pub(crate) wake_ups: WakeUps,
    pub(crate) waker: Arc<dyn Waker>,
    pub(crate) recovery: Arc<Recovery>,
}

impl Ground<'_> {
    pub(super) fn push(&self, secrets: &Secrets, metrics: &PushMetrics) -> Result<Arc<PushService>> {
        Ok(Arc::new(PushService::new(PushParts {
            targets: self.accounts.clone(),
            providers: providers::providers(self.config, secrets, self.vault, &self.clock, &self.entropy)?,
            limits: self.limits(),
            metrics: metrics.clone(),
            clock: self.clock(),
        })))
    }

    /// The devices that are to be woken; nothing if nobody could wake them.
    pub(super) fn wake_ups(&self, push: &PushService, metrics: &MessageMetrics) -> Option<WakeUps> {
        push.is_on().then(|| WakeUps::new(self.config.push.to_wake_ups(), metrics.wake_ups.clone()))
    }

    pub(super) fn waking(
        &self,
        push: &Arc<PushService>,
        queue: &MessageQueue,
        wake_ups: WakeUps,
        metrics: &MessageMetrics,
    ) -> Waking {
        let log = SqliteWakeLog::new(Arc::clone(&self.stores.messages));
        let rewaker =
            Rewaker { queue: queue.clone(), wake_ups: wake_ups.clone(), metrics: metrics.wake_ups.clone() };
        Waking {
            wake_ups,
            waker: Arc::new(Pusher(Arc::clone(push))),
            recovery: Arc::new(Recovery::new(Arc::clone(push), Arc::new(log), Arc::new(rewaker))),
        }
    }
}

/// The push service alone, for a command.
pub(crate) fn push_service(
    config: &Config,
    stores: &Stores,
    secrets: &Secrets,
    vault: &Vault,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<PushService> {
    Ok(PushService::new(PushParts {
        targets: Arc::new(SqliteAccounts::new(Arc::clone(&stores.accounts), vault.clone())),
        providers: providers::providers(config, secrets, vault, clock, entropy)?,
        limits: Arc::new(RateLimits::new(Arc::clone(clock), config.rate_limits())),
        metrics: PushMetrics::default(),
        clock: Arc::clone(clock),
    }))
}

/// Whoever delivers challenges as the configuration says.
pub(super) fn push_challenges(
    provider: PushProvider,
    outbox: &Arc<Outbox>,
    push: &Arc<PushService>,
) -> Option<Arc<dyn PushChallenges>> {
    match provider {
        PushProvider::None => None,
        PushProvider::Push => Some(Arc::new(Pusher(Arc::clone(push)))),
        PushProvider::Outbox => Some(outbox.clone()),
    }
}
