//! What one service asks of another: no service knows another, so these stand between them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use auth::{
    audit::{Action, AuditTrail, Detail, Party},
    challenge::{
        ChallengeKind, ChallengeService, PushChallengeMessage, PushChallengeTo, PushChallenges,
        PushUndelivered,
    },
    change_number::{NoticeDelivery, store::NumberNotice},
    idle::Presence,
    linking::wait::Backlog,
    revocation::{Disconnect, QueueClear, QueueClearer},
};
use keys::{KeyChanges, KeyFetchLimit, RepeatedUseKey};
use limits::{LimitId, RateLimits, RetryAfter};
use messages::metrics::WakeUpMetrics;
use messages::{
    ChallengeOption, ChallengeRequired, CloseReason, MessageQueue, MessageService, NumberChangeMessage,
    QueueError, SendGate, SendLimits, Urgency, WakeUps, Waker, Woken,
};
use protocol::{
    Aci, DeviceAddress, DeviceId, PushService as PushTokenKind, ServiceId,
    ambient::{StorageError, Timestamp},
};
use push::{Challenge, PushService, Rewake, provider::ChallengeSecret};

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

/// Wakes devices on behalf of the message queue, and delivers challenges.
pub(super) struct Pusher(pub(super) Arc<PushService>);

#[async_trait]
impl Waker for Pusher {
    async fn wake(&self, device: DeviceAddress, urgency: Urgency) -> Woken {
        match self.0.wake(device, urgency == Urgency::Urgent).await {
            push::Outcome::Told => Woken::Told,
            push::Outcome::Unreachable => Woken::Unreachable,
            push::Outcome::Failed { retry_after } => Woken::Failed { retry_after },
        }
    }
}

#[async_trait]
impl PushChallenges for Pusher {
    fn reaches(&self, service: PushTokenKind) -> bool {
        self.0.reaches(service)
    }

    async fn send(&self, message: PushChallengeMessage) -> Result<(), PushUndelivered> {
        let kind = match message.to {
            PushChallengeTo::Device(_) => Challenge::RateLimit,
            PushChallengeTo::Newcomer(_) => Challenge::Registration,
        };
        let secret = ChallengeSecret::new(message.challenge.as_str());
        let sent = self.0.challenge(&message.token, kind, secret).await;
        sent.map_err(|error| PushUndelivered(error.into()))
    }
}

/// Has devices woken that something waits for since before a restart.
pub(super) struct Rewaker {
    pub(super) queue: MessageQueue,
    pub(super) wake_ups: WakeUps,
    pub(super) metrics: WakeUpMetrics,
}

impl Rewake for Rewaker {
    fn rewake(&self, device: DeviceAddress, after: Duration) {
        self.queue.wake_if_away(device, after);
    }

    fn has_room(&self) -> bool {
        self.wake_ups.has_room()
    }

    fn dropped(&self) -> u64 {
        self.metrics.dropped.get()
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

impl Presence for Hub {
    fn connected(&self) -> Vec<DeviceAddress> {
        self.0.connected()
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
    async fn replaced(&self, identity: ServiceId, device_id: DeviceId, key: RepeatedUseKey) {
        let by = match identity {
            ServiceId::Aci(aci) => Party::Device(DeviceAddress { aci, device_id }),
            ServiceId::Pni(pni) => Party::NumberIdentity(pni),
        };
        let detail = match key {
            RepeatedUseKey::Signed => Detail::SignedPreKey,
            RepeatedUseKey::LastResort => Detail::LastResortPreKey,
        };
        self.0.record(Action::ChangeKeys.by(by).detail(detail)).await;
    }
}

/// Brings word of new numbers to devices.
pub(super) struct Notices(pub(super) MessageService);

#[async_trait]
impl NoticeDelivery for Notices {
    async fn deliver(&self, notice: &NumberNotice) -> Result<(), StorageError> {
        let NumberNotice { device, pni, content, .. } = notice;
        let message = NumberChangeMessage {
            device: *device,
            source: u32::from(content.source).try_into().unwrap_or(DeviceId::PRIMARY),
            updated_pni: *pni,
            kind: content.envelope_type(),
            content: content.ciphertext.clone().into(),
            at: content.at,
        };
        self.0.send_number_change(message).await.map_err(|failure| match failure {
            QueueError::Storage(error) => error,
            refused @ (QueueError::Overloaded | QueueError::Full) => StorageError::unavailable(refused),
        })
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
