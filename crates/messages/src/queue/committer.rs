//! Commits what is due: everything that has gathered, in one transaction.

use std::{collections::VecDeque, time::Duration};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use protocol::{DeviceAddress, ambient::StorageError};
use tokio::{
    sync::{Notify, RwLock, watch},
    time::{Instant, sleep_until},
};

use super::{CommitFailure, Shared};
use crate::store::{Append, Batch, Position};

/// Envelopes committed together at most: bounds the latency of a commit and the size of the log it grows.
const BATCH_MESSAGES_MAX: usize = 2048;

/// Batches on their way to the disk at once: while one waits for it, the next is sealed.
const UNDER_WAY_MAX: usize = 2;

/// Bytes committed together at most, give or take one envelope.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Deletions remembered while the store refuses them. Beyond it the rest is forgotten, which means that
/// readers see those envelopes again: at least once is what they are promised.
const DELETES_MAX: usize = 100_000;

/// How long the committer leaves a store alone that has refused a deletion.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the committer has been asked to do.
#[derive(Default)]
pub(super) struct Inbox {
    work: Mutex<Work>,
    wake: Notify,
    /// Held, by as many as there are, while batches are on their way to the disk.
    committing: RwLock<()>,
    finished: watch::Sender<bool>,
}

#[derive(Default)]
struct Work {
    due: VecDeque<(DeviceAddress, Position)>,
    /// In order of the time they are due: the grace is the same for all.
    later: VecDeque<(Instant, DeviceAddress, Position)>,
    deletes: Vec<(DeviceAddress, Position)>,
    deletes_due: Option<Instant>,
    closing: bool,
}

enum Next {
    Commit(Vec<(DeviceAddress, Position)>, Vec<(DeviceAddress, Position)>),
    Sleep(Option<Instant>),
    Stop,
}

impl Inbox {
    pub(super) fn append_now(&self, device: DeviceAddress, positions: &[Position]) {
        self.work.lock().due.extend(positions.iter().map(|&position| (device, position)));
        self.wake.notify_one();
    }

    pub(super) fn append_by(&self, device: DeviceAddress, positions: &[Position], due: Instant) {
        let mut work = self.work.lock();
        let first = work.later.is_empty();
        work.later.extend(positions.iter().map(|&position| (due, device, position)));
        drop(work);
        // Whoever came before has set the alarm already.
        if first {
            self.wake.notify_one();
        }
    }

    /// Notes deletions; returns those for which there was no room.
    pub(super) fn delete<'a>(
        &self,
        device: DeviceAddress,
        positions: &'a [Position],
        linger: Duration,
    ) -> &'a [Position] {
        if positions.is_empty() {
            return positions;
        }
        let mut work = self.work.lock();
        let room = DELETES_MAX.saturating_sub(work.deletes.len());
        let (noted, no_room) = positions.split_at(positions.len().min(room));
        work.deletes.extend(noted.iter().map(|&position| (device, position)));
        let first = work.deletes_due.is_none();
        work.deletes_due.get_or_insert_with(|| Instant::now() + linger);
        drop(work);
        if first {
            self.wake.notify_one();
        }
        no_room
    }

    /// Waits until the batches that are on their way have arrived.
    pub(super) async fn flushed(&self) {
        drop(self.committing.write().await);
    }

    pub(super) async fn close(&self) {
        let mut finished = self.finished.subscribe();
        self.work.lock().closing = true;
        self.wake.notify_one();
        // An error means that the committer is gone already.
        let _ = finished.wait_for(|finished| *finished).await;
    }

    fn next(&self, now: Instant) -> Next {
        let mut work = self.work.lock();
        let closing = work.closing;
        while work.later.front().is_some_and(|(due, ..)| closing || *due <= now) {
            if let Some((_, device, position)) = work.later.pop_front() {
                work.due.push_back((device, position));
            }
        }
        let deletes_due = closing || work.deletes_due.is_some_and(|due| due <= now);
        if !work.due.is_empty() || (deletes_due && !work.deletes.is_empty()) {
            let count = work.due.len().min(BATCH_MESSAGES_MAX);
            let appends = work.due.drain(..count).collect();
            // Deletions that are waiting ride along for free.
            work.deletes_due = None;
            return Next::Commit(appends, std::mem::take(&mut work.deletes));
        }
        if closing {
            return Next::Stop;
        }
        let alarm = work.later.front().map(|(due, ..)| *due);
        Next::Sleep([alarm, work.deletes_due].into_iter().flatten().min())
    }
}

