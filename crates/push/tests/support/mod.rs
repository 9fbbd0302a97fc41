//! The service with its memory in this process, before stand-ins that speak the real protocols.

#![allow(dead_code, reason = "each test uses a part")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use limits::{Limit, LimitId, RateLimits};
use outgoing::AddressPolicy;
use parking_lot::Mutex;
use protocol::{
    Aci, DeviceAddress, DeviceId, PushService as Service, PushToken, WebPushSubscription,
    ambient::{Clock, ManualClock, StorageError, SystemClock, SystemEntropy, Timestamp},
};
use push::{
    Provider, Providers, PushMetrics, PushParts, PushService, PushTarget, PushTargets,
    apns::{Apns, ApnsSettings},
    fcm::{Fcm, FcmSettings, ServiceAccount},
    web_push::{EndpointPolicy, VapidKey, WebPush, WebPushSettings},
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use testkit::push::{ApnsStandIn, FcmStandIn, StandIn, WebPushStandIn};
use tokio::time::{Instant, sleep};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Where pushes reach devices, in memory.
#[derive(Default)]
pub(crate) struct Targets(Mutex<HashMap<DeviceAddress, PushTarget>>);

#[async_trait]
impl PushTargets for Targets {
    async fn target(&self, device: DeviceAddress) -> Result<Option<PushTarget>, StorageError> {
        Ok(self.0.lock().get(&device).cloned())
    }

    async fn set(&self, device: DeviceAddress, target: PushTarget) -> Result<bool, StorageError> {
        self.0.lock().insert(device, target);
        Ok(true)
    }

    async fn remove(&self, device: DeviceAddress, target: PushTarget) -> Result<bool, StorageError> {
        let mut targets = self.0.lock();
        let same = targets.get(&device) == Some(&target);
        if same {
            targets.remove(&device);
        }
        Ok(same)
    }

    async fn clear(&self, device: DeviceAddress, only: Option<Service>) -> Result<bool, StorageError> {
        let mut targets = self.0.lock();
        let meant = |target: &PushTarget| only.is_none_or(|only| only == target.token.service());
        let found = targets.get(&device).is_some_and(meant);
        if found {
            targets.remove(&device);
        }
        Ok(found)
    }
}

impl Targets {
    pub(crate) fn give(&self, device: DeviceAddress, token: PushToken, at: Timestamp) {
        self.0.lock().insert(device, PushTarget { token, registered: at });
    }

    pub(crate) fn has(&self, device: DeviceAddress) -> bool {
        self.0.lock().contains_key(&device)
    }
}

pub(crate) fn device(number: u128) -> DeviceAddress {
    DeviceAddress { aci: Aci(Uuid::from_u128(number)), device_id: DeviceId::PRIMARY }
}

pub(crate) fn fcm_token(text: &str) -> PushToken {
    PushToken::new(Service::Fcm, text.to_owned()).unwrap()
}

pub(crate) fn apns_token(text: &str) -> PushToken {
    PushToken::new(Service::Apns, text.to_owned()).unwrap()
}

/// The service and what is around it.
pub(crate) struct World {
    pub(crate) push: Arc<PushService>,
    pub(crate) targets: Arc<Targets>,
    pub(crate) clock: ManualClock,
    pub(crate) metrics: PushMetrics,
}

impl World {
    /// With those providers; the clock stands at the present moment.
    pub(crate) fn new(providers: impl FnOnce(&Arc<dyn Clock>) -> Providers) -> Self {
        let clock = ManualClock::new(SystemClock.now());
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let targets = Arc::new(Targets::default());
        let metrics = PushMetrics::default();
        let unlimited = [(LimitId::WakeUps, Limit { size: 1, interval: Duration::ZERO })];
        let push = PushService::new(PushParts {
            targets: targets.clone(),
            providers: providers(&shared),
            limits: Arc::new(RateLimits::new(Arc::clone(&shared), unlimited)),
            metrics: metrics.clone(),
            clock: shared,
        });
        Self { push: Arc::new(push), targets, clock, metrics }
    }

    pub(crate) fn apns(stand_in: &ApnsStandIn) -> Self {
        Self::new(|clock| Providers { apns: Some(apns(stand_in, clock)), ..Providers::default() })
    }

    pub(crate) fn fcm(stand_in: &FcmStandIn) -> Self {
        Self::new(|clock| Providers { fcm: Some(fcm(stand_in, clock)), ..Providers::default() })
    }

    pub(crate) fn web_push(stand_in: &WebPushStandIn, endpoints: EndpointPolicy) -> Self {
        let roots = roots(stand_in.server());
        Self::new(|clock| {
            let settings = WebPushSettings {
                key: VapidKey::generate(&SystemEntropy),
                contact: Some("mailto:operator@example.org".to_owned()),
                endpoints,
                extra_roots: roots,
            };
            let web_push = WebPush::new(settings, Arc::clone(clock), Arc::new(SystemEntropy)).unwrap();
            Providers { web_push: Some(Arc::new(web_push)), ..Providers::default() }
        })
    }

    /// Gives a device that token, at the present moment.
    pub(crate) fn give(&self, device: DeviceAddress, token: PushToken) {
        self.targets.give(device, token, self.clock.now());
    }
}

pub(crate) fn apns(stand_in: &ApnsStandIn, clock: &Arc<dyn Clock>) -> Arc<dyn Provider> {
    let (key, key_id, team_id, topic) = stand_in.credentials();
    let settings = ApnsSettings {
        key_pem: Zeroizing::new(key.pem().to_owned()),
        key_id: key_id.to_owned(),
        team_id: team_id.to_owned(),
        topic: topic.to_owned(),
        url: stand_in.server().url(),
        extra_roots: roots(stand_in.server()),
    };
    Arc::new(Apns::new(settings, Arc::clone(clock)).unwrap())
}

pub(crate) fn fcm(stand_in: &FcmStandIn, clock: &Arc<dyn Clock>) -> Arc<dyn Provider> {
    let settings = FcmSettings {
        account: ServiceAccount::from_json(&stand_in.service_account()).unwrap(),
        url: stand_in.server().url(),
        extra_roots: roots(stand_in.server()),
    };
    Arc::new(Fcm::new(settings, Arc::clone(clock)).unwrap())
}

pub(crate) fn roots(server: &StandIn) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(server.ca_pem().as_bytes()).collect::<Result<_, _>>().unwrap()
}

/// This machine is allowed.
pub(crate) fn here() -> EndpointPolicy {
    let networks = ["127.0.0.0/8".to_owned(), "::1/128".to_owned()];
    EndpointPolicy { hosts: Vec::new(), addresses: AddressPolicy::with_networks(&networks).unwrap() }
}

pub(crate) fn subscription(stand_in: &WebPushStandIn, name: &str) -> WebPushSubscription {
    let (endpoint, subscriber) = stand_in.subscribe(name).unwrap();
    WebPushSubscription::new(&endpoint, &subscriber.p256dh(), &subscriber.auth()).unwrap()
}

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}
