//! Who fetches what, whether they may, and what they get.

use std::str::FromStr;

use protocol::{
    AccessKey, DeviceAddress, DeviceId, RegistrationId, ServiceId, UnidentifiedCredential,
    group_send::GroupSendToken,
    ids::InvalidId,
    keys::{EcPreKey, EcPublicKey, EcSignedPreKey, KemSignedPreKey},
};
use serde::Serialize;

use crate::{
    error::KeyError,
    ports::{DeviceKeys, Owner, OwnerDevice},
};

/// On what ground somebody asks for keys.
#[derive(Clone, Debug)]
pub enum Requester {
    /// An account's device that said who it is.
    Device(DeviceAddress),
    /// Somebody who does not.
    Unidentified(UnidentifiedCredential),
}

impl Requester {
    /// Decides between the credentials that came with one request. Who says who they are needs nothing more,
    /// and an access key beside it is passed over; a group send token stands alone.
    pub fn from_credentials(
        device: Option<DeviceAddress>,
        access_key: Option<AccessKey>,
        group_send_token: Option<GroupSendToken>,
    ) -> Result<Self, KeyError> {
        match (device, access_key, group_send_token) {
            (None, None, Some(token)) => Ok(UnidentifiedCredential::GroupSendToken(token).into()),
            (_, _, Some(_)) => Err(KeyError::ContradictoryCredentials),
            (Some(device), _, None) => Ok(Self::Device(device)),
            (None, Some(key), None) => Ok(UnidentifiedCredential::AccessKey(key).into()),
            (None, None, None) => Err(KeyError::Unauthorized),
        }
    }

    /// What is said of an account or device that is not there. Who proves nothing but an access key must not
    /// learn whether it is.
    pub(crate) fn missing(&self) -> KeyError {
        match self {
            Self::Device(_) | Self::Unidentified(UnidentifiedCredential::GroupSendToken(_)) => {
                KeyError::NotFound
            }
            Self::Unidentified(_) => KeyError::Unauthorized,
        }
    }
}

impl From<UnidentifiedCredential> for Requester {
    fn from(credential: UnidentifiedCredential) -> Self {
        Self::Unidentified(credential)
    }
}

impl Owner {
    /// Whether the account lets that requester start a session with that identity of it. Group send tokens
    /// are judged elsewhere.
    pub(crate) fn admits(&self, requester: &Requester, target: ServiceId) -> bool {
        match requester {
            Requester::Device(_) => true,
            Requester::Unidentified(credential) => self.unidentified_access.admits(credential, target),
        }
    }

    /// The selected devices; `None` when a device was named that is not there.
    pub(crate) fn select(&self, selector: DeviceSelector) -> Option<Vec<OwnerDevice>> {
        match selector {
            DeviceSelector::All => Some(self.devices.clone()),
            DeviceSelector::One(id) => {
                self.devices.iter().find(|device| device.id == id).map(|device| vec![*device])
            }
        }
    }
}

/// Which devices of an account are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceSelector {
    /// Every device; written `*`.
    All,
    /// That one.
    One(DeviceId),
}

impl FromStr for DeviceSelector {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text == "*" { Ok(Self::All) } else { text.parse().map(Self::One) }
    }
}

/// What starts sessions with the devices of an account. Serializes to the answer that clients expect.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyBundles {
    /// By which the keys are signed.
    pub identity_key: EcPublicKey,
    /// One bundle for each device that has left keys; at least one.
    pub devices: Vec<DeviceBundle>,
    /// Whether anybody may send to the account without saying who they are.
    #[serde(skip)]
    pub unrestricted_access: bool,
    /// By which a client sees whether the access key it holds still fits ([`AccessKey::fingerprint`]).
    #[serde(skip)]
    pub access_key_fingerprint: Option<[u8; 32]>,
}

/// What starts one session with one device.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceBundle {
    /// The device.
    pub device_id: DeviceId,
    /// Registration id of the device, under the identity that was asked for.
    pub registration_id: RegistrationId,
    /// The signed key.
    pub signed_pre_key: EcSignedPreKey,
    /// A one-time key; `null` in JSON once they are used up.
    pub pre_key: Option<EcPreKey>,
    /// A one-time Kyber key, or the last-resort key.
    pub pq_pre_key: KemSignedPreKey,
}

impl KeyBundles {
    pub(crate) fn new(owner: &Owner, selected: &[OwnerDevice], keys: Vec<DeviceKeys>) -> Self {
        let bundle = |keys: DeviceKeys| {
            let device = selected.iter().find(|device| device.id == keys.device)?;
            Some(DeviceBundle {
                device_id: keys.device,
                registration_id: device.registration_id,
                signed_pre_key: keys.signed,
                pre_key: keys.one_time,
                pq_pre_key: keys.kem,
            })
        };
        Self {
            identity_key: owner.identity_key,
            devices: keys.into_iter().filter_map(bundle).collect(),
            unrestricted_access: owner.unidentified_access.unrestricted,
            access_key_fingerprint: owner.unidentified_access.key.as_ref().map(AccessKey::fingerprint),
        }
    }
}
