//! What must reach others when the credentials of an account's devices go.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use protocol::{
    Aci, DeviceAddress, DeviceId,
    ambient::{StorageError, Timestamp},
};

use crate::store::AccountStore;

/// Queues cleared per round of [`Revocations::finish`], which bounds what one round holds in memory.
const CLEARS_PER_ROUND: usize = 256;

/// Closes connections.
pub trait Disconnect: Send + Sync + 'static {
    /// Closes every connection of that account's devices, saying that their credentials are no longer
    /// valid (close code 4401). Does not wait for it.
    fn credentials_revoked(&self, aci: Aci);

    /// The same for the connections of one device.
    fn device_removed(&self, device: DeviceAddress);
}

/// Clears message queues.
#[async_trait]
pub trait QueueClearer: Send + Sync + 'static {
    /// Removes every message that it names. Doing it again is harmless.
    ///
    /// What was accepted later was sent to the account's next devices and must stay, also when this is
    /// done long after the cutoff.
    async fn clear(&self, clear: QueueClear) -> Result<(), StorageError>;
}

/// A queue that is still to be cleared. It is recorded in the transaction that makes it necessary, since
/// messages live in another store: whatever happens in between, the clearing is not forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueClear {
    /// Whose devices' queues.
    pub aci: Aci,
    /// Only this device's.
    pub device: Option<DeviceId>,
    /// What was accepted before this goes.
    pub cutoff: Timestamp,
}

/// Carries revocations to those who must hear of them.
#[derive(Clone)]
pub struct Revocations {
    store: Arc<dyn AccountStore>,
    connections: Arc<dyn Disconnect>,
    queues: Arc<dyn QueueClearer>,
}

impl Revocations {
    /// Carries them to those.
    pub fn new(
        store: Arc<dyn AccountStore>,
        connections: Arc<dyn Disconnect>,
        queues: Arc<dyn QueueClearer>,
    ) -> Self {
        Self { store, connections, queues }
    }

    /// Clears the queues that are still to be cleared. For the start of the program, and from time to time
    /// afterwards: what fails in passing is left for this.
    pub async fn finish(&self) -> Result<(), StorageError> {
        loop {
            let clears = self.store.queue_clears(CLEARS_PER_ROUND).await?;
            if clears.is_empty() {
                return Ok(());
            }
            for clear in clears {
                self.clear(clear).await?;
            }
        }
    }

    /// The account's devices are gone, and so is what waited for them.
    pub(crate) async fn devices_gone(&self, clear: QueueClear) {
        self.connections.credentials_revoked(clear.aci);
        self.clear_queue(clear).await;
    }

    /// A device is gone, and so is what waited for it.
    pub(crate) async fn device_gone(&self, device: DeviceAddress, cutoff: Timestamp) {
        self.connections.device_removed(device);
        self.clear_queue(QueueClear { aci: device.aci, device: Some(device.device_id), cutoff }).await;
    }

    /// What waited for an earlier device of that id is not for the one that has it now.
    pub(crate) async fn device_id_given(&self, device: DeviceAddress, cutoff: Timestamp) {
        self.clear_queue(QueueClear { aci: device.aci, device: Some(device.device_id), cutoff }).await;
    }

    /// A device is logged out, and stays one of the account's: what waits for it goes on waiting.
    pub(crate) fn session_ended(&self, device: DeviceAddress) {
        self.connections.device_removed(device);
    }

    /// The passwords of the account's devices are no longer right.
    pub(crate) fn credentials_locked(&self, aci: Aci) {
        self.connections.credentials_revoked(aci);
    }

    async fn clear_queue(&self, clear: QueueClear) {
        if let Err(error) = self.clear(clear).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a queue was not cleared, and will be later"
            );
        }
    }

    async fn clear(&self, clear: QueueClear) -> Result<(), StorageError> {
        self.queues.clear(clear).await?;
        self.store.queue_cleared(clear).await
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").finish_non_exhaustive()
    }
}
