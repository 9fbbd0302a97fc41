//! Whatever the order of messages, connections and departures: a device that is away and has something
//! waiting is woken in time, and none is woken too often, or for nothing.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use messages::{
    Urgency::{self, NonUrgent, Urgent},
    WakeUpConfig, WakeUps, Waker, Woken,
    metrics::WakeUpMetrics,
};
use parking_lot::Mutex;
use proptest::prelude::*;
use protocol::DeviceAddress;
use support::device;
use tokio::time::{Instant, sleep};

const ACCOUNTS: u128 = 4;

/// Timers fire on the next whole millisecond.
const ROUNDING: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug)]
enum Step {
    Message(u128, bool),
    Connect(u128),
    /// With something unacknowledged, or without.
    Leave(u128, bool),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let account = || 0..ACCOUNTS;
    let step = prop_oneof![
        6 => (account(), any::<bool>()).prop_map(|(account, urgent)| Step::Message(account, urgent)),
        2 => account().prop_map(Step::Connect),
        2 => (account(), any::<bool>()).prop_map(|(account, waiting)| Step::Leave(account, waiting)),
        3 => (0_u64..3000).prop_map(Step::Pass),
        2 => (0_u64..2_000_000).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..100)
}

#[derive(Default)]
struct TestWaker(Mutex<Vec<(DeviceAddress, Urgency, Instant)>>);

#[async_trait]
impl Waker for TestWaker {
    async fn wake(&self, device: DeviceAddress, urgency: Urgency) -> Woken {
        self.0.lock().push((device, urgency, Instant::now()));
        Woken::Told
    }
}

/// Fails as often as it is told to, and then no more.
struct FailingWaker(Mutex<Vec<Option<bool>>>);

#[async_trait]
impl Waker for FailingWaker {
    async fn wake(&self, _: DeviceAddress, _: Urgency) -> Woken {
        // Some calls take a while, so that something happens meanwhile.
        let next = self.0.lock().pop();
        sleep(Duration::from_millis(if next.is_some() { 700 } else { 0 })).await;
        match next.flatten() {
            None => Woken::Told,
            Some(false) => Woken::Failed { retry_after: None },
            Some(true) => Woken::Failed { retry_after: Some(Duration::from_secs(90)) },
        }
    }
}

/// What is known of one device.
#[derive(Default)]
struct Seen {
    connected: bool,
    /// By when it must be woken.
    deadline: Option<Instant>,
    woken: Option<Instant>,
    woken_urgently: Option<Instant>,
}

struct World {
    config: WakeUpConfig,
    metrics: WakeUpMetrics,
    wake_ups: WakeUps,
    waker: Arc<TestWaker>,
    devices: BTreeMap<DeviceAddress, Seen>,
}

impl World {
    fn new(config: WakeUpConfig) -> Self {
        let metrics = WakeUpMetrics::default();
        let wake_ups = WakeUps::new(config.clone(), metrics.clone());
        let waker = Arc::new(TestWaker::default());
        let (running, target) = (wake_ups.clone(), Arc::clone(&waker));
        tokio::spawn(async move { running.run(target).await });
        let devices = (0..ACCOUNTS).map(|account| (device(account), Seen::default())).collect();
        Self { config, metrics, wake_ups, waker, devices }
    }

    async fn take(&mut self, step: Step) {
        let now = Instant::now();
        match step {
            Step::Message(account, urgent) => {
                let device = device(account);
                if self.devices[&device].connected {
                    return;
                }
                let urgency = if urgent { Urgent } else { NonUrgent };
                self.wake_ups.waiting(device, urgency);
                // Another wake-up may have to be kept apart from, or may be coming anyway.
                let bound =
                    if urgent { self.config.urgent_interval } else { self.config.non_urgent_interval };
                self.expect(device, now + bound);
            }
            Step::Connect(account) => {
                self.wake_ups.connected(device(account));
                let seen = self.devices.get_mut(&device(account)).unwrap();
                (seen.connected, seen.deadline) = (true, None);
            }
            Step::Leave(account, waiting) => {
                let seen = self.devices.get_mut(&device(account)).unwrap();
                let left = std::mem::replace(&mut seen.connected, false);
                if left && waiting {
                    self.wake_ups.left_waiting(device(account));
                    self.expect(
                        device(account),
                        now + self.config.leave_delay.max(self.config.urgent_interval),
                    );
                }
            }
            Step::Pass(millis) => sleep(Duration::from_millis(millis)).await,
        }
        // Lets the runner and the calls it makes come to their turn.
        sleep(Duration::from_millis(1)).await;
        self.look();
    }

