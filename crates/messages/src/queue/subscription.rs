//! The one reader of a device's queue.
//!
//! A reader holds a cursor, not a copy. What has not been committed yet it takes from memory; the rest it
//! reads from the store, page by page. The store is asked only when it may hold something that this reader
//! has not had: at the beginning, and after a commit of something the reader had not taken.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use protocol::{DeviceAddress, ambient::StorageError};
use tokio::time::Instant;

use super::Shared;
use crate::{
    limits::{PAGE_BYTES, PAGE_MESSAGES},
    queued::QueuedEnvelope,
    store::{Page, Position, StoredEnvelope},
};

/// Why a reader was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Another connection of the same device has taken its place.
    ConnectedElsewhere,
    /// The device's credentials are no longer good.
    CredentialsRevoked,
    /// The server is stopping.
    ShuttingDown,
}

/// An envelope handed to a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What to acknowledge it by.
    pub position: Position,
    /// The envelope.
    pub envelope: QueuedEnvelope,
    /// It is not stored anywhere and needs no acknowledgement.
    pub ephemeral: bool,
}

/// Where a reader is told that there is something for it.
#[derive(Debug)]
pub(super) struct Slot {
    /// There is something that the reader has not been told of.
    changed: AtomicBool,
    waker: AtomicWaker,
    /// Its last answer came within the grace, and it has let none pass since.
    prompt: AtomicBool,
    /// The store may hold something the reader has not had. Changed under the lock of the device's shard.
    backlog: AtomicBool,
    closed: Mutex<Option<CloseReason>>,
}

impl Slot {
    pub(super) fn new() -> Self {
        Self {
            changed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            prompt: AtomicBool::new(true),
            backlog: AtomicBool::new(true),
            closed: Mutex::new(None),
        }
    }

    pub(super) fn is_prompt(&self) -> bool {
        self.prompt.load(Ordering::Relaxed)
    }

    pub(super) fn set_prompt(&self, prompt: bool) {
        self.prompt.store(prompt, Ordering::Relaxed);
    }

