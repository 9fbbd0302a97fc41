//! Ten thousand devices woken at once, through the queue's own wake-ups: none is lost whatever the provider does,
//! and what is under way stays bounded.

mod support;

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use messages::{Urgency, WakeUpConfig, WakeUps, Waker, Woken, metrics::WakeUpMetrics};
use protocol::DeviceAddress;
use push::{Outcome, Providers, PushService};
use support::{World, apns, apns_token, device, eventually, fcm, fcm_token};
use testkit::push::{ApnsStandIn, FcmStandIn};
use tokio::time::{Instant, sleep};

const DEVICES: u128 = 10_000;

struct Pusher(Arc<PushService>);

#[async_trait]
impl Waker for Pusher {
    async fn wake(&self, device: DeviceAddress, urgency: Urgency) -> Woken {
        match self.0.wake(device, urgency == Urgency::Urgent).await {
            Outcome::Told => Woken::Told,
            Outcome::Unreachable => Woken::Unreachable,
            Outcome::Failed { retry_after } => Woken::Failed { retry_after },
        }
    }
}

fn run(world: &World) -> (WakeUps, WakeUpMetrics) {
    let metrics = WakeUpMetrics::default();
    let config = WakeUpConfig {
        calls_max: 512,
        retry_first: Duration::from_millis(200),
        retry_max: Duration::from_secs(2),
        ..WakeUpConfig::default()
    };
    let wake_ups = WakeUps::new(config, metrics.clone());
    let (running, waker) = (wake_ups.clone(), Arc::new(Pusher(Arc::clone(&world.push))));
    tokio::spawn(async move { running.run(waker).await });
    (wake_ups, metrics)
}

fn burst(world: &World, wake_ups: &WakeUps, devices: std::ops::Range<u128>) -> Duration {
    for number in devices.clone() {
        world.give(device(number), fcm_token(&number.to_string()));
    }
    let began = Instant::now();
    for number in devices {
        wake_ups.waiting(device(number), Urgency::Urgent);
    }
    began.elapsed()
}

fn woken(google: &FcmStandIn) -> usize {
    google.taken().into_iter().map(|push| push.token).collect::<HashSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_reaches_everybody_once() {
    let google = FcmStandIn::start().await.unwrap();
    let world = World::fcm(&google);
    let (wake_ups, metrics) = run(&world);
    let took = burst(&world, &wake_ups, 0..DEVICES);
    assert!(took < Duration::from_secs(1), "whoever sends a message waits for no push: {took:?}");
    eventually("everybody is woken", || google.count() >= 10_000).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!((google.count(), woken(&google)), (10_000, 10_000));
    assert!(google.server().under_way_max() <= 256, "{}", google.server().under_way_max());
    assert_eq!((metrics.dropped.get(), google.granted(), google.server().connections()), (0, 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_down_loses_nobody() {
    let google = FcmStandIn::start().await.unwrap();
    let world = World::fcm(&google);
    let (wake_ups, metrics) = run(&world);
    google.server().set_away(true);
    burst(&world, &wake_ups, 0..DEVICES);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(google.count(), 0);
    google.server().set_away(false);
    eventually("everybody is woken", || woken(&google) == 10_000).await;
    assert_eq!((metrics.dropped.get(), metrics.retried.get() > 0), (0, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_refuses_or_hangs_up_loses_nobody() {
    let google = FcmStandIn::start().await.unwrap();
    let world = World::fcm(&google);
    let (wake_ups, metrics) = run(&world);
    google.answer("", 503, "UNAVAILABLE", Some(1));
    burst(&world, &wake_ups, 0..DEVICES);
    sleep(Duration::from_secs(2)).await;
    google.answer_normally();
    for _ in 0..5 {
        let before = google.count();
        eventually("it goes on", || google.count() > before || woken(&google) == 10_000).await;
        google.server().go_away();
    }
    google.server().cut();
    eventually("everybody is woken", || woken(&google) == 10_000).await;
    assert_eq!(metrics.dropped.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_provider_does_not_hold_up_another() {
    let (google, apple) = (FcmStandIn::start().await.unwrap(), ApnsStandIn::start().await.unwrap());
    let world = World::new(|clock| Providers {
        apns: Some(apns(&apple, clock)),
        fcm: Some(fcm(&google, clock)),
        ..Providers::default()
    });
    let (wake_ups, metrics) = run(&world);
    google.server().answer_after(Duration::from_secs(5));
    burst(&world, &wake_ups, 0..DEVICES);
    sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    for number in 0..100 {
        let device = device(1_000_000 + number);
        world.give(device, apns_token(&number.to_string()));
        wake_ups.waiting(device, Urgency::Urgent);
    }
    eventually("Apple's devices are woken", || apple.count() == 100).await;
    let took = began.elapsed();
    assert!(google.count() < 2_000, "Google is slow");
    // Each of Google's devices is tried before: they were to be woken before.
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(google.server().under_way_max() <= 256, "{}", google.server().under_way_max());
    google.server().answer_after(Duration::ZERO);
    eventually("everybody is woken", || woken(&google) == 10_000).await;
    assert_eq!(metrics.dropped.get(), 0);
}
