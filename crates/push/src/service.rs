//! The service: from a device to a push, and from what the provider says to what is to be done.

use std::{fmt, sync::Arc, time::Duration};

use limits::{LimitId, RateLimits, RetryAfter};
use parking_lot::Mutex;
use protocol::{
    DeviceAddress, PushService as Service, PushToken,
    ambient::{Clock, StorageError, Timestamp},
};
use tokio::time::Instant;

use crate::{
    lanes::{Busy, Lanes},
    metrics::PushMetrics,
    provider::{Challenge, ChallengeSecret, Delivery, Provider, Push, Verdict},
    recovery::Recent,
    targets::{PushTarget, PushTargets},
    web_push::{SubscriptionRefused, WebPush},
};

/// Pushes at once to Apple, and to Google. Apple takes a thousand on a connection.
const PLATFORM_AT_ONCE: usize = 256;
/// Pushes at once to all push servers together, and to each.
const WEB_PUSH_AT_ONCE: usize = 256;
const WEB_PUSH_AT_ONCE_EACH: usize = 32;

/// How long a provider is left alone that does not take our credentials. The operator has to mend something.
const UNAUTHORIZED_FOR: Duration = Duration::from_mins(5);
/// How long a device is left alone whose push was refused as a bad one.
const REFUSED_FOR: Duration = Duration::from_mins(10);
/// How long a device is left alone that had too many, if the provider does not say.
const SLOWER_FOR: Duration = Duration::from_mins(1);
/// Least time between two complaints in the log about one provider.
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

/// The providers there are.
#[derive(Default)]
pub struct Providers {
    /// Apple's.
    pub apns: Option<Arc<dyn Provider>>,
    /// Google's.
    pub fcm: Option<Arc<dyn Provider>>,
    /// Web Push.
    pub web_push: Option<Arc<WebPush>>,
}

/// What a [`PushService`] is made of.
pub struct PushParts {
    /// Knows where pushes reach devices.
    pub targets: Arc<dyn PushTargets>,
    /// Who delivers them.
    pub providers: Providers,
    /// How often a device may be pushed to.
    pub limits: Arc<RateLimits>,
    /// What is counted.
    pub metrics: PushMetrics,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// Pushes to devices.
pub struct PushService {
    targets: Arc<dyn PushTargets>,
    apns: Option<Lane>,
    fcm: Option<Lane>,
    web_push: Option<(Arc<WebPush>, Lane)>,
    limits: Arc<RateLimits>,
    metrics: PushMetrics,
    clock: Arc<dyn Clock>,
    recent: Recent,
}

/// A provider and the room there is for pushes to it.
struct Lane {
    provider: Arc<dyn Provider>,
    lanes: Lanes,
    complained: Mutex<Option<Instant>>,
}

/// What became of waking a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A provider delivers it.
    Told,
    /// Nothing reaches the device.
    Unreachable,
    /// Not this time; it is worth trying again.
    Failed {
        /// After this time at the earliest.
        retry_after: Option<Duration>,
    },
}

/// By whom devices can be reached here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer<'a> {
    /// By Web Push, to which devices subscribe with this key: base64url, as clients take it.
    pub web_push_key: Option<&'a str>,
    /// By Google's service.
    pub fcm: bool,
    /// By Apple's.
    pub apns: bool,
}

