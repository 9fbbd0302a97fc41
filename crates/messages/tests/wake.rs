//! Waking devices that are away: once, in time, and not when they came by themselves.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_trait::async_trait;
use messages::{
    Urgency::{self, NonUrgent, Urgent},
    WakeUpConfig, WakeUps, Waker, Woken,
    metrics::WakeUpMetrics,
};
use parking_lot::Mutex;
use protocol::DeviceAddress;
use support::device;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

/// Notes whom it is to wake, and does not come back before it is let.
struct TestWaker {
    begun: Instant,
    woken: Mutex<Vec<(DeviceAddress, Urgency, Duration)>>,
    permits: Semaphore,
    /// What it says next; that it has told the device when there is nothing.
    outcomes: Mutex<VecDeque<Woken>>,
}

impl TestWaker {
    /// Whom it was to wake since it was last asked, and when.
    fn woken(&self) -> Vec<(DeviceAddress, Urgency, Duration)> {
        std::mem::take(&mut *self.woken.lock())
    }
}

#[async_trait]
impl Waker for TestWaker {
    async fn wake(&self, device: DeviceAddress, urgency: Urgency) -> Woken {
        self.woken.lock().push((device, urgency, self.begun.elapsed()));
        self.permits.acquire().await.unwrap().forget();
        self.outcomes.lock().pop_front().unwrap_or(Woken::Told)
    }
}

fn start(config: WakeUpConfig, permits: usize) -> (WakeUps, Arc<TestWaker>, WakeUpMetrics) {
    let metrics = WakeUpMetrics::default();
    let wake_ups = WakeUps::new(config, metrics.clone());
    let waker = Arc::new(TestWaker {
        begun: Instant::now(),
        woken: Mutex::default(),
        permits: Semaphore::new(permits),
        outcomes: Mutex::default(),
    });
    let (running, target) = (wake_ups.clone(), Arc::clone(&waker));
    tokio::spawn(async move { running.run(target).await });
    (wake_ups, waker, metrics)
}

