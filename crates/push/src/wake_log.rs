//! Which devices were woken for what waits for them, so that a crash does not leave one asleep.

use async_trait::async_trait;
use protocol::{
    DeviceAddress,
    ambient::{StorageError, Timestamp},
};

/// Some devices that have something waiting which came after they were last woken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unwoken {
    /// The devices.
    pub devices: Vec<DeviceAddress>,
    /// Where to go on; nothing when these were the last.
    pub next: Option<DeviceAddress>,
}

/// Remembers when devices were last woken, beside what waits for them.
#[async_trait]
pub trait WakeLog: Send + Sync + 'static {
    /// Looks at up to `limit` devices that have something waiting, after that one in an order of the store's, and
    /// picks those whose last message is of a later millisecond than their last wake-up.
    async fn unwoken(&self, after: Option<DeviceAddress>, limit: usize) -> Result<Unwoken, StorageError>;

    /// Notes when devices were woken; an earlier moment than known changes nothing.
    async fn note(&self, woken: Vec<(DeviceAddress, Timestamp)>) -> Result<(), StorageError>;

    /// Forgets up to `limit` devices that were woken before that moment and not since, and says how many.
    async fn forget_before(&self, moment: Timestamp, limit: usize) -> Result<usize, StorageError>;
}
