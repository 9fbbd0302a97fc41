//! One device of an account.

use std::fmt;

use protocol::{
    DeviceId, IdentityKind, RegistrationId,
    ambient::{Entropy, Timestamp},
};

use crate::{
    capabilities::Capabilities,
    secrets::{Password, SaltedHash},
};

pub use protocol::{PushService, PushToken, WebPushSubscription};

/// One device of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// 1 for the primary.
    pub id: DeviceId,
    /// What its password is checked against.
    pub credential: Credential,
    /// The number by which senders to the ACI notice a reinstallation.
    pub registration_id: RegistrationId,
    /// The same for senders to the PNI; present exactly when the account has a PNI.
    pub pni_registration_id: Option<RegistrationId>,
    /// Its name, which only the account's devices can read.
    pub name: Option<DeviceName>,
    /// Whether it fetches messages by itself instead of being woken by push.
    pub fetches_messages: bool,
    /// Where a push reaches it.
    pub push_token: Option<PushToken>,
    /// What its software can do.
    pub capabilities: Capabilities,
    /// What its software calls itself.
    pub agent: Option<Agent>,
    /// When it was added.
    pub created: Timestamp,
    /// Midnight (UTC) of the day on which it last proved its password.
    pub last_seen: Timestamp,
}

impl Device {
    /// The registration id of that identity.
    pub fn registration_id(&self, identity: IdentityKind) -> Option<RegistrationId> {
        match identity {
            IdentityKind::Aci => Some(self.registration_id),
            IdentityKind::Pni => self.pni_registration_id,
        }
    }
}

/// What a device's password is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The hash of the password.
    pub hash: SaltedHash,
    /// No password is right any more: somebody else proved the number but not the registration lock.
    pub locked: bool,
}

impl Credential {
    /// The credential of that password.
    pub fn new(password: &Password, entropy: &dyn Entropy) -> Self {
        Self { hash: SaltedHash::new(password.as_bytes(), entropy), locked: false }
    }

    /// The credential of a device that calls in another way: no password is right.
    pub fn unusable(entropy: &dyn Entropy) -> Self {
        Self { hash: SaltedHash::new(&entropy.bytes::<32>(), entropy), locked: false }
    }

    /// Whether the password is right.
    pub fn accepts(&self, password: &Password) -> bool {
        // The hash first: a locked device takes as long to refuse as any other.
        self.hash.matches(password.as_bytes()) && !self.locked
    }
}

/// The encrypted name of a device: 1 to 225 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceName(Box<[u8]>);

impl DeviceName {
    /// Longest name, as in Signal's service.
    pub const MAX_LEN: usize = 225;

    /// The name of those bytes; nothing if there are none or too many.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (1..=Self::MAX_LEN).contains(&bytes.len()).then(|| Self(bytes.into_boxed_slice()))
    }

    /// The encrypted bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceName(…)")
    }
}

/// What a device's software calls itself (`X-Signal-Agent`), such as `OWI`, `OWA` or `OWD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent(Box<str>);

impl Agent {
    /// Longest text kept; more is cut off, since it only informs.
    pub const MAX_LEN: usize = 256;

    /// The agent of that header value.
    pub fn new(text: &str) -> Self {
        Self(text[..text.floor_char_boundary(Self::MAX_LEN)].into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use protocol::ambient::SeededEntropy;

    use super::*;

    /// A device with nothing special about it, whose password is `password`.
    pub(crate) fn device(id: u32) -> Device {
        Device {
            id: id.try_into().unwrap(),
            credential: Credential::new(&Password::new("password".to_owned()), &SeededEntropy::new(1)),
            registration_id: RegistrationId::try_from(id).unwrap(),
            pni_registration_id: Some(RegistrationId::try_from(100 + id).unwrap()),
            name: None,
            fetches_messages: true,
            push_token: None,
            capabilities: Capabilities::default(),
            agent: None,
            created: Timestamp::from_millis(0),
            last_seen: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn a_locked_credential_accepts_nothing() {
        let password = Password::new("password".to_owned());
        let mut credential = device(1).credential;
        assert!(credential.accepts(&password));
        assert!(!credential.accepts(&Password::new("Password".to_owned())));
        credential.locked = true;
        assert!(!credential.accepts(&password));
    }

    #[test]
    fn names_and_agents_are_bounded() {
        assert!(DeviceName::new(vec![]).is_none());
        assert!(DeviceName::new(vec![0; 225]).is_some());
        assert!(DeviceName::new(vec![0; 226]).is_none());
        assert_eq!(Agent::new(&"ä".repeat(200)).as_str().len(), 256);
    }
}
