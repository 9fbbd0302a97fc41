//! Wake-ups: how "this device has something" leaves the service.
//!
//! A device that is not connected does not know what has been queued for it. [`WakeUps`] is told, and tells a
//! [`Waker`], such as a push service: once for many messages, no more often than a device may be woken, and
//! not at all if the device comes by itself first. A wake-up carries nothing of the message.
//!
//! The queue knows who is connected, so it is the queue that calls, and under the lock by which it knows it:
//! else a device that connects between the look and the call is woken for what it has already read.
//! Messages for connected devices only are nothing to wake anybody for, and are not told here.

mod backoff;
mod ledger;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use protocol::DeviceAddress;
use tokio::{
    sync::Notify,
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use crate::metrics::WakeUpMetrics;

use ledger::{Cancelled, Ledger, Next, Outcome, Requested};

/// How soon a device must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// When it suits the device's battery: nothing a person would notice.
    NonUrgent,
    /// Now: a person may be waiting.
    Urgent,
}

/// Reaches devices that are not connected.
#[async_trait]
pub trait Waker: Send + Sync + 'static {
    /// Tells a device that something is waiting for it. A call is given [`WakeUpConfig::call_timeout`] and then
    /// cancelled, which counts as [`Woken::Failed`]. Why it failed is the waker's own affair to log.
    async fn wake(&self, device: DeviceAddress, urgency: Urgency) -> Woken;
}

/// What became of a call to wake a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The device was told, or whoever tells it has taken that over.
    Told,
    /// There is no way to tell the device; it comes by itself.
    Unreachable,
    /// Not this time. It is tried again, later each time, unless the device connects before.
    Failed {
        /// How long to wait at least.
        retry_after: Option<Duration>,
    },
}

/// How often devices are woken, and what that may cost.
#[derive(Clone, Debug)]
pub struct WakeUpConfig {
    /// Least time between two urgent wake-ups of a device. Shorter wakes a device again that is on its way;
    /// longer keeps one waiting that came and left in between.
    pub urgent_interval: Duration,
    /// Least time from any wake-up of a device to a non-urgent one. Platforms stop delivering what comes more
    /// often; Signal's own server allows one in 20 minutes.
    pub non_urgent_interval: Duration,
    /// How long after a connection that left something unacknowledged its device is woken. A device that
    /// merely changes networks is back before that.
    pub leave_delay: Duration,
    /// Devices remembered at once, some 250 bytes each: those to be woken, and those woken so recently that it
    /// bears on the next time. What happens beyond is told at [`WakeUps`].
    pub devices_max: usize,
    /// Calls of the waker at once. Others wait their turn, and are still cancelled if the device connects.
    pub calls_max: usize,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// About how long after a call failed it is tried again, and twice as long after each further failure.
    pub retry_first: Duration,
    /// The longest time between two tries.
    pub retry_max: Duration,
    /// How long a device that was told may stay away before it is told again, and four times as long before each
    /// further reminder. What is told can be lost on its way, and nobody hears of it.
    pub reminder_after: Duration,
    /// How often a device is reminded that does not come.
    pub reminders_max: u8,
}

impl Default for WakeUpConfig {
    fn default() -> Self {
        Self {
            urgent_interval: Duration::from_secs(2),
            non_urgent_interval: Duration::from_mins(20),
            leave_delay: Duration::from_mins(1),
            devices_max: 100_000,
            calls_max: 128,
            call_timeout: Duration::from_secs(30),
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_mins(10),
            reminder_after: Duration::from_hours(1),
            reminders_max: 0,
        }
    }
}

/// The devices that are to be woken. Cheap to clone; a clone is the same.
///
/// Every device told of is woken once it may be, unless it connects before. There is one exception: when
/// [`devices_max`](WakeUpConfig::devices_max) are remembered already, room is made in this order:
///
/// 1. A device that was woken and has nothing to be woken for is forgotten, the one first that could be woken
///    again soonest. It may then be woken once before its interval is over. After these, one that would be
///    reminded, the last first.
/// 2. For an urgent wake-up, the non-urgent one that is furthest away is dropped.
/// 3. The new wake-up is dropped.
///
/// Dropped and forgotten ones are counted. A device whose wake-up was dropped learns what is waiting from the
/// next one, or when it connects by itself; the messages are in the queue in any case.
///
/// Telling is cheap enough to do for every message, and never waits for the waker. A device that is to be
/// woken already costs a lock and a look-up, 0.2 µs where this was measured, with two threads at it; one that
/// is not, an entry in an ordered set as well, 1.3 µs among a million. At 60,000 messages a second the first is
/// about a hundredth of a core, so one lock for all is enough.
#[derive(Clone)]
pub struct WakeUps(Arc<Shared>);

struct Shared {
    ledger: Mutex<Ledger>,
    /// There is something to do before what [`WakeUps::run`] is sleeping for.
    sooner: Notify,
    config: WakeUpConfig,
    metrics: WakeUpMetrics,
}

