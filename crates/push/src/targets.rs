//! Where pushes reach devices, as this service needs it remembered.

use async_trait::async_trait;
use protocol::{
    DeviceAddress, PushService, PushToken,
    ambient::{StorageError, Timestamp},
};

/// Where a push reaches a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushTarget {
    /// The token.
    pub token: PushToken,
    /// When the device gave it, or was added with it.
    pub registered: Timestamp,
}

/// Remembers where pushes reach devices.
#[async_trait]
pub trait PushTargets: Send + Sync + 'static {
    /// Where a push reaches that device, if anywhere. Nothing while it is logged out, though its token stays.
    async fn target(&self, device: DeviceAddress) -> Result<Option<PushTarget>, StorageError>;

    /// Makes this the device's token, in place of the one it may have. Answers whether there is such a device.
    async fn set(&self, device: DeviceAddress, target: PushTarget) -> Result<bool, StorageError>;

    /// Forgets the device's token if it still is this one, given at that moment. Answers whether it was.
    async fn remove(&self, device: DeviceAddress, target: PushTarget) -> Result<bool, StorageError>;

    /// Forgets the device's token, if it is of that service where one is given. Answers whether there was such a token.
    async fn clear(&self, device: DeviceAddress, only: Option<PushService>) -> Result<bool, StorageError>;
}
