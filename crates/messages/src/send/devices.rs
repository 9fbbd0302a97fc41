//! Whether a sender has addressed exactly the devices there are.

use protocol::{DeviceId, ServiceId};

use crate::recipients::Roster;

/// How the devices a sender addressed differ from those there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceMismatch {
    /// Devices that were not addressed.
    pub missing: Vec<u8>,
    /// Addressed devices that do not exist.
    pub extra: Vec<u8>,
    /// Devices that have been reinstalled since: their registration id is another.
    pub stale: Vec<u8>,
}

impl DeviceMismatch {
    /// Whether the sender addressed exactly the devices there are.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.stale.is_empty()
    }

    /// Compares the devices addressed (id and registration id) with those of a roster, leaving out the
    /// device that sends to its own account.
    pub(super) fn between(
        roster: &Roster,
        destination: ServiceId,
        except: Option<DeviceId>,
        addressed: impl Iterator<Item = (u8, u32)> + Clone,
    ) -> Self {
        let mut mismatch = Self::default();
        for device in roster.devices.iter().filter(|device| Some(device.id) != except) {
            if !addressed.clone().any(|(id, _)| id == device.id.get()) {
                mismatch.missing.push(device.id.get());
            }
        }
        for (id, registration_id) in addressed {
            let device = roster.devices.iter().find(|device| device.id.get() == id);
            match device.filter(|device| Some(device.id) != except) {
                None => mismatch.extra.push(id),
                Some(device) => {
                    let current = device.registration_id(destination.kind());
                    if current.is_none_or(|current| u32::from(current.get()) != registration_id) {
                        mismatch.stale.push(id);
                    }
                }
            }
        }
        mismatch
    }
}
