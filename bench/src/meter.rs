//! Who used the processors during a measurement.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use testkit::process::{self, Memory};
use tokio::time::Instant;

/// The counters at one moment.
#[derive(Debug)]
pub(crate) struct Meter {
    pid: u32,
    at: Instant,
    server: Duration,
    own: Duration,
    threads: BTreeMap<String, Duration>,
    machine: (u64, u64),
}

/// What was used between two moments.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Usage {
    pub(crate) seconds: f64,
    pub(crate) server_cpu_seconds: f64,
    pub(crate) generator_cpu_seconds: f64,
    /// Share of the machine that its owner gave to others, in percent.
    pub(crate) stolen_percent: f64,
    /// Server processor seconds by thread name.
    pub(crate) server_threads: BTreeMap<String, f64>,
    /// Server memory at the end.
    pub(crate) server_memory: Memory,
}

impl Meter {
    pub(crate) fn start(pid: u32) -> anyhow::Result<Self> {
        Ok(Self {
            pid,
            at: Instant::now(),
            server: process::cpu_time(pid)?,
            own: process::cpu_time(std::process::id())?,
            threads: process::cpu_time_by_thread(pid)?,
            machine: process::stolen_ticks()?,
        })
    }

    pub(crate) fn stop(self) -> anyhow::Result<Usage> {
        let now = Self::start(self.pid)?;
        let (total, stolen) = (now.machine.0 - self.machine.0, now.machine.1 - self.machine.1);
        let threads = now.threads.into_iter().map(|(name, time)| {
            let before = self.threads.get(&name).copied().unwrap_or_default();
            (name, time.saturating_sub(before).as_secs_f64())
        });
        Ok(Usage {
            seconds: (now.at - self.at).as_secs_f64(),
            server_cpu_seconds: now.server.saturating_sub(self.server).as_secs_f64(),
            generator_cpu_seconds: now.own.saturating_sub(self.own).as_secs_f64(),
            stolen_percent: 100.0 * ratio(stolen, total),
            server_threads: threads.collect(),
            server_memory: process::memory(self.pid)?,
        })
    }
}

impl Usage {
    /// Operations a second.
    pub(crate) fn rate(&self, operations: u64) -> f64 {
        float(operations) / self.seconds
    }

    /// Server processor time for each operation, in microseconds.
    pub(crate) fn server_us(&self, operations: u64) -> f64 {
        self.server_cpu_seconds * 1e6 / float(operations.max(1))
    }

    /// Generator processor time for each operation, in microseconds.
    pub(crate) fn generator_us(&self, operations: u64) -> f64 {
        self.generator_cpu_seconds * 1e6 / float(operations.max(1))
    }
}

/// A count as a float: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

fn ratio(part: u64, whole: u64) -> f64 {
    float(part) / float(whole.max(1))
}
