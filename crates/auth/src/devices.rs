//! Which devices an account has, and how one goes.

use protocol::{
    Aci, DeviceId, RegistrationId, ServiceId,
    ambient::{StorageError, Timestamp},
    keys::EcPublicKey,
};

use crate::{
    audit::Action,
    device::{Device, DeviceName},
    service::{AccountService, Authenticated},
    settings::AccountError,
};

/// The devices of an account, as its own devices may see them.
#[derive(Clone, Debug)]
pub struct DeviceList {
    /// The account's identity key, to which what only its devices may read is sealed; none while it has
    /// published none.
    pub identity_key: Option<EcPublicKey>,
    /// Every device, the primary first.
    pub devices: Vec<DeviceInfo>,
}

/// A device as the account's own devices may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its id.
    pub id: DeviceId,
    /// Its encrypted name.
    pub name: Option<DeviceName>,
    /// Midnight (UTC) of the day on which it was last seen.
    pub last_seen: Timestamp,
    /// Its registration id under the ACI.
    pub registration_id: RegistrationId,
    /// When it was added.
    pub created: Timestamp,
}

/// Why a device was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveDeviceError {
    /// A linked device may remove only itself.
    #[error("not this device's to remove")]
    NotPermitted,
    /// The primary goes only with its account.
    #[error("the primary device cannot be removed")]
    Primary,
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<&Device> for DeviceInfo {
    fn from(device: &Device) -> Self {
        Self {
            id: device.id,
            name: device.name.clone(),
            last_seen: device.last_seen,
            registration_id: device.registration_id,
            created: device.created,
        }
    }
}

impl AccountService {
    /// The devices of the caller's account, the caller among them.
    pub async fn devices(&self, caller: &Authenticated) -> Result<DeviceList, AccountError> {
        let account = self.account(caller).await?;
        Ok(DeviceList {
            identity_key: account.identity_key,
            devices: account.devices.iter().map(DeviceInfo::from).collect(),
        })
    }

    /// Removes a device: it and its keys are gone when this answers, what waited for it goes, and its
    /// connection is closed. One that does not exist is as good as removed.
    ///
    /// The primary removes any other device, a linked one only itself.
    pub async fn remove_device(
        &self,
        caller: &Authenticated,
        device_id: DeviceId,
    ) -> Result<(), RemoveDeviceError> {
        if !caller.device_id.is_primary() && caller.device_id != device_id {
            return Err(RemoveDeviceError::NotPermitted);
        }
        if device_id.is_primary() {
            return Err(RemoveDeviceError::Primary);
        }
        self.audit.ready()?;
        let device = Authenticated { device_id, ..*caller }.address();
        let at = self.clock.now();
        if self.store.remove_device(device, at).await? {
            self.revocations.device_gone(device, at).await;
            self.audit.record(Action::RemoveDevice.by(caller.address()).on(device)).await;
        }
        Ok(())
    }

    /// The day on which the account's primary device was last seen.
    pub async fn primary_last_seen(&self, aci: Aci) -> Result<Option<Timestamp>, StorageError> {
        let account = self.store.account(ServiceId::Aci(aci)).await?;
        Ok(account
            .as_ref()
            .and_then(|account| account.device(DeviceId::PRIMARY))
            .map(|device| device.last_seen))
    }
}