/// What failed is tried again after the end of every test.
fn never_again() -> WakeUpConfig {
    let long = Duration::from_hours(1000);
    WakeUpConfig { retry_first: long, retry_max: long, ..WakeUpConfig::default() }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[tokio::test(start_paused = true)]
async fn many_messages_wake_a_device_once() {
    let (wake_ups, waker, metrics) = start(WakeUpConfig::default(), 10);
    for _ in 0..1000 {
        wake_ups.waiting(device(1), Urgent);
    }
    sleep(secs(1)).await;
    assert_eq!(waker.woken(), [(device(1), Urgent, secs(0))]);
    assert_eq!((metrics.requested.get(), metrics.coalesced.get(), metrics.sent.get()), (1000, 999, 1));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_stays_away_is_woken_again_after_its_interval() {
    let (wake_ups, waker, _) = start(WakeUpConfig::default(), 10);
    wake_ups.waiting(device(1), Urgent);
    sleep(Duration::from_millis(500)).await;
    wake_ups.waiting(device(1), Urgent);
    wake_ups.waiting(device(1), Urgent);
    sleep(secs(3600)).await;
    assert_eq!(waker.woken(), [(device(1), Urgent, secs(0)), (device(1), Urgent, secs(2))]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_urgent_waits_its_turn_until_something_urgent_comes() {
    let (wake_ups, waker, metrics) = start(WakeUpConfig::default(), 10);
    wake_ups.waiting(device(1), NonUrgent);
    sleep(secs(60)).await;
    wake_ups.waiting(device(1), NonUrgent);
    sleep(secs(60)).await;
    assert_eq!(waker.woken(), [(device(1), NonUrgent, secs(0))]);
    wake_ups.waiting(device(1), Urgent);
    sleep(secs(60)).await;
    assert_eq!(waker.woken(), [(device(1), Urgent, secs(120))], "one wake-up for both, at once");
    wake_ups.waiting(device(1), NonUrgent);
    sleep(secs(7200)).await;
    assert_eq!(waker.woken(), [(device(1), NonUrgent, secs(120 + 1200))]);
    assert_eq!((metrics.requested.get(), metrics.coalesced.get(), metrics.sent.get()), (4, 1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_comes_by_itself_is_not_woken() {
    let (wake_ups, waker, metrics) = start(WakeUpConfig::default(), 10);
    wake_ups.left_waiting(device(1));
    wake_ups.left_waiting(device(2));
    sleep(secs(59)).await;
    wake_ups.connected(device(1));
    wake_ups.connected(device(3));
    sleep(secs(3600)).await;
    assert_eq!(waker.woken(), [(device(2), Urgent, secs(60))]);
    assert_eq!(metrics.cancelled.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_does_not_wait_for_the_delay_after_a_connection() {
    let (wake_ups, waker, _) = start(WakeUpConfig::default(), 10);
    wake_ups.left_waiting(device(1));
    wake_ups.waiting(device(1), NonUrgent);
    sleep(secs(10)).await;
    assert_eq!(waker.woken(), [], "the urgent wake-up to come serves both");
    wake_ups.waiting(device(1), Urgent);
    sleep(secs(3600)).await;
    assert_eq!(waker.woken(), [(device(1), Urgent, secs(10))]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_waker_is_asked_so_many_things_at_once_and_urgent_ones_first() {
    let config = WakeUpConfig { calls_max: 2, call_timeout: secs(30), ..never_again() };
    let (wake_ups, waker, metrics) = start(config, 0);
    for account in 1..=2 {
        wake_ups.waiting(device(account), NonUrgent);
    }
    sleep(secs(1)).await;
    wake_ups.waiting(device(3), NonUrgent);
    wake_ups.waiting(device(4), Urgent);
    wake_ups.waiting(device(5), Urgent);
    wake_ups.connected(device(5));
    sleep(secs(1)).await;
    assert_eq!(waker.woken().len(), 2);
    waker.permits.add_permits(1);
    sleep(secs(1)).await;
    assert_eq!(waker.woken(), [(device(4), Urgent, secs(2))]);
    // The other one never comes back and is cut off.
    sleep(secs(60)).await;
    assert_eq!(waker.woken(), [(device(3), NonUrgent, secs(30))]);
    assert_eq!((metrics.sent.get(), metrics.failed.get(), metrics.cancelled.get()), (4, 3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_loses_that_call_only() {
    struct Clumsy(Mutex<usize>);

    #[async_trait]
    impl Waker for Clumsy {
        async fn wake(&self, _: DeviceAddress, _: Urgency) -> Woken {
            *self.0.lock() += 1;
            panic!("on purpose");
        }
    }

    let metrics = WakeUpMetrics::default();
    let wake_ups = WakeUps::new(never_again(), metrics.clone());
    let (running, waker) = (wake_ups.clone(), Arc::new(Clumsy(Mutex::default())));
    let target = Arc::clone(&waker);
    tokio::spawn(async move { running.run(target).await });
    for account in 1..=3 {
        wake_ups.waiting(device(account), Urgent);
        sleep(secs(1)).await;
    }
    assert_eq!((*waker.0.lock(), metrics.failed.get()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn when_there_is_no_room_the_least_is_lost_that_can_be() {
    let config = WakeUpConfig { devices_max: 2, ..WakeUpConfig::default() };
    let (wake_ups, waker, metrics) = start(config, 10);
    // Woken and resting: forgotten for the next ones.
    wake_ups.waiting(device(1), Urgent);
    wake_ups.waiting(device(2), NonUrgent);
    sleep(secs(1)).await;
    assert_eq!(waker.woken().len(), 2);
    // Both are to be woken again, one of them not soon.
    wake_ups.left_waiting(device(1));
    wake_ups.waiting(device(2), NonUrgent);
    assert_eq!((metrics.forgotten.get(), metrics.dropped.get()), (0, 0));
    // Nothing less urgent than this: it is dropped itself.
    wake_ups.waiting(device(3), NonUrgent);
    assert_eq!(metrics.dropped.get(), 1);
    // This drops the one of device 2.
    wake_ups.left_waiting(device(4));
    assert_eq!(metrics.dropped.get(), 2);
    wake_ups.waiting(device(5), Urgent);
    assert_eq!(metrics.dropped.get(), 3, "nothing is less urgent than what is planned");
    sleep(secs(3600)).await;
    assert_eq!(waker.woken(), [(device(1), Urgent, secs(61)), (device(4), Urgent, secs(61))]);
    for account in 6..=8 {
        wake_ups.waiting(device(account), Urgent);
        sleep(secs(1)).await;
    }
    assert_eq!(waker.woken().len(), 3);
    assert_eq!((metrics.forgotten.get(), metrics.dropped.get()), (1, 3), "the others had rested");
}

/// The times, in whole seconds, at which the one device was woken.
fn times(waker: &TestWaker) -> Vec<u64> {
    waker.woken().into_iter().map(|(_, _, at)| at.as_secs()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_tried_again_later_each_time() {
    let config = WakeUpConfig { retry_first: secs(10), retry_max: secs(60), ..WakeUpConfig::default() };
    let (wake_ups, waker, metrics) = start(config, 100);
    waker.outcomes.lock().extend([Woken::Failed { retry_after: None }; 6]);
    wake_ups.waiting(device(1), Urgent);
    sleep(secs(3600)).await;
    let times = times(&waker);
    let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits.len(), 6, "until it was told: {times:?}");
    for (wait, full) in waits.iter().zip([10, 20, 40, 60, 60, 60]) {
        assert!((full / 2..=full + 1).contains(wait), "{wait} of {full}: {waits:?}");
    }
    assert_eq!((metrics.sent.get(), metrics.failed.get(), metrics.retried.get()), (7, 6, 6));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_was_asked_for_is_kept_also_for_new_messages() {
    let (wake_ups, waker, _) = start(WakeUpConfig::default(), 100);
    waker.outcomes.lock().push_back(Woken::Failed { retry_after: Some(secs(300)) });
    wake_ups.waiting(device(1), Urgent);
    sleep(secs(10)).await;
    wake_ups.waiting(device(1), Urgent);
    sleep(secs(280)).await;
    assert_eq!(times(&waker), [0]);
    sleep(secs(20)).await;
    assert_eq!(times(&waker), [300]);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_comes_is_not_tried_again() {
    let (wake_ups, waker, metrics) = start(WakeUpConfig::default(), 0);
    waker.outcomes.lock().extend([Woken::Failed { retry_after: None }; 3]);
    wake_ups.waiting(device(1), Urgent);
    wake_ups.waiting(device(2), Urgent);
    sleep(secs(1)).await;
    // One comes while it is being called, the other while it waits to be tried again.
    wake_ups.connected(device(1));
    waker.permits.add_permits(100);
    sleep(Duration::from_millis(100)).await;
    wake_ups.connected(device(2));
    sleep(secs(3600)).await;
    assert_eq!(waker.woken().len(), 2);
    assert_eq!((metrics.retried.get(), metrics.cancelled.get(), metrics.failed.get()), (1, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_does_not_come_is_reminded_so_often() {
    let config = WakeUpConfig { reminders_max: 2, reminder_after: secs(1000), ..WakeUpConfig::default() };
    let (wake_ups, waker, metrics) = start(config, 100);
    wake_ups.waiting(device(1), Urgent);
    sleep(secs(100_000)).await;
    let woken = times(&waker);
    assert_eq!((woken.len(), metrics.reminded.get()), (3, 2), "{woken:?}");
    assert!((1000..=1251).contains(&woken[1]), "{woken:?}");
    assert!((4000..=5001).contains(&(woken[2] - woken[1])), "{woken:?}");
    // A message begins it anew, and whoever comes is not reminded.
    wake_ups.waiting(device(1), Urgent);
    sleep(secs(2000)).await;
    assert_eq!(times(&waker).len(), 2);
    wake_ups.connected(device(1));
    sleep(secs(100_000)).await;
    assert_eq!((times(&waker).len(), metrics.cancelled.get()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_reminded_whom_nothing_reaches() {
    let config = WakeUpConfig { reminders_max: 2, ..WakeUpConfig::default() };
    let (wake_ups, waker, _) = start(config, 100);
    waker.outcomes.lock().push_back(Woken::Unreachable);
    wake_ups.waiting(device(1), Urgent);
    sleep(secs(1_000_000)).await;
    assert_eq!(times(&waker), [0]);
}

#[tokio::test(start_paused = true)]
async fn reminders_make_room_for_wake_ups() {
    let config = WakeUpConfig { devices_max: 2, reminders_max: 1, ..WakeUpConfig::default() };
    let (wake_ups, waker, metrics) = start(config, 100);
    for account in 1..=3 {
        wake_ups.waiting(device(account), NonUrgent);
        sleep(secs(1)).await;
    }
    assert_eq!(waker.woken().len(), 3);
    assert_eq!((metrics.forgotten.get(), metrics.dropped.get()), (1, 0));
    assert!(!wake_ups.has_room());
}