/// Why a token was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The provider of its kind is switched off or not configured.
    #[error("there is no provider for this kind of token")]
    NoProvider,
    /// The subscription of Web Push is not one that can be used.
    #[error(transparent)]
    Refused(#[from] SubscriptionRefused),
    /// There is no such device.
    #[error("there is no such device")]
    NoSuchDevice,
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why nothing was pushed.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The device has no token, or does not exist.
    #[error("the device has given no push token, or does not exist")]
    NoToken,
    /// The provider of its token is not configured.
    #[error("the device's token is for a provider that is not configured")]
    NoProvider(Service),
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A challenge was not taken by whoever delivers it.
#[derive(Debug, thiserror::Error)]
pub enum ChallengeError {
    /// The provider of that token is not configured.
    #[error("no provider for this kind of token")]
    NoProvider,
    /// The provider is busy, or is left alone for failing.
    #[error("the provider is busy or fails")]
    Busy,
    /// The provider said something else than that it delivers it.
    #[error("the provider answered: {0}")]
    NotTaken(String),
}

impl PushService {
    /// A service made of these parts.
    pub fn new(PushParts { targets, providers, limits, metrics, clock }: PushParts) -> Self {
        let platform = |provider| Lane::new(provider, Lanes::new(PLATFORM_AT_ONCE, PLATFORM_AT_ONCE));
        let web_push = providers.web_push.map(|web_push| {
            let lanes = Lanes::new(WEB_PUSH_AT_ONCE, WEB_PUSH_AT_ONCE_EACH);
            (Arc::clone(&web_push), Lane::new(web_push, lanes))
        });
        Self {
            targets,
            apns: providers.apns.map(platform),
            fcm: providers.fcm.map(platform),
            web_push,
            limits,
            metrics,
            clock,
            recent: Recent::default(),
        }
    }

    /// Whether there is any provider.
    pub fn is_on(&self) -> bool {
        self.apns.is_some() || self.fcm.is_some() || self.web_push.is_some()
    }

    /// Tells a device that something is waiting for it.
    pub async fn wake(&self, device: DeviceAddress, urgent: bool) -> Outcome {
        let at = self.clock.now();
        let target = match self.targets.target(device).await {
            Ok(Some(target)) => target,
            Ok(None) => return Outcome::Unreachable,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a push token was not read");
                return Outcome::Failed { retry_after: None };
            }
        };
        let Some(lane) = self.lane(target.token.service()) else {
            self.metrics.unreachable.inc();
            return Outcome::Unreachable;
        };
        let name = lane.provider.lane(&target.token);
        let pass = match lane.lanes.enter(&name).await {
            Ok(pass) => pass,
            Err(Busy { closed_for }) => {
                self.metrics.postponed.inc();
                return Outcome::Failed { retry_after: closed_for };
            }
        };
        if let Err(RetryAfter(wait)) = self.limits.check(LimitId::WakeUps, &limit_key(device), 1) {
            self.metrics.limited.inc();
            return Outcome::Failed { retry_after: Some(wait) };
        }
        let delivery = self.deliver(lane, &name, &target.token, &Push::Wake { urgent }).await;
        drop(pass);
        self.act(device, at, target, delivery).await
    }

    /// Sends a challenge to whoever holds that token. `Ok` when a provider delivers it.
    pub async fn challenge(
        &self,
        token: &PushToken,
        challenge: Challenge,
        secret: ChallengeSecret,
    ) -> Result<(), ChallengeError> {
        let lane = self.lane(token.service()).ok_or(ChallengeError::NoProvider)?;
        let name = lane.provider.lane(token);
        let pass = lane.lanes.enter(&name).await.map_err(|_| ChallengeError::Busy)?;
        let delivery = self.deliver(lane, &name, token, &Push::Challenge(challenge, secret)).await;
        drop(pass);
        match delivery.verdict {
            Verdict::Accepted => Ok(()),
            _ => Err(ChallengeError::NotTaken(delivery.answer)),
        }
    }

    /// Whether a token of that kind has a provider.
    pub fn reaches(&self, service: Service) -> bool {
        self.lane(service).is_some()
    }

    /// Pushes to a device and tells what its provider said. Nothing else comes of it: a token that reaches nobody
    /// stays.
    pub async fn test(&self, device: DeviceAddress) -> Result<(Service, Delivery), TestError> {
        let target = self.targets.target(device).await?.ok_or(TestError::NoToken)?;
        let service = target.token.service();
        let lane = self.lane(service).ok_or(TestError::NoProvider(service))?;
        Ok((service, lane.provider.deliver(&target.token, &Push::Wake { urgent: true }).await))
    }

    /// By whom devices can be reached here.
    pub fn offer(&self) -> Offer<'_> {
        Offer {
            web_push_key: self.web_push.as_ref().map(|(web_push, _)| web_push.public_key()),
            fcm: self.fcm.is_some(),
            apns: self.apns.is_some(),
        }
    }

    /// Makes a device reachable by that token, in place of what it was reached by.
    pub async fn register(&self, device: DeviceAddress, token: PushToken) -> Result<(), RegisterError> {
        if !self.reaches(token.service()) {
            return Err(RegisterError::NoProvider);
        }
        if let (Some((web_push, _)), Some(subscription)) = (&self.web_push, token.web_push()) {
            web_push.check(&subscription)?;
        }
        let target = PushTarget { token, registered: self.clock.now() };
        if self.targets.set(device, target).await? { Ok(()) } else { Err(RegisterError::NoSuchDevice) }
    }

    /// Forgets by what a device is reached, of one service only or whatever it is. Answers whether there was anything.
    pub async fn unregister(
        &self,
        device: DeviceAddress,
        only: Option<Service>,
    ) -> Result<bool, StorageError> {
        self.targets.clear(device, only).await
    }

    pub(crate) fn recent(&self) -> &Recent {
        &self.recent
    }

    pub(crate) fn targets(&self) -> &dyn PushTargets {
        &*self.targets
    }

    pub(crate) fn metrics(&self) -> &PushMetrics {
        &self.metrics
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn lane(&self, service: Service) -> Option<&Lane> {
        match service {
            Service::Apns => self.apns.as_ref(),
            Service::Fcm => self.fcm.as_ref(),
            Service::WebPush => self.web_push.as_ref().map(|(_, lane)| lane),
        }
    }

    async fn deliver(&self, lane: &Lane, name: &str, token: &PushToken, push: &Push) -> Delivery {
        let began = Instant::now();
        let delivery = lane.provider.deliver(token, push).await;
        self.metrics.note(token.service(), delivery.verdict, began.elapsed());
        match delivery.verdict {
            Verdict::Accepted | Verdict::Unregistered { .. } | Verdict::Slower { .. } => {
                lane.lanes.answered(name);
            }
            Verdict::Refused => {
                lane.lanes.answered(name);
                lane.complain(token.service(), &delivery, "a push was refused");
            }
            Verdict::Unauthorized => {
                lane.lanes.failed(name, Some(UNAUTHORIZED_FOR));
                lane.complain(token.service(), &delivery, "a push provider does not take our credentials");
            }
            Verdict::Unavailable { retry_after } => {
                lane.lanes.failed(name, retry_after);
                lane.complain(token.service(), &delivery, "a push provider fails");
            }
        }
        delivery
    }

    /// What comes of the provider's answer.
    async fn act(
        &self,
        device: DeviceAddress,
        at: Timestamp,
        target: PushTarget,
        delivery: Delivery,
    ) -> Outcome {
        match delivery.verdict {
            Verdict::Accepted => {
                self.recent.note(device, at);
                Outcome::Told
            }
            // The provider speaks of a time before the device gave this token.
            Verdict::Unregistered { since: Some(since) } if since < target.registered => {
                Outcome::Failed { retry_after: None }
            }
            Verdict::Unregistered { .. } => self.remove(device, target).await,
            Verdict::Slower { retry_after } => {
                Outcome::Failed { retry_after: Some(retry_after.unwrap_or(SLOWER_FOR)) }
            }
            Verdict::Refused => Outcome::Failed { retry_after: Some(REFUSED_FOR) },
            Verdict::Unauthorized => Outcome::Failed { retry_after: Some(UNAUTHORIZED_FOR) },
            Verdict::Unavailable { retry_after } => Outcome::Failed { retry_after },
        }
    }

    async fn remove(&self, device: DeviceAddress, target: PushTarget) -> Outcome {
        match self.targets.remove(device, target).await {
            Ok(true) => {
                self.metrics.removed.inc();
                Outcome::Unreachable
            }
            // The device has given another one meanwhile.
            Ok(false) => Outcome::Failed { retry_after: None },
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a push token was not removed");
                Outcome::Failed { retry_after: None }
            }
        }
    }
}

impl Lane {
    fn new(provider: Arc<dyn Provider>, lanes: Lanes) -> Self {
        Self { provider, lanes, complained: Mutex::default() }
    }

    /// Tells the operator, but not for every push.
    fn complain(&self, provider: Service, delivery: &Delivery, what: &'static str) {
        let now = Instant::now();
        let mut complained = self.complained.lock();
        if complained.is_none_or(|before| now.duration_since(before) >= COMPLAIN_EVERY) {
            *complained = Some(now);
            tracing::warn!(?provider, answer = %delivery.answer, "{what}");
        }
    }
}

fn limit_key(DeviceAddress { aci, device_id }: DeviceAddress) -> [u8; 17] {
    let mut key = [device_id.get(); 17];
    key[..16].copy_from_slice(aci.0.as_bytes());
    key
}

impl fmt::Debug for PushService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushService").finish_non_exhaustive()
    }
}