/// Runs until the inbox is closed and empty.
pub(super) async fn run(shared: &Shared) {
    let mut under_way = FuturesUnordered::new();
    loop {
        if under_way.len() >= UNDER_WAY_MAX {
            under_way.next().await;
        }
        match shared.inbox.next(Instant::now()) {
            Next::Commit(appends, deletes) => {
                under_way.push(commit(shared, appends, deletes));
                // A batch begins when it is first asked how it is going.
                let _ = under_way.next().now_or_never();
            }
            Next::Sleep(Some(alarm)) => {
                tokio::select! {
                    () = sleep_until(alarm) => {}
                    () = shared.inbox.wake.notified() => {}
                    Some(()) = under_way.next(), if !under_way.is_empty() => {}
                }
            }
            Next::Sleep(None) => {
                tokio::select! {
                    () = shared.inbox.wake.notified() => {}
                    Some(()) = under_way.next(), if !under_way.is_empty() => {}
                }
            }
            Next::Stop if under_way.is_empty() => break,
            Next::Stop => while under_way.next().await.is_some() {},
        }
    }
    shared.inbox.finished.send_replace(true);
}

async fn commit(
    shared: &Shared,
    appends: Vec<(DeviceAddress, Position)>,
    deletes: Vec<(DeviceAddress, Position)>,
) {
    let _committing = shared.inbox.committing.read().await;
    let batch = Batch { appends: begin(shared, appends), deletes: deletes.clone() };
    if batch.is_empty() {
        return;
    }
    let committed: Vec<_> = batch.appends.iter().map(|append| (append.device, append.position)).collect();
    let outcome = shared.store.apply(batch).await;
    let failure = outcome.as_ref().err().map(|error| match error {
        StorageError::Full => CommitFailure::Full,
        StorageError::Unavailable(_) | StorageError::Corrupt { .. } => CommitFailure::Unavailable,
    });
    if failure.is_none() {
        shared.metrics.note_commit(committed.len());
    }
    if let Err(error) = &outcome {
        tracing::error!(%error, messages = committed.len(), deletions = deletes.len(), "a commit failed");
    }
    // A device's acknowledgements come in bursts: what follows one another is one device's.
    for run in deletes.chunk_by(|one, next| one.0 == next.0) {
        let Some(&(device, _)) = run.first() else { continue };
        let positions: Vec<_> = run.iter().map(|&(_, position)| position).collect();
        let over =
            if outcome.is_ok() { &positions } else { shared.inbox.delete(device, &positions, RETRY_AFTER) };
        shared.forget(device, over);
    }
    for (device, position) in committed {
        end(shared, device, position, failure);
    }
}

/// Collects the envelopes that are still waiting; those acknowledged meanwhile are gone.
fn begin(shared: &Shared, due: Vec<(DeviceAddress, Position)>) -> Vec<Append> {
    let mut appends = Vec::with_capacity(due.len());
    let mut bytes = 0;
    for (device, position) in due {
        if bytes > BATCH_BYTES_MAX {
            shared.inbox.append_now(device, &[position]);
            continue;
        }
        let envelope = shared.lock(device).get_mut(&device).and_then(|queue| queue.begin_commit(position));
        if let Some(envelope) = envelope {
            bytes += envelope.len();
            appends.push(Append { device, position, envelope });
        }
    }
    appends
}

fn end(shared: &Shared, device: DeviceAddress, position: Position, failure: Option<CommitFailure>) {
    let mut devices = shared.lock(device);
    let Some(queue) = devices.get_mut(&device) else { return };
    let Some(done) = queue.end_commit(position, failure.is_none()) else { return };
    let delete = done.acknowledged && failure.is_none();
    if delete {
        queue.hide(position);
    }
    if queue.is_idle() {
        devices.remove(&device);
    }
    drop(devices);
    if delete {
        shared.delete(device, &[position]);
    }
    done.entry.settle(failure.map_or(Ok(()), Err));
}
