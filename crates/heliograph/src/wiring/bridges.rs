//! What one service asks of another: no service knows another, so these stand between them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use auth::{
    audit::{Action, AuditTrail, Detail, Party},
    challenge::{ChallengeKind, ChallengeService},
    linking::wait::Backlog,
    revocation::{Disconnect, QueueClear, QueueClearer},
};
use keys::{KeyChanges, KeyFetchLimit};
use limits::{LimitId, RateLimits, RetryAfter};
use messages::{ChallengeOption, ChallengeRequired, CloseReason, MessageQueue, SendGate, SendLimits};
use protocol::{
    Aci, DeviceAddress, DeviceId, ServiceId,
    ambient::{StorageError, Timestamp},
};

/// Asks challenges on behalf of the messages.
pub(super) struct Challenged(pub(super) Arc<ChallengeService>);

impl SendGate for Challenged {
    fn admit(&self, sender: Aci) -> Result<(), ChallengeRequired> {
        let option = |kind| match kind {
            ChallengeKind::Captcha => ChallengeOption::Captcha,
            ChallengeKind::Push => ChallengeOption::PushChallenge,
        };
        self.0.admit(sender).map_err(|required| ChallengeRequired {
            token: required.token,
            options: required.options.into_iter().map(option).collect(),
            retry_after: Some(required.retry_after.0),
        })
    }
}

/// Tells the message queue what becomes of accounts.
pub(super) struct Hub(pub(super) MessageQueue);

impl Disconnect for Hub {
    fn credentials_revoked(&self, aci: Aci) {
        self.0.disconnect(aci, CloseReason::CredentialsRevoked);
    }

    fn device_removed(&self, device: DeviceAddress) {
        self.0.disconnect_device(device, CloseReason::CredentialsRevoked);
    }
}

#[async_trait]
impl QueueClearer for Hub {
    async fn clear(&self, QueueClear { aci, device, cutoff }: QueueClear) -> Result<(), StorageError> {
        match device {
            Some(device_id) => self.0.clear_device(DeviceAddress { aci, device_id }, cutoff).await,
            None => self.0.clear(aci, cutoff).await,
        }
    }
}

#[async_trait]
impl Backlog for Hub {
    async fn holds_before(&self, device: DeviceAddress, moment: Timestamp) -> Result<bool, StorageError> {
        self.0.holds_before(device, moment).await
    }
}

/// Writes down which keys were replaced.
pub(super) struct KeysAudited(pub(super) Arc<dyn AuditTrail>);

#[async_trait]
impl KeyChanges for KeysAudited {
    async fn replaced(&self, identity: ServiceId, device_id: DeviceId) {
        let by = match identity {
            ServiceId::Aci(aci) => Party::Device(DeviceAddress { aci, device_id }),
            ServiceId::Pni(pni) => Party::NumberIdentity(pni),
        };
        self.0.record(Action::ChangeKeys.by(by).detail(Detail::SignedPreKey)).await;
    }
}

/// Asks the rate limits on behalf of services.
pub(super) struct Gates(pub(super) Arc<RateLimits>);

impl Gates {
    fn check(&self, id: LimitId, key: &[u8], amount: u64) -> Result<(), Duration> {
        self.0.check(id, key, amount).map_err(|RetryAfter(wait)| wait)
    }
}

impl KeyFetchLimit for Gates {
    fn check(&self, key: &[u8]) -> Result<(), Duration> {
        self.check(LimitId::Prekeys, key, 1)
    }
}

impl SendLimits for Gates {
    fn message(&self, Aci(sender): Aci, Aci(recipient): Aci) -> Result<(), Duration> {
        let mut pair = [0; 32];
        pair[..16].copy_from_slice(sender.as_bytes());
        pair[16..].copy_from_slice(recipient.as_bytes());
        self.check(LimitId::Messages, &pair, 1)
    }

    fn story(&self, Aci(recipient): Aci) -> Result<(), Duration> {
        self.check(LimitId::Stories, recipient.as_bytes(), 1)
    }

    fn inbound_bytes(&self, recipient: ServiceId, bytes: usize) -> Result<(), Duration> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.check(LimitId::InboundMessageBytes, recipient.uuid().as_bytes(), bytes)
    }
}