    fn expect(&mut self, device: DeviceAddress, deadline: Instant) {
        let seen = self.devices.get_mut(&device).unwrap();
        seen.deadline = Some(seen.deadline.map_or(deadline, |before| before.min(deadline)));
    }

    fn look(&mut self) {
        for (device, urgency, at) in std::mem::take(&mut *self.waker.0.lock()) {
            let seen = self.devices.get_mut(&device).unwrap();
            assert!(!seen.connected, "woken while it was connected");
            let deadline = seen.deadline.take().expect("woken for nothing");
            assert!(at <= deadline + ROUNDING, "woken {:?} late", at - deadline);
            let (before, interval) = match urgency {
                Urgent => (seen.woken_urgently, self.config.urgent_interval),
                NonUrgent => (seen.woken, self.config.non_urgent_interval),
            };
            assert!(before.is_none_or(|before| at >= before + interval), "{urgency:?}: woken too often");
            seen.woken = Some(at);
            if urgency == Urgent {
                seen.woken_urgently = Some(at);
            }
        }
        let now = Instant::now();
        for seen in self.devices.values() {
            assert!(seen.deadline.is_none_or(|deadline| now <= deadline + ROUNDING), "not woken in time");
        }
    }

    /// When all is over, everything that was requested is accounted for.
    async fn check(mut self) {
        self.take(Step::Pass(2_000_000)).await;
        let WakeUpMetrics { requested, coalesced, cancelled, sent, failed, dropped, forgotten, .. } =
            self.metrics;
        assert_eq!(requested.get(), coalesced.get() + cancelled.get() + sent.get() + dropped.get());
        assert_eq!((failed.get(), dropped.get(), forgotten.get()), (0, 0, 0));
    }
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn devices_are_woken_in_time_and_not_too_often(steps in steps()) {
        paused().block_on(async {
            let mut world = World::new(WakeUpConfig::default());
            for step in steps {
                world.take(step).await;
            }
            world.check().await;
        });
    }

    /// Room for two of four devices: something may be lost, and is counted.
    #[test]
    fn what_is_lost_for_want_of_room_is_counted(steps in steps()) {
        paused().block_on(async {
            let metrics = WakeUpMetrics::default();
            let config = WakeUpConfig { devices_max: 2, ..WakeUpConfig::default() };
            let wake_ups = WakeUps::new(config, metrics.clone());
            let running = wake_ups.clone();
            tokio::spawn(async move { running.run(Arc::new(TestWaker::default())).await });
            for step in steps {
                match step {
                    Step::Message(account, urgent) => {
                        wake_ups.waiting(device(account), if urgent { Urgent } else { NonUrgent });
                    }
                    Step::Connect(account) => wake_ups.connected(device(account)),
                    Step::Leave(account, _) => wake_ups.left_waiting(device(account)),
                    Step::Pass(millis) => sleep(Duration::from_millis(millis)).await,
                }
            }
            sleep(Duration::from_hours(1)).await;
            let WakeUpMetrics { requested, coalesced, cancelled, sent, dropped, .. } = metrics;
            prop_assert_eq!(requested.get(), coalesced.get() + cancelled.get() + sent.get() + dropped.get());
            Ok(())
        })?;
    }

    /// Calls fail, devices come while they are called or wait to be tried again, and are reminded: every wake-up
    /// that was asked for, tried again or came as a reminder is accounted for.
    #[test]
    fn what_fails_is_tried_again_and_accounted_for(
        steps in steps(),
        outcomes in prop::collection::vec(any::<Option<bool>>(), 0..40),
    ) {
        paused().block_on(async {
            let metrics = WakeUpMetrics::default();
            let config = WakeUpConfig { reminders_max: 2, ..WakeUpConfig::default() };
            let wake_ups = WakeUps::new(config, metrics.clone());
            let running = wake_ups.clone();
            let waker = Arc::new(FailingWaker(Mutex::new(outcomes)));
            tokio::spawn(async move { running.run(waker).await });
            for step in steps {
                match step {
                    Step::Message(account, urgent) => {
                        wake_ups.waiting(device(account), if urgent { Urgent } else { NonUrgent });
                    }
                    Step::Connect(account) => wake_ups.connected(device(account)),
                    Step::Leave(account, _) => wake_ups.left_waiting(device(account)),
                    Step::Pass(millis) => sleep(Duration::from_millis(millis)).await,
                }
            }
            sleep(Duration::from_hours(48)).await;
            let WakeUpMetrics { requested, coalesced, cancelled, sent, dropped, retried, reminded, .. } = metrics;
            let asked = requested.get() + retried.get() + reminded.get();
            prop_assert_eq!(asked, coalesced.get() + cancelled.get() + sent.get() + dropped.get());
            Ok(())
        })?;
    }
}
