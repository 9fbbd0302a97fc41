//! The queue: group commit, elision, and readers that need no copy of it.
//!
//! An envelope lives in memory from the moment it is accepted until it is committed or acknowledged,
//! whichever is first. A connected reader takes it from there at once. If its acknowledgement comes before
//! the commit, the append and its deletion cancel out and the pair never touches the disk (*elision*). To
//! give a reader that chance, an envelope that a connected device can take waits a short grace before it is
//! due for the [`committer`]; one for a device that is away is due at once.
//!
//! Everything that is due is committed together: one fsync pays for all.

mod bounds;
mod committer;
mod device;
mod expiry;
mod one_device;
mod subscription;
mod watch;

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use protocol::{
    Aci, DeviceAddress,
    ambient::{Clock, StorageError, Timestamp},
};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    limits::EPHEMERAL_LIFETIME,
    metrics::MessageMetrics,
    queued::{QueuedEnvelope, Reservation, SharedBody},
    store::{Position, QueueStore, Volume},
    wake::{Urgency, WakeUps},
};

use bounds::Bounds;
use committer::Inbox;
use device::{Acknowledged, DeviceQueue, Entry};

pub use subscription::{CloseReason, Delivery, Subscription};
pub use watch::Watch;

/// Number of locks the devices are spread over: enough that two cores rarely meet.
const SHARDS: usize = 64;

/// What an operator may want to change about the queue.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// How long an envelope that a connected device can take waits for the acknowledgement before it is
    /// committed. Longer saves writes when readers are slow to answer, or the server is busy. A reader that does not
    /// answer within it costs one sender so long; those after it do not wait.
    pub grace: Duration,
    /// How long deletions wait for company. Longer saves commits; what is waiting at a crash is delivered again.
    pub delete_linger: Duration,
    /// Bytes of accepted envelopes that are neither committed nor acknowledged. Beyond it senders are told
    /// to come back: the store is not keeping up.
    pub pending_bytes_max: usize,
    /// How long an envelope waits to be fetched before it is forgotten.
    pub lifetime: Duration,
    /// What the queues of one account may hold, all its devices together. Senders are told to come back
    /// later once it is full; nothing that was accepted makes room before its time.
    pub account_max: Volume,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            grace: Duration::from_millis(50),
            delete_linger: Duration::from_millis(100),
            pending_bytes_max: 64 * 1024 * 1024,
            lifetime: Duration::from_hours(30 * 24),
            account_max: Volume { envelopes: 500_000, bytes: 1 << 30 },
        }
    }
}

/// What a [`MessageQueue`] is made of.
pub struct QueueParts {
    /// What remembers envelopes.
    pub store: Arc<dyn QueueStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What an operator may want to change.
    pub config: QueueConfig,
    /// What is counted.
    pub metrics: MessageMetrics,
    /// Who is told of devices that are away and have something waiting, if anybody is.
    pub wake_ups: Option<WakeUps>,
}

/// Why an envelope was not accepted. It may have reached a connected reader all the same.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Too much is waiting for the disk; try again in a moment.
    #[error("too many messages are waiting to be stored")]
    Overloaded,
    /// The account's queues hold all they may; try again later.
    #[error("the account's queues are full")]
    Full,
    /// The store refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The queues of all devices.
#[derive(Clone)]
pub struct MessageQueue {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn QueueStore>,
    clock: Arc<dyn Clock>,
    config: QueueConfig,
    metrics: MessageMetrics,
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
    inbox: Inbox,
    /// The last position given out. Given out under the lock of the device's shard, so that whoever holds
    /// it knows that every lower position of that device has been entered already.
    last_position: AtomicU64,
    /// Bytes of envelopes that are neither stored nor acknowledged.
    pending_bytes: Arc<AtomicUsize>,
    bounds: Bounds,
    wake_ups: Option<WakeUps>,
    /// Counts calls of [`MessageQueue::disconnect`] and [`MessageQueue::disconnect_device`].
    disconnections: AtomicU64,
}

type Shard = HashMap<DeviceAddress, DeviceQueue>;

/// An accepted envelope's promise: resolves when it is durable or acknowledged.
#[derive(Debug)]
#[must_use = "an envelope counts as accepted only when this resolves to Ok"]
pub struct Acceptance(oneshot::Receiver<Result<(), CommitFailure>>);

/// A commit that failed, as told to each of the many that waited for it.
#[derive(Clone, Copy, Debug)]
enum CommitFailure {
    Full,
    Unavailable,
}

impl Acceptance {
    /// Waits for the commit or the acknowledgement.
    pub async fn settled(self) -> Result<(), QueueError> {
        match self.0.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(CommitFailure::Full)) => Err(StorageError::Full.into()),
            Ok(Err(CommitFailure::Unavailable)) => {
                Err(StorageError::unavailable("the envelope was not committed").into())
            }
            Err(_) => Err(StorageError::unavailable("the queue has been closed").into()),
        }
    }
}

