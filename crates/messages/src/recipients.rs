//! Who a service id stands for, as far as delivery needs to know.

use std::sync::Arc;

use async_trait::async_trait;
use protocol::{
    Aci, DeviceAddress, DeviceId, IdentityKind, Pni, RegistrationId, ServiceId, UnidentifiedAccess,
    ambient::StorageError,
};

/// The devices of an account.
#[derive(Clone, Debug)]
pub struct Roster {
    /// The account.
    pub aci: Aci,
    /// Its phone-number identity, if it has a number.
    pub pni: Option<Pni>,
    /// Who may send to it without saying who they are.
    pub unidentified_access: UnidentifiedAccess,
    /// Every device, in order of id; never empty.
    pub devices: Vec<RosterDevice>,
}

/// One device of a [`Roster`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RosterDevice {
    /// The device.
    pub id: DeviceId,
    /// Registration id under the account identity.
    pub registration_id: RegistrationId,
    /// Registration id under the phone-number identity, where there is one.
    pub pni_registration_id: Option<RegistrationId>,
}

impl RosterDevice {
    /// The registration id that senders to that identity must name.
    pub fn registration_id(&self, kind: IdentityKind) -> Option<RegistrationId> {
        match kind {
            IdentityKind::Aci => Some(self.registration_id),
            IdentityKind::Pni => self.pni_registration_id,
        }
    }
}

impl Roster {
    /// The address of one of its devices.
    pub fn address(&self, device_id: DeviceId) -> DeviceAddress {
        DeviceAddress { aci: self.aci, device_id }
    }
}

/// Finds the devices behind a service id. This is asked for every message: an engine keeps what it can
/// in memory, but never answers with devices from before a change that has been answered.
#[async_trait]
pub trait Recipients: Send + Sync + 'static {
    /// The account of that identity, or `None` if there is none.
    async fn roster(&self, id: ServiceId) -> Result<Option<Arc<Roster>>, StorageError>;
}
