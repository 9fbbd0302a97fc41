//! What a part of a run took: time, processor time and bytes, of all threads of this process.

use std::{fs, path::Path, time::Duration};

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};

/// The counters at one moment.
#[derive(Debug)]
pub(crate) struct Meter {
    at: Duration,
    cpu: Duration,
    written: u64,
}

/// What so many messages took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    messages: f64,
    seconds: f64,
    cpu_seconds: f64,
    written: f64,
}

impl Meter {
    pub(crate) fn start() -> anyhow::Result<Self> {
        Ok(Self { at: now()?, cpu: clock(ClockId::ProcessCPUTime)?, written: written()? })
    }

    pub(crate) fn stop(self, messages: usize) -> anyhow::Result<Cost> {
        let end = Self::start()?;
        Ok(Cost {
            messages: float(messages.try_into()?),
            seconds: end.at.saturating_sub(self.at).as_secs_f64(),
            cpu_seconds: end.cpu.saturating_sub(self.cpu).as_secs_f64(),
            written: float(end.written - self.written),
        })
    }
}

impl Cost {
    /// Messages a second.
    pub(crate) fn rate(&self) -> f64 {
        self.messages / self.seconds
    }

    /// Processor time for each message, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.messages
    }

    /// KiB written for each message.
    pub(crate) fn written_kib(&self) -> f64 {
        self.written / 1024.0 / self.messages
    }
}

/// A moment, from no particular start.
pub(crate) fn now() -> anyhow::Result<Duration> {
    clock(ClockId::Monotonic)
}

/// What the files of a folder take on disk, in MiB.
pub(crate) fn size_mib(folder: &Path) -> anyhow::Result<f64> {
    use std::os::unix::fs::MetadataExt as _;
    let (mut folders, mut blocks) = (vec![folder.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            blocks += metadata.blocks();
        }
    }
    Ok(float(blocks) * 512.0 / 1024.0 / 1024.0)
}

fn clock(id: ClockId) -> anyhow::Result<Duration> {
    clock_gettime(id).try_into().context("a clock before its start")
}

/// Bytes that this process caused to be sent to the disk: whole pages, each once for every time that it was
/// clean before.
fn written() -> anyhow::Result<u64> {
    let counters = fs::read_to_string("/proc/self/io")?;
    let line = counters.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.context("the kernel does not count what is written")?.parse()?)
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}
