//! What every engine gets to do: messages wait, more are appended for anybody, devices come back, read their
//! queue from the front and acknowledge it.

use std::path::{Path, PathBuf};

use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};

use crate::{
    engine::{Contestant, Device, Engine, Message},
    meter::{self, Cost, Meter},
};

/// Bytes of a message. Random, for the queue's are sealed: no engine can compress them.
const VALUE_LEN: usize = 1024;
/// Messages of a commit.
const SMALL_BATCH: usize = 64;
const LARGE_BATCH: usize = 512;
/// Messages of a commit while the store is filled.
const FILL_BATCH: usize = 4096;
/// Messages that a device reads at once.
const PAGE: usize = 100;

/// How much is done, in messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// What waits before every run.
    pub(crate) waiting: usize,
    /// What is appended with small batches, and again with large ones, and then drained.
    pub(crate) appends: usize,
}

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// Appending in batches of 64.
    pub(crate) small: Cost,
    /// Appending in batches of 512.
    pub(crate) large: Cost,
    /// Reading and deleting, and what the engine does when it is closed.
    pub(crate) drain: Cost,
    /// What the files take when it is closed.
    pub(crate) size_mib: f64,
}

/// A filled store. Every run leaves as many messages as it found.
#[derive(Debug)]
pub(crate) struct Store {
    contestant: Contestant,
    folder: PathBuf,
    devices: Vec<Device>,
    size: Size,
}

impl Store {
    /// Makes it in that folder. The same numbers make the same messages, whatever the engine.
    pub(crate) fn fill(
        contestant: Contestant,
        folder: &Path,
        devices: usize,
        size: Size,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir(folder)?;
        let mut random = SmallRng::seed_from_u64(0);
        let devices = (0..devices).map(|_| device(&mut random)).collect::<Vec<_>>();
        let mut engine = contestant.open(folder)?;
        let waiting = messages(&devices, 1, size.waiting, &mut random);
        waiting.chunks(FILL_BATCH).try_for_each(|batch| engine.append(batch))?;
        Ok(Self { contestant, folder: folder.to_owned(), devices, size })
    }

    pub(crate) fn run(&self, round: u32) -> anyhow::Result<Run> {
        let Size { waiting, appends } = self.size;
        let mut random = SmallRng::seed_from_u64(u64::from(round) + 1);
        let first = 1 + waiting + usize::try_from(round)? * 2 * appends;
        let mut engine = self.contestant.open(&self.folder)?;
        let batches = messages(&self.devices, first, appends, &mut random);
        let small = append(engine.as_mut(), &batches, SMALL_BATCH)?;
        let batches = messages(&self.devices, first + appends, appends, &mut random);
        let large = append(engine.as_mut(), &batches, LARGE_BATCH)?;
        let drain = self.drain(engine, 2 * appends, &mut random)?;
        Ok(Run { small, large, drain, size_mib: meter::size_mib(&self.folder)? })
    }

    /// Devices come back in any order, each to read its whole queue, until so many messages are gone. What
    /// they acknowledge is deleted in bursts, as it is when many of them read at once.
    fn drain(
        &self,
        mut engine: Box<dyn Engine>,
        count: usize,
        random: &mut SmallRng,
    ) -> anyhow::Result<Cost> {
        let mut returning = self.devices.clone();
        returning.shuffle(random);
        let mut returning = returning.into_iter();
        let (mut reader, mut read) = (None, 0);
        let mut acknowledged = Vec::new();
        let meter = Meter::start()?;
        while read < count {
            let Some((device, after)) = reader.or_else(|| returning.next().map(|device| (device, 0))) else {
                anyhow::bail!("messages were lost: {read} of {count} are left");
            };
            let page = engine.read(device, after, PAGE.min(count - read))?;
            check(&page, after)?;
            read += page.len();
            reader = page.last().filter(|_| page.len() == PAGE).map(|last| (device, last.position));
            acknowledged.extend(page);
            if acknowledged.len() >= random.random_range(SMALL_BATCH..=LARGE_BATCH) || read == count {
                engine.delete(&acknowledged)?;
                acknowledged.clear();
            }
        }
        drop(engine);
        meter.stop(count)
    }
}

fn append(engine: &mut dyn Engine, messages: &[Message], batch: usize) -> anyhow::Result<Cost> {
    let meter = Meter::start()?;
    messages.chunks(batch).try_for_each(|batch| engine.append(batch))?;
    meter.stop(messages.len())
}

/// An engine that loses order or content is not compared.
fn check(page: &[Message], mut after: u64) -> anyhow::Result<()> {
    for Message { position, value, .. } in page {
        anyhow::ensure!(*position > after, "position {position} came after {after}");
        let whole = value.len() == VALUE_LEN && value.starts_with(&position.to_be_bytes());
        anyhow::ensure!(whole, "position {position} is not what was written");
        after = *position;
    }
    Ok(())
}

fn device(random: &mut SmallRng) -> Device {
    let mut device = [0; 17];
    random.fill_bytes(&mut device[..16]);
    device[16] = 1;
    device
}

fn messages(devices: &[Device], first: usize, count: usize, random: &mut SmallRng) -> Vec<Message> {
    let message = |position: usize| {
        let mut value = vec![0; VALUE_LEN];
        random.fill_bytes(&mut value);
        let position = position as u64;
        value[..8].copy_from_slice(&position.to_be_bytes());
        Message { device: devices[random.random_range(..devices.len())], position, value }
    };
    (first..first + count).map(message).collect()
}