impl WakeUps {
    /// Nobody is to be woken yet. [`run`](Self::run) must run for anybody ever to be.
    pub fn new(config: WakeUpConfig, metrics: WakeUpMetrics) -> Self {
        let ledger = Mutex::new(Ledger::new(&config));
        Self(Arc::new(Shared { ledger, sooner: Notify::new(), config, metrics }))
    }

    /// An envelope was queued for a device that is not connected.
    pub fn waiting(&self, device: DeviceAddress, urgency: Urgency) {
        self.request(device, urgency, Instant::now());
    }

    /// A device has connected: it need not be woken any more.
    pub fn connected(&self, device: DeviceAddress) {
        if self.0.ledger.lock().cancel(device) == Cancelled::WakeUp {
            self.0.metrics.cancelled.inc();
        }
    }

    /// A device's connection has ended with envelopes that it has not acknowledged, and it has no other. It
    /// saw them come, so somebody waits for them: the wake-up will be an urgent one, after
    /// [`leave_delay`](WakeUpConfig::leave_delay).
    pub fn left_waiting(&self, device: DeviceAddress) {
        self.request(device, Urgency::Urgent, Instant::now() + self.0.config.leave_delay);
    }

    /// Something waits for a device that is not connected, and it may never have been told: what was planned
    /// before is lost. How urgent it is, is not known either.
    pub fn still_waiting(&self, device: DeviceAddress, after: Duration) {
        self.request(device, Urgency::Urgent, Instant::now() + after);
    }

    /// Whether half the room for devices is free.
    pub fn has_room(&self) -> bool {
        self.0.ledger.lock().len() <= self.0.config.devices_max / 2
    }

    /// Calls the waker until the future is dropped, which cancels the calls under way; run it as a task. There
    /// must be one at a time.
    pub async fn run(&self, waker: Arc<dyn Waker>) {
        let mut calls = JoinSet::new();
        loop {
            while let Some(call) = calls.try_join_next() {
                ended(call);
            }
            if calls.len() >= self.0.config.calls_max {
                // Nothing is taken out of the ledger before it can be done, so that it can be cancelled.
                if let Some(call) = calls.join_next().await {
                    ended(call);
                }
                continue;
            }
            let next = self.0.ledger.lock().next(Instant::now());
            match next {
                Next::Wake { device, urgency, reminder } => {
                    self.0.metrics.sent.inc();
                    if reminder {
                        self.0.metrics.reminded.inc();
                    }
                    let (wake_ups, waker) = (self.clone(), Arc::clone(&waker));
                    calls.spawn(async move { wake_ups.call(&*waker, device, urgency).await });
                }
                Next::Sleep(alarm) => tokio::select! {
                    () = sleep_to(alarm) => {}
                    () = self.0.sooner.notified() => {}
                    Some(call) = calls.join_next() => ended(call),
                },
            }
        }
    }

    /// Calls the waker, and notes what becomes of it whatever that is: a device whose call had no end would
    /// never be called again.
    async fn call(&self, waker: &dyn Waker, device: DeviceAddress, urgency: Urgency) {
        let metrics = &self.0.metrics;
        let call = AssertUnwindSafe(waker.wake(device, urgency)).catch_unwind();
        let outcome = timeout(self.0.config.call_timeout, call).await;
        let woken = match outcome {
            Ok(Ok(woken)) => woken,
            Ok(Err(_panic)) => Woken::Failed { retry_after: None },
            Err(_elapsed) => {
                tracing::warn!("a wake-up took too long");
                Woken::Failed { retry_after: None }
            }
        };
        let (mut ledger, now) = (self.0.ledger.lock(), Instant::now());
        match woken {
            Woken::Told => ledger.told(device, now),
            Woken::Unreachable => ledger.given_up(device, now),
            Woken::Failed { retry_after } => {
                metrics.failed.inc();
                if ledger.failed(device, retry_after, now) {
                    metrics.retried.inc();
                }
            }
        }
        // What is planned now may come before what the runner sleeps for; it looks when the call has ended.
    }

    fn request(&self, device: DeviceAddress, urgency: Urgency, wanted: Instant) {
        let metrics = &self.0.metrics;
        metrics.requested.inc();
        let Requested { outcome, sooner } = self.0.ledger.lock().request(device, urgency, wanted);
        match outcome {
            Outcome::Planned => {}
            Outcome::Coalesced => drop(metrics.coalesced.inc()),
            Outcome::Forgot => drop(metrics.forgotten.inc()),
            Outcome::Displaced | Outcome::Refused => drop(metrics.dropped.inc()),
        }
        if sooner {
            self.0.sooner.notify_one();
        }
    }
}

fn ended(call: Result<(), JoinError>) {
    if let Err(error) = call {
        tracing::error!(%error, "a wake-up was not noted");
    }
}

async fn sleep_to(alarm: Option<Instant>) {
    match alarm {
        Some(alarm) => sleep_until(alarm).await,
        None => std::future::pending().await,
    }
}
