//! An account: who somebody is to the server.

use protocol::{
    Aci, DeviceId, Pni, ServiceId, UnidentifiedAccess, ambient::Timestamp, keys::EcPublicKey,
    phone::PhoneNumber,
};

use crate::{capabilities::Capability, device::Device, secrets::SaltedHash};

/// An account with its devices.
#[derive(Clone, Debug)]
pub struct Account {
    /// The identity it keeps for life.
    pub aci: Aci,
    /// Public identity key under the ACI. A native account has none until it publishes its first keys;
    /// nobody can start a session with it before.
    pub identity_key: Option<EcPublicKey>,
    /// Its phone number and what belongs to it.
    pub number: Option<NumberIdentity>,
    /// Who may send to it without saying who they are.
    pub unidentified_access: UnidentifiedAccess,
    /// Whether it may be found by its number.
    pub discoverable: bool,
    /// The hash of the token without which the number is not registered anew while the lock holds.
    pub registration_lock: Option<SaltedHash>,
    /// Its devices, the primary first.
    pub devices: Vec<Device>,
    /// Which state of the account this is.
    pub version: AccountVersion,
}

/// The identity that stands for a phone number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberIdentity {
    /// The number.
    pub number: PhoneNumber,
    /// The identity that number keeps for good, whoever holds it.
    pub pni: Pni,
    /// Public identity key under the PNI.
    pub identity_key: EcPublicKey,
}

/// Counts the registrations and account-wide changes of an account and the comings and goings of its devices,
/// so that a decision made on one state is not carried out on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountVersion(pub u64);

impl Account {
    /// The device with that id.
    pub fn device(&self, id: DeviceId) -> Option<&Device> {
        self.devices.iter().find(|device| device.id == id)
    }

    /// Whether the account has the capability, by the rule of that capability.
    pub fn has(&self, capability: Capability) -> bool {
        capability.held_by(&self.devices)
    }

    /// The day on which any of its devices was last seen.
    pub fn last_seen(&self) -> Timestamp {
        self.devices.iter().map(|device| device.last_seen).max().unwrap_or_default()
    }

    /// Its PNI, when it has a number.
    pub fn pni(&self) -> Option<Pni> {
        self.number.as_ref().map(|number| number.pni)
    }

    /// The identity key that belongs to a service id of this account, if it has published one.
    pub fn identity_key(&self, id: ServiceId) -> Option<&EcPublicKey> {
        match id {
            ServiceId::Aci(aci) => (aci == self.aci).then_some(self.identity_key.as_ref()).flatten(),
            ServiceId::Pni(pni) => {
                self.number.as_ref().filter(|number| number.pni == pni).map(|number| &number.identity_key)
            }
        }
    }
}
