//! Making good what was lost: wake-ups live in memory, and what waits for devices does not.
//!
//! [`Recent`] gathers who was woken and brings it to the [`WakeLog`] now and then; what a crash takes of that costs
//! a device a second wake-up. After a start, and after wake-ups had to be dropped, [`Recovery`] goes through the
//! devices that have something waiting and has those woken that were not woken since. It takes its time.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use protocol::{
    DeviceAddress,
    ambient::{StorageError, Timestamp},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use crate::{service::PushService, wake_log::WakeLog};

/// How long a wake-up waits to be noted with others.
const NOTE_EVERY: Duration = Duration::from_secs(5);
/// Wake-ups noted at once. With so many, none waits.
const NOTED_AT_ONCE: usize = 1000;
/// Wake-ups that may wait to be noted; more are not, and may be repeated after a restart.
const RECENT_MAX: usize = 50_000;

/// Devices looked at at once.
const LOOKED_AT_ONCE: usize = 128;
/// Rest for each time that a look took, so that it holds nobody up.
const REST_FACTOR: u32 = 4;
/// The shortest rest.
const REST_MIN: Duration = Duration::from_millis(20);
/// How long after the start the first look begins: those who come back by themselves shall have done so.
const FIRST_AFTER: Duration = Duration::from_secs(5);
/// How often it is asked whether anything was dropped meanwhile.
const ASK_EVERY: Duration = Duration::from_mins(1);
/// Wake-ups found together are spread over this time.
const SPREAD: Duration = Duration::from_secs(10);

/// When a device was woken need not be known for longer: what waited for it has been forgotten then.
const REMEMBERED: Duration = Duration::from_hours(31 * 24);
/// Devices forgotten at once.
const FORGOTTEN_AT_ONCE: usize = 500;
/// How often old ones are looked for.
const FORGET_EVERY: Duration = Duration::from_hours(1);

/// Has devices woken.
pub trait Rewake: Send + Sync + 'static {
    /// Has a device woken after that time, unless it is connected or comes before.
    fn rewake(&self, device: DeviceAddress, after: Duration);

    /// Whether there is room for more.
    fn has_room(&self) -> bool;

    /// How many wake-ups were dropped since the start.
    fn dropped(&self) -> u64;
}

/// Who was woken and is not noted yet.
#[derive(Default)]
pub(crate) struct Recent {
    woken: Mutex<HashMap<DeviceAddress, Timestamp>>,
    many: Notify,
}

impl Recent {
    pub(crate) fn note(&self, device: DeviceAddress, at: Timestamp) {
        let mut woken = self.woken.lock();
        if woken.len() < RECENT_MAX || woken.contains_key(&device) {
            woken.insert(device, at);
        }
        if woken.len() >= NOTED_AT_ONCE {
            self.many.notify_one();
        }
    }

    fn take(&self) -> Vec<(DeviceAddress, Timestamp)> {
        std::mem::take(&mut *self.woken.lock()).into_iter().collect()
    }
}

/// Makes good what was lost. Its two loops are to be run as tasks.
pub struct Recovery {
    push: Arc<PushService>,
    log: Arc<dyn WakeLog>,
    rewake: Arc<dyn Rewake>,
}

impl Recovery {
    /// With what it needs.
    pub fn new(push: Arc<PushService>, log: Arc<dyn WakeLog>, rewake: Arc<dyn Rewake>) -> Self {
        Self { push, log, rewake }
    }

    /// Notes who was woken, for ever.
    pub async fn run_notes(&self) {
        let mut forgot = Instant::now();
        loop {
            let _ = timeout(NOTE_EVERY, self.push.recent().many.notified()).await;
            if let Err(error) = self.note().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "wake-ups were not noted");
                sleep(NOTE_EVERY).await;
            }
            if forgot.elapsed() >= FORGET_EVERY {
                forgot = Instant::now();
                if let Err(error) = self.forget().await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "old wake-ups were not forgotten"
                    );
                }
            }
        }
    }

    /// Notes who was woken since the last time.
    pub async fn note(&self) -> Result<(), StorageError> {
        let woken = self.push.recent().take();
        for some in woken.chunks(NOTED_AT_ONCE) {
            self.log.note(some.to_vec()).await?;
        }
        Ok(())
    }

    async fn forget(&self) -> Result<(), StorageError> {
        let now = self.push.clock().now().as_millis();
        let remembered = u64::try_from(REMEMBERED.as_millis()).unwrap_or(u64::MAX);
        let moment = Timestamp::from_millis(now.saturating_sub(remembered));
        while self.log.forget_before(moment, FORGOTTEN_AT_ONCE).await? == FORGOTTEN_AT_ONCE {
            sleep(REST_MIN).await;
        }
        Ok(())
    }

    /// Looks through everything once after the start, and again whenever something was dropped, for ever.
    pub async fn run_looks(&self) {
        sleep(FIRST_AFTER).await;
        loop {
            let dropped = self.rewake.dropped();
            if let Err(error) = self.look().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "devices to be woken were not looked for"
                );
            } else {
                while self.rewake.dropped() == dropped {
                    sleep(ASK_EVERY).await;
                }
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// Looks through everything once, and answers how many devices are woken for it.
    pub async fn look(&self) -> Result<u64, StorageError> {
        let (mut after, mut found) = (None, 0_u64);
        loop {
            while !self.rewake.has_room() {
                sleep(FIRST_AFTER).await;
            }
            let began = Instant::now();
            let unwoken = self.log.unwoken(after, LOOKED_AT_ONCE).await?;
            for device in unwoken.devices {
                if self.push.targets().target(device).await?.is_some() {
                    found += 1;
                    self.push.metrics().recovered.inc();
                    self.rewake.rewake(device, spread(found));
                }
            }
            after = unwoken.next;
            if after.is_none() {
                return Ok(found);
            }
            sleep((began.elapsed() * REST_FACTOR).max(REST_MIN)).await;
        }
    }
}

/// Steps of a golden ratio, which fall evenly however many there are.
fn spread(nth: u64) -> Duration {
    let step = nth.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    SPREAD.mul_f64(f64::from(u32::try_from(step).unwrap_or(0)) / f64::from(u32::MAX))
}
