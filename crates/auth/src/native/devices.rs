//! The devices of a native account, as its owner sees and names them.

use async_trait::async_trait;
use protocol::{
    Aci, DeviceAddress, DeviceId, PushService, RegistrationId,
    ambient::{StorageError, Timestamp},
};

use super::{Bearer, DeviceLabel, NativeService};
use crate::settings::RenameError;

/// Remembers what the owner of an account sees of its devices.
#[async_trait]
pub trait NativeDeviceStore: Send + Sync + 'static {
    /// The devices of an account, the primary first.
    async fn devices(&self, aci: Aci) -> Result<Vec<NativeDevice>, StorageError>;

    /// Calls a device something else, or nothing. Answers whether there is such a native device.
    async fn rename(&self, device: DeviceAddress, label: Option<DeviceLabel>) -> Result<bool, StorageError>;
}

/// A device as the account's own devices may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeDevice {
    /// Its id.
    pub id: DeviceId,
    /// What it is called.
    pub label: Option<DeviceLabel>,
    /// By what senders notice that it has been reinstalled.
    pub registration_id: RegistrationId,
    /// When it was added.
    pub created: Timestamp,
    /// Midnight (UTC) of the day on which it was last seen.
    pub last_seen: Timestamp,
    /// Who delivers pushes to it, if it has registered for any. By which token is nobody's business.
    pub push: Option<PushService>,
}

impl NativeService {
    /// The devices of the caller's account, the caller among them.
    pub async fn devices(&self, bearer: &Bearer) -> Result<Vec<NativeDevice>, StorageError> {
        self.0.devices.devices(bearer.device.aci).await
    }

    /// Calls a device something else, or nothing. The primary may name every device of its account, others only
    /// themselves.
    pub async fn rename_device(
        &self,
        bearer: &Bearer,
        device_id: DeviceId,
        label: Option<DeviceLabel>,
    ) -> Result<(), RenameError> {
        let caller = bearer.device;
        if !caller.device_id.is_primary() && caller.device_id != device_id {
            return Err(RenameError::NotPermitted);
        }
        let device = DeviceAddress { aci: caller.aci, device_id };
        if self.0.devices.rename(device, label).await? { Ok(()) } else { Err(RenameError::NoSuchDevice) }
    }
}