    pub(super) fn wake(&self) {
        self.changed.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Ready once for all wake-ups since the last time. Only its one owner may ask.
    pub(super) fn poll_changed(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.changed.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        self.waker.register(context.waker());
        // A wake-up before the waker was in place has passed it by.
        if self.changed.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Why it was closed, if it was.
    pub(super) fn closed(&self) -> Option<CloseReason> {
        *self.closed.lock()
    }

    fn has_backlog(&self) -> bool {
        self.backlog.load(Ordering::Acquire)
    }

    fn take_backlog(&self) -> bool {
        self.backlog.swap(false, Ordering::AcqRel)
    }

    pub(super) fn note_backlog(&self) {
        self.backlog.store(true, Ordering::Release);
        self.wake();
    }

    /// The first reason stands.
    pub(super) fn close(&self, reason: CloseReason) {
        self.closed.lock().get_or_insert(reason);
        self.wake();
    }
}

/// The reading end of a device's queue; there is one at a time. Dropping it gives the queue up.
pub struct Subscription {
    shared: Arc<Shared>,
    device: DeviceAddress,
    slot: Arc<Slot>,
    cursor: Position,
    /// The last position given out when this reader began: what is up to it was waiting already.
    horizon: Position,
    /// Envelopes handed out, or given up by the reader, that are still in the queue.
    unacknowledged: AtomicUsize,
}

enum Source {
    Memory(Vec<Delivery>),
    Store(Known),
}

/// What is known before the store is read.
struct Known {
    /// What is in memory.
    memory: Vec<Delivery>,
    /// What the store still shows although it has been acknowledged.
    hidden: BTreeSet<Position>,
    /// Up to where memory and store together are complete.
    complete_to: Position,
}

impl Subscription {
    pub(super) fn open(shared: Arc<Shared>, device: DeviceAddress) -> Self {
        let slot = Arc::new(Slot::new());
        let mut devices = shared.lock(device);
        devices.entry(device).or_default().attach(Arc::clone(&slot));
        if let Some(wake_ups) = &shared.wake_ups {
            wake_ups.connected(device);
        }
        let horizon = shared.last_position();
        drop(devices);
        shared.metrics.readers.inc();
        slot.wake();
        let (cursor, unacknowledged) = (Position::default(), AtomicUsize::new(0));
        Self { shared, device, slot, cursor, horizon, unacknowledged }
    }

    /// Whose queue it is.
    pub fn device(&self) -> DeviceAddress {
        self.device
    }

    /// Waits until there may be something new, or the reader has been closed.
    pub async fn changed(&self) {
        std::future::poll_fn(|context| self.poll_changed(context)).await;
    }

    /// The same for who waits for several things: ready when there may be something new.
    pub fn poll_changed(&self, context: &mut Context<'_>) -> Poll<()> {
        self.slot.poll_changed(context)
    }

    /// Why this reader was closed, if it was.
    pub fn closed(&self) -> Option<CloseReason> {
        self.slot.closed()
    }

    /// What was queued up to this position was waiting before this reader came.
    pub fn horizon(&self) -> Position {
        self.horizon
    }

    /// Up to `max` envelopes that this reader has not had, in order. Empty when there is nothing; then
    /// [`changed`](Self::changed) tells when to ask again.
    ///
    /// Must not be cancelled: it moves the cursor only when it returns, but a wake-up may be lost.
    pub async fn read(&mut self, max: usize) -> Result<Vec<Delivery>, StorageError> {
        let max = max.min(PAGE_MESSAGES);
        loop {
            let known = match self.source(max) {
                Source::Memory(deliveries) => {
                    self.advance(deliveries.last().map(|delivery| delivery.position));
                    return Ok(self.handed_out(deliveries));
                }
                Source::Store(known) => known,
            };
            let page = self.shared.store.read(self.device, self.cursor, max, PAGE_BYTES).await;
            let page = page.inspect_err(|_| self.slot.note_backlog())?;
            let deliveries = self.merge(known, page, max);
            // A page of nothing but what is hidden says nothing of what follows.
            if !deliveries.is_empty() || !self.slot.has_backlog() {
                return Ok(self.handed_out(deliveries));
            }
        }
    }

    fn handed_out(&self, deliveries: Vec<Delivery>) -> Vec<Delivery> {
        let stored = deliveries.iter().filter(|delivery| !delivery.ephemeral).count();
        self.unacknowledged.fetch_add(stored, Ordering::Relaxed);
        deliveries
    }

    /// Settles envelopes for good: the device has them.
    pub fn acknowledge(&self, positions: &[Position]) {
        // An acknowledgement of something that was not handed out counts for nothing.
        let less = |count: usize| Some(count.saturating_sub(positions.len()));
        let _ = self.unacknowledged.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.shared.acknowledge(self.device, positions);
    }

    fn source(&self, max: usize) -> Source {
        let mut devices = self.shared.lock(self.device);
        let queue = devices.entry(self.device).or_default();
        let memory = queue.peek(self.cursor, max, Instant::now());
        // Under the shard's lock every position of this device up to the last one given out has been
        // entered: it is in memory, or it has been committed and the store will show it.
        if self.slot.take_backlog() {
            Source::Store(Known {
                memory,
                hidden: queue.hidden(self.cursor),
                complete_to: self.shared.last_position(),
            })
        } else {
            Source::Memory(memory)
        }
    }

    /// Joins what memory and store hold, in order, each position once (an envelope may have been committed
    /// in between), and only as far as both are known to be complete.
    fn merge(&mut self, known: Known, page: Page, max: usize) -> Vec<Delivery> {
        let Known { memory, hidden, complete_to } = known;
        let complete_to = match page.envelopes.last() {
            Some(last) if page.more => complete_to.min(last.position),
            _ => complete_to,
        };
        let stored = page.envelopes.into_iter().filter(|stored| !hidden.contains(&stored.position));
        let stored = stored.map(|StoredEnvelope { position, envelope }| Delivery {
            position,
            envelope,
            ephemeral: false,
        });
        // Mostly there is nothing in memory beside a page, and there is nothing to sort.
        let mut deliveries = memory;
        deliveries.extend(stored);
        deliveries.sort_by_key(|delivery| delivery.position);
        deliveries.dedup_by_key(|delivery| delivery.position);
        let known = deliveries.len();
        deliveries.truncate(max.min(deliveries.partition_point(|delivery| delivery.position <= complete_to)));
        if page.more || deliveries.len() < known {
            self.slot.note_backlog();
        }
        // Nothing new can come to stand at or before what is complete.
        let cut = deliveries.len() == max;
        let reached = deliveries.last().filter(|_| cut).map_or(complete_to, |last| last.position);
        self.advance(Some(reached));
        deliveries
    }

    fn advance(&mut self, to: Option<Position>) {
        let Some(to) = to else { return };
        self.cursor = to;
        let mut devices = self.shared.lock(self.device);
        let done =
            devices.get_mut(&self.device).map(|queue| queue.mark_taken(&self.slot, to)).unwrap_or_default();
        drop(devices);
        for entry in done {
            entry.settle(Ok(()));
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.metrics.readers.dec();
        let mut devices = self.shared.lock(self.device);
        let Some(queue) = devices.get_mut(&self.device) else { return };
        // One that was displaced leaves nothing behind.
        let Some((due, dropped)) = queue.detach(&self.slot) else { return };
        let leaves_waiting = !due.is_empty() || self.unacknowledged.load(Ordering::Relaxed) > 0;
        if let Some(wake_ups) = self.shared.wake_ups.as_ref().filter(|_| leaves_waiting) {
            wake_ups.left_waiting(self.device);
        }
        if queue.is_idle() {
            devices.remove(&self.device);
        }
        drop(devices);
        // Nobody will acknowledge them soon: their grace is over.
        self.shared.inbox.append_now(self.device, &due);
        for entry in dropped {
            entry.settle(Ok(()));
        }
    }
}
