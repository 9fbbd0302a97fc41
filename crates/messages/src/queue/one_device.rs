//! The queue of one device, as its account has to do with it: what a device's going means, and how far it has read.

use std::{sync::atomic::Ordering, time::Duration};

use protocol::{
    DeviceAddress,
    ambient::{StorageError, Timestamp},
};

use super::{
    CloseReason, MessageQueue,
    device::{DeviceQueue, Held},
};
use crate::{queued::QueuedEnvelope, store::Position};

impl MessageQueue {
    /// Closes the reader of one device.
    pub fn disconnect_device(&self, device: DeviceAddress, reason: CloseReason) {
        self.shared.disconnections.fetch_add(1, Ordering::AcqRel);
        if let Some(queue) = self.shared.lock(device).get(&device) {
            queue.close(reason);
        }
    }

    /// Every device that is connected now.
    pub fn connected(&self) -> Vec<DeviceAddress> {
        let mut connected = Vec::new();
        for shard in &self.shared.shards {
            let shard = shard.lock();
            connected
                .extend(shard.iter().filter(|(_, queue)| queue.is_connected()).map(|(device, _)| *device));
        }
        connected
    }

    /// Forgets everything queued for one device before that moment. What came later stays.
    pub async fn clear_device(&self, device: DeviceAddress, cutoff: Timestamp) -> Result<(), StorageError> {
        let up_to = Position::before(cutoff);
        let dropped = match self.shared.lock(device).get_mut(&device) {
            Some(queue) => queue.drain_waiting(up_to),
            None => Vec::default(),
        };
        // Their senders were promised delivery to a device that was, and no longer is.
        for entry in dropped {
            entry.settle(Ok(()));
        }
        // An envelope whose commit is under way ends up in the store before or after this; the committer is
        // made to finish first.
        self.shared.inbox.flushed().await;
        self.shared.store.clear(device.aci, Some(device.device_id), up_to).await
    }

    /// Has a device woken after that time for what has been waiting for it, unless it is connected, or connects
    /// before.
    pub fn wake_if_away(&self, device: DeviceAddress, after: Duration) {
        let Some(wake_ups) = &self.shared.wake_ups else { return };
        let shard = self.shared.lock(device);
        if !shard.get(&device).is_some_and(DeviceQueue::is_connected) {
            wake_ups.still_waiting(device, after);
        }
    }

    /// Settles an envelope for good that the device has fetched, and answers what it was. Nothing if the device has no
    /// such envelope, or no longer.
    pub async fn settle(
        &self,
        device: DeviceAddress,
        position: Position,
    ) -> Result<Option<QueuedEnvelope>, StorageError> {
        let Some(envelope) = self.find(device, position).await? else { return Ok(None) };
        self.shared.acknowledge(device, &[position]);
        Ok(Some(envelope))
    }

    async fn find(
        &self,
        device: DeviceAddress,
        position: Position,
    ) -> Result<Option<QueuedEnvelope>, StorageError> {
        let Some(before) = position.0.checked_sub(1).map(Position) else { return Ok(None) };
        let here = self.shared.lock(device).get(&device).map(|queue| queue.envelope(position));
        match here {
            Some(Held::Waiting(envelope)) => return Ok(Some(envelope)),
            Some(Held::Acknowledged) => return Ok(None),
            Some(Held::NotHere) | None => {}
        }
        let page = self.shared.store.read(device, before, 1, 0).await?;
        Ok(page.envelopes.into_iter().find(|found| found.position == position).map(|found| found.envelope))
    }

    /// Whether the device has yet to acknowledge something that was accepted before that moment. What it has
    /// acknowledged may count until it has been deleted, a moment later.
    pub async fn holds_before(&self, device: DeviceAddress, moment: Timestamp) -> Result<bool, StorageError> {
        let up_to = Position::before(moment);
        if self.shared.lock(device).get(&device).is_some_and(|queue| queue.holds(up_to)) {
            return Ok(true);
        }
        let first = self.shared.store.read(device, Position::default(), 1, 0).await?;
        Ok(first.envelopes.first().is_some_and(|envelope| envelope.position <= up_to))
    }
}
