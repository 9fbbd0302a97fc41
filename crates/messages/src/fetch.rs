//! Fetching messages one request at a time, for devices that keep no socket open.

use std::time::Duration;

use protocol::{DeviceAddress, ambient::StorageError};
use tokio::time::{Instant, timeout_at};

use crate::{
    queue::{CloseReason, Delivery},
    send::MessageService,
};

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Another connection of the device took the place of this one, or the device's credentials went.
    #[error("the queue was given up")]
    Closed(CloseReason),
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl MessageService {
    /// What waits for a device, oldest first, at most `max`; if nothing does, what comes first within the patience. All
    /// of it goes on waiting until it is [acknowledged](Self::acknowledge).
    ///
    /// While this waits it is the device's one reader.
    pub async fn fetch(
        &self,
        device: DeviceAddress,
        max: usize,
        patience: Duration,
    ) -> Result<Vec<Delivery>, FetchError> {
        let mut subscription = self.queue().subscribe(device);
        let deadline = Instant::now() + patience;
        loop {
            if let Some(reason) = subscription.closed() {
                return Err(FetchError::Closed(reason));
            }
            let read = subscription.read(max).await?;
            if !read.is_empty() {
                return Ok(read);
            }
            if timeout_at(deadline, subscription.changed()).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }
}
