//! How long to wait before a device is tried, or told, again. Spread at random, so that many devices that failed
//! together do not come together again.

use std::{collections::hash_map::RandomState, hash::BuildHasher, time::Duration};

use protocol::DeviceAddress;

use super::WakeUpConfig;

/// Each wait is this much longer than the one before it.
const RETRY_FACTOR: u32 = 2;
const REMINDER_FACTOR: u32 = 4;

pub(super) struct Backoff {
    retry_first: Duration,
    retry_max: Duration,
    reminder_after: Duration,
    reminders_max: u8,
    hasher: RandomState,
}

impl Backoff {
    pub(super) fn new(config: &WakeUpConfig) -> Self {
        Self {
            retry_first: config.retry_first,
            retry_max: config.retry_max,
            reminder_after: config.reminder_after,
            reminders_max: config.reminders_max,
            hasher: RandomState::new(),
        }
    }

    /// The wait after so many failures before this one: between half and the whole of what doubling gives, and
    /// no less than was asked for.
    pub(super) fn retry(&self, device: DeviceAddress, failures: u8, asked: Option<Duration>) -> Duration {
        let full = grown(self.retry_first, RETRY_FACTOR, failures).min(self.retry_max);
        let wait = full / 2 + (full / 2).mul_f64(self.spread(device, failures));
        // What was asked for was asked of everybody at once.
        asked.map_or(wait, |asked| asked.saturating_add(wait))
    }

    /// The wait before a device that had so many reminders has another; none if it has had all.
    pub(super) fn reminder(&self, device: DeviceAddress, reminders: u8) -> Option<Duration> {
        (reminders < self.reminders_max).then(|| {
            let full = grown(self.reminder_after, REMINDER_FACTOR, reminders);
            full + (full / 4).mul_f64(self.spread(device, reminders))
        })
    }

    /// From 0 to 1, different for each device and time.
    fn spread(&self, device: DeviceAddress, time: u8) -> f64 {
        let hash = self.hasher.hash_one((device, time)) >> 32;
        f64::from(u32::try_from(hash).unwrap_or(0)) / f64::from(u32::MAX)
    }
}

fn grown(first: Duration, factor: u32, times: u8) -> Duration {
    first.saturating_mul(factor.saturating_pow(times.into()))
}
