//! Being told what becomes of a device without reading its queue.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use protocol::DeviceAddress;

use super::{
    MessageQueue, Shared,
    subscription::{CloseReason, Slot},
};

/// A connection of a device that takes no messages. It is closed with the device's readers when credentials
/// are revoked or the server stops, but stands in no reader's way. Dropping it ends it.
pub struct Watch {
    shared: Arc<Shared>,
    device: DeviceAddress,
    slot: Arc<Slot>,
}

impl MessageQueue {
    /// Watches a device.
    pub fn watch(&self, device: DeviceAddress) -> Watch {
        let slot = Arc::new(Slot::new());
        self.shared.lock(device).entry(device).or_default().watch(Arc::clone(&slot));
        Watch { shared: Arc::clone(&self.shared), device, slot }
    }
}

impl Watch {
    /// Ready when this may have been closed.
    pub fn poll_changed(&self, context: &mut Context<'_>) -> Poll<()> {
        self.slot.poll_changed(context)
    }

    /// Why this was closed, if it was.
    pub fn closed(&self) -> Option<CloseReason> {
        self.slot.closed()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut devices = self.shared.lock(self.device);
        let Some(queue) = devices.get_mut(&self.device) else { return };
        queue.unwatch(&self.slot);
        if queue.is_idle() {
            devices.remove(&self.device);
        }
    }
}