impl MessageQueue {
    /// The queues kept in that store. [`run_committer`](Self::run_committer) must run for envelopes to be accepted.
    pub async fn open(
        QueueParts { store, clock, config, metrics, wake_ups }: QueueParts,
    ) -> Result<Self, StorageError> {
        let last_position = store.last_position().await?;
        let bounds = Bounds::new(config.account_max);
        let shared = Shared {
            store,
            clock,
            config,
            metrics,
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            inbox: Inbox::default(),
            last_position: AtomicU64::new(last_position.0),
            pending_bytes: Arc::default(),
            bounds,
            wake_ups,
            disconnections: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What is counted here, and by the service that fills the queue.
    pub fn metrics(&self) -> &MessageMetrics {
        &self.shared.metrics
    }

    /// Asks whether an account's queues have room for that much more, and takes it. To be asked before
    /// anything is appended for that account; a bound may be passed by what is on its way to the disk.
    pub async fn admit(&self, account: Aci, more: Volume) -> Result<(), QueueError> {
        let admitted = self.shared.bounds.admit(self.shared.store.as_ref(), account, more).await;
        if matches!(admitted, Err(QueueError::Full)) {
            self.shared.metrics.refused_full.inc_by(more.envelopes);
        }
        admitted
    }

    /// Makes the end that the envelopes of a multi-recipient message have in common.
    pub fn share(&self, bytes: Bytes) -> Result<SharedBody, QueueError> {
        let reservation = self.shared.reserve(bytes.len())?;
        Ok(SharedBody::reserved(self.shared.next_position(), bytes, reservation))
    }

    /// Enters an envelope at the end of a device's queue. A connected device can take it at once; one that is
    /// away is woken.
    pub fn append(
        &self,
        device: DeviceAddress,
        envelope: impl Into<QueuedEnvelope>,
        urgency: Urgency,
    ) -> Result<Acceptance, QueueError> {
        let envelope = envelope.into();
        let reserved = self.shared.reserve(envelope.head.len())?;
        let (accepted, acceptance) = oneshot::channel();
        let mut shard = self.shared.lock(device);
        let position = self.shared.next_position();
        let queue = shard.entry(device).or_default();
        queue.push(Entry::durable(position, envelope, reserved, Some(accepted)));
        let prompt_reader = self.shared.tell(device, queue, urgency);
        drop(shard);
        self.shared.schedule(device, &[position], prompt_reader);
        Ok(Acceptance(acceptance))
    }

    /// Enters envelopes like [`append`](Self::append), all or none of them, of which nobody waits to hear whether they
    /// are durable.
    pub fn append_unpromised(
        &self,
        device: DeviceAddress,
        envelopes: Vec<Bytes>,
        urgency: Urgency,
    ) -> Result<(), QueueError> {
        let reserve = |envelope: Bytes| Ok((self.shared.reserve(envelope.len())?, envelope));
        let entering = envelopes.into_iter().map(reserve).collect::<Result<Vec<_>, QueueError>>()?;
        let mut positions = Vec::with_capacity(entering.len());
        let mut shard = self.shared.lock(device);
        let queue = shard.entry(device).or_default();
        for (reserved, envelope) in entering {
            let position = self.shared.next_position();
            queue.push(Entry::durable(position, envelope.into(), reserved, None));
            positions.push(position);
        }
        let prompt_reader = self.shared.tell(device, queue, urgency);
        drop(shard);
        self.shared.schedule(device, &positions, prompt_reader);
        Ok(())
    }

    /// Enters an envelope for a device only if it is connected; it is never stored and may be dropped.
    pub fn append_ephemeral(
        &self,
        device: DeviceAddress,
        envelope: impl Into<QueuedEnvelope>,
    ) -> Result<(), QueueError> {
        let envelope = envelope.into();
        let mut shard = self.shared.lock(device);
        let Some(queue) = shard.get_mut(&device).filter(|queue| queue.is_connected()) else { return Ok(()) };
        let reserved = self.shared.reserve(envelope.head.len())?;
        let position = self.shared.next_position();
        let expires = Instant::now() + EPHEMERAL_LIFETIME;
        queue.push_ephemeral(Entry::ephemeral(position, envelope, reserved, expires));
        queue.wake();
        Ok(())
    }

    /// Makes the caller the one reader of a device's queue; a reader before it is closed as
    /// [`CloseReason::ConnectedElsewhere`].
    pub fn subscribe(&self, device: DeviceAddress) -> Subscription {
        Subscription::open(Arc::clone(&self.shared), device)
    }

    /// How often readers have been disconnected. A caller that finds another number after subscribing than
    /// before it checked who the reader is must check again: a disconnection in between did not meet the
    /// reader.
    pub fn disconnections(&self) -> u64 {
        self.shared.disconnections.load(Ordering::Acquire)
    }

    /// Closes the readers of all of an account's devices.
    pub fn disconnect(&self, aci: Aci, reason: CloseReason) {
        self.shared.disconnections.fetch_add(1, Ordering::AcqRel);
        for shard in &self.shared.shards {
            for (_, queue) in shard.lock().iter().filter(|(device, _)| device.aci == aci) {
                queue.close(reason);
            }
        }
    }

    /// Closes every reader.
    pub fn disconnect_all(&self, reason: CloseReason) {
        for shard in &self.shared.shards {
            for queue in shard.lock().values() {
                queue.close(reason);
            }
        }
    }

    /// Forgets everything queued for an account before that moment. What came later stays.
    pub async fn clear(&self, aci: Aci, cutoff: Timestamp) -> Result<(), StorageError> {
        let up_to = Position::before(cutoff);
        let mut dropped = Vec::new();
        for shard in &self.shared.shards {
            for (_, queue) in shard.lock().iter_mut().filter(|(device, _)| device.aci == aci) {
                dropped.extend(queue.drain_waiting(up_to));
            }
        }
        // Their senders were promised nothing that the account's end or rebirth does not void.
        for entry in dropped {
            entry.settle(Ok(()));
        }
        // An envelope whose commit is under way ends up in the store before or after this; the committer
        // is made to finish first.
        self.shared.inbox.flushed().await;
        self.shared.store.clear(aci, None, up_to).await
    }

    /// Commits what is due until [`close`](Self::close) is called; run it as a task.
    pub async fn run_committer(&self) {
        committer::run(&self.shared).await;
    }

    /// Commits everything that is waiting and ends the committer.
    pub async fn close(&self) {
        self.shared.inbox.close().await;
    }
}

impl Shared {
    fn lock(&self, device: DeviceAddress) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(device);
        self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)].lock()
    }

    /// To be called under the lock of the device's shard, unless it names something that is no envelope.
    fn next_position(&self) -> Position {
        let Position(now) = Position::at(self.clock.now());
        let mut last = self.last_position.load(Ordering::Relaxed);
        loop {
            let next = now.max(last + 1);
            match self.last_position.compare_exchange_weak(last, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Position(next),
                Err(newer) => last = newer,
            }
        }
    }

    fn last_position(&self) -> Position {
        Position(self.last_position.load(Ordering::Acquire))
    }

    fn reserve(&self, bytes: usize) -> Result<Reservation, QueueError> {
        Reservation::take(&self.pending_bytes, bytes, self.config.pending_bytes_max).ok_or_else(|| {
            self.metrics.refused_overload.inc();
            QueueError::Overloaded
        })
    }

    /// Tells the reader of new entries, or has the device woken if there is none; says whether an acknowledgement
    /// may be expected soon.
    fn tell(&self, device: DeviceAddress, queue: &DeviceQueue, urgency: Urgency) -> bool {
        let prompt_reader = queue.wake();
        if let Some(wake_ups) = self.wake_ups.as_ref().filter(|_| !queue.is_connected()) {
            wake_ups.waiting(device, urgency);
        }
        prompt_reader
    }

    /// Has new entries committed: after a grace, if their acknowledgement may be expected before.
    fn schedule(&self, device: DeviceAddress, positions: &[Position], prompt_reader: bool) {
        if prompt_reader {
            self.inbox.append_by(device, positions, Instant::now() + self.config.grace);
        } else {
            self.inbox.append_now(device, positions);
        }
    }

    /// Whether an answer to that envelope that comes now is within its grace. A reader whose answers take longer must not
    /// cost every sender a grace in vain.
    fn is_within_grace(&self, position: Position) -> bool {
        let Position(now) = Position::at(self.clock.now());
        Duration::from_micros(now.saturating_sub(position.0)) <= self.config.grace
    }

    /// Settles envelopes for good: their device has them.
    fn acknowledge(&self, device: DeviceAddress, positions: &[Position]) {
        let Some(&last) = positions.last() else { return };
        self.metrics.acknowledged.inc_by(positions.len() as u64);
        let prompt = self.is_within_grace(last);
        let (mut elided, mut stored) = (Vec::new(), Vec::new());
        let mut devices = self.lock(device);
        let queue = devices.entry(device).or_default();
        queue.note_answer(prompt);
        for &position in positions {
            match queue.acknowledge(position) {
                Acknowledged::Elided(entry) => elided.push(entry),
                Acknowledged::AfterCommit => {}
                Acknowledged::NotHere => {
                    queue.hide(position);
                    stored.push(position);
                }
            }
        }
        drop(devices);
        self.metrics.elided.inc_by(elided.len() as u64);
        for entry in elided {
            entry.settle(Ok(()));
        }
        self.delete(device, &stored);
    }

    /// Has stored envelopes deleted that their device's queue hides already.
    fn delete(&self, device: DeviceAddress, positions: &[Position]) {
        let no_room = self.inbox.delete(device, positions, self.config.delete_linger);
        self.forget(device, no_room);
    }

    /// Hidden envelopes are gone from the store, or will not be deleted after all.
    fn forget(&self, device: DeviceAddress, positions: &[Position]) {
        if positions.is_empty() {
            return;
        }
        let mut devices = self.lock(device);
        let Some(queue) = devices.get_mut(&device) else { return };
        for position in positions {
            queue.forget(*position);
        }
        if queue.is_idle() {
            devices.remove(&device);
        }
    }
}
