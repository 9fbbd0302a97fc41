//! What the message queue must remember.

use async_trait::async_trait;
use protocol::{
    Aci, DeviceAddress, DeviceId,
    ambient::{StorageError, Timestamp},
};

use crate::queued::QueuedEnvelope;

/// Where an envelope stands: later envelopes of a device have higher positions.
///
/// Positions are microseconds since the epoch, pushed forward so that no two envelopes share one; they
/// never repeat, even after a queue has been emptied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// The first position of that moment.
    pub fn at(moment: Timestamp) -> Self {
        Self(moment.as_millis().saturating_mul(1000))
    }

    /// The last position before that moment.
    pub fn before(moment: Timestamp) -> Self {
        Self(Self::at(moment).0.saturating_sub(1))
    }
}

/// An envelope to be remembered.
#[derive(Clone, Debug)]
pub struct Append {
    /// Whose queue.
    pub device: DeviceAddress,
    /// Where in it.
    pub position: Position,
    /// The envelope. Engines keep a shared end once, however many envelopes have it, and forget it with the
    /// last of them.
    pub envelope: QueuedEnvelope,
}

/// Changes that are made together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Envelopes to remember.
    pub appends: Vec<Append>,
    /// Envelopes to forget; one that is not there is passed over.
    pub deletes: Vec<(DeviceAddress, Position)>,
}

impl Batch {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.appends.is_empty() && self.deletes.is_empty()
    }
}

/// An envelope read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEnvelope {
    /// Where it stands.
    pub position: Position,
    /// The envelope.
    pub envelope: QueuedEnvelope,
}

/// What an account's queues hold, or what became of part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Number of envelopes.
    pub envelopes: u64,
    /// Their bytes, as their devices would get them.
    pub bytes: u64,
}

impl Volume {
    /// That many envelopes of that many bytes together.
    pub fn of(envelopes: usize, bytes: usize) -> Self {
        let wide = |count| u64::try_from(count).unwrap_or(u64::MAX);
        Self { envelopes: wide(envelopes), bytes: wide(bytes) }
    }

    /// One envelope of that length.
    pub fn of_one(bytes: usize) -> Self {
        Self::of(1, bytes)
    }
}

/// Part of a queue, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The envelopes.
    pub envelopes: Vec<StoredEnvelope>,
    /// Whether the page was cut: more may follow.
    pub more: bool,
}

/// Remembers message queues. One queue per device; every engine passes the store's queue contract.
#[async_trait]
pub trait QueueStore: Send + Sync + 'static {
    /// Makes all changes, or none. `Ok` means durable.
    async fn apply(&self, batch: Batch) -> Result<(), StorageError>;

    /// Up to `messages` envelopes and about `bytes` bytes of a device's queue after a position, oldest first.
    /// If there is any envelope after it, the page holds at least one.
    async fn read(
        &self,
        device: DeviceAddress,
        after: Position,
        messages: usize,
        bytes: usize,
    ) -> Result<Page, StorageError>;

    /// Forgets what stands up to that position (included): of one device, or of all of the account's.
    async fn clear(&self, aci: Aci, device: Option<DeviceId>, up_to: Position) -> Result<(), StorageError>;

    /// Forgets up to `limit` envelopes of any device that stand up to that position, oldest first, and says
    /// what they were. Fewer than `limit` means that no more are there.
    async fn expire(&self, up_to: Position, limit: usize) -> Result<Volume, StorageError>;

    /// What is remembered for all devices of an account. Its cost may grow with the number of envelopes.
    async fn volume(&self, aci: Aci) -> Result<Volume, StorageError>;

    /// The highest position of any envelope or shared end that is remembered.
    async fn last_position(&self) -> Result<Position, StorageError>;
}
