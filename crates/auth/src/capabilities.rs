//! What a device's software says it can do.

use std::collections::HashMap;

use crate::device::Device;

/// Something a device's software can do that others must know before they rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Keeps its state with the storage service.
    Storage,
    /// Can hand its data to another device that is being set up.
    Transfer,
    /// Sends its other devices attachments that they lack.
    AttachmentBackfill,
    /// Speaks the post-quantum ratchet. Signal's service refuses devices without it.
    Spqr,
    /// Understands the second version of profiles.
    ProfilesV2,
    /// Learns of a changed username by a sync message.
    UsernameChangeSyncMessage,
    /// Copes with accounts that have no phone number.
    OptionalPhoneNumber,
}

/// Which of an account's devices must have a capability for the account to have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountHasItWhen {
    /// At least one has it.
    AnyDevice,
    /// Every device has it.
    AllDevices,
    /// The primary has it.
    Primary,
}

impl Capability {
    /// Every capability this server knows.
    pub const ALL: [Self; 7] = [
        Self::Storage,
        Self::Transfer,
        Self::AttachmentBackfill,
        Self::Spqr,
        Self::ProfilesV2,
        Self::UsernameChangeSyncMessage,
        Self::OptionalPhoneNumber,
    ];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Transfer => "transfer",
            Self::AttachmentBackfill => "attachmentBackfill",
            Self::Spqr => "spqr",
            Self::ProfilesV2 => "profiles_v2",
            Self::UsernameChangeSyncMessage => "usernameChangeSyncMessage",
            Self::OptionalPhoneNumber => "optionalPhoneNumber",
        }
    }

    /// The number in gRPC's enumeration.
    pub const fn number(self) -> u8 {
        match self {
            Self::Storage => 1,
            Self::Transfer => 2,
            Self::AttachmentBackfill => 6,
            Self::Spqr => 7,
            Self::ProfilesV2 => 8,
            Self::UsernameChangeSyncMessage => 9,
            Self::OptionalPhoneNumber => 10,
        }
    }

    /// The capability of that number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.number() == number)
    }

    /// Which devices must have it for the account to have it.
    pub const fn account_has_it_when(self) -> AccountHasItWhen {
        match self {
            Self::Storage => AccountHasItWhen::AnyDevice,
            Self::Transfer | Self::AttachmentBackfill => AccountHasItWhen::Primary,
            Self::Spqr | Self::ProfilesV2 | Self::UsernameChangeSyncMessage | Self::OptionalPhoneNumber => {
                AccountHasItWhen::AllDevices
            }
        }
    }

    /// Whether an account that has it may not get a device without it: others rely on it.
    pub const fn may_not_be_lost(self) -> bool {
        matches!(self, Self::Spqr | Self::UsernameChangeSyncMessage)
    }

    /// Whether it concerns those who write to the account, and not only its own devices or the server.
    pub const fn is_shown_to_everyone(self) -> bool {
        matches!(self, Self::Spqr)
    }

    /// Whether an account with these devices has it.
    pub fn held_by(self, devices: &[Device]) -> bool {
        let has = |device: &Device| device.capabilities.contains(self);
        match self.account_has_it_when() {
            AccountHasItWhen::AnyDevice => devices.iter().any(has),
            AccountHasItWhen::AllDevices => !devices.is_empty() && devices.iter().all(has),
            AccountHasItWhen::Primary => devices.iter().any(|device| device.id.is_primary() && has(device)),
        }
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u32);

impl Capabilities {
    /// The set that a JSON object of names and flags describes; unknown names, such as retired ones that
    /// clients still send, are passed over.
    pub fn from_names(flags: &HashMap<String, bool>) -> Self {
        Capability::ALL.into_iter().filter(|capability| flags.get(capability.name()) == Some(&true)).collect()
    }

    /// Whether the capability is in the set.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & bit(capability) != 0
    }

    /// The capabilities in the set.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |capability| self.contains(*capability))
    }

    /// The stored form: the bit of each capability's gRPC number.
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// Reads the stored form; bits that stand for nothing are dropped.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits).iter().collect()
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        Self(capabilities.into_iter().fold(0, |bits, capability| bits | bit(capability)))
    }
}

const fn bit(capability: Capability) -> u32 {
    1 << capability.number()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::tests::device;

    #[test]
    fn unknown_and_false_names_are_passed_over() {
        let flags = [("spqr", true), ("storage", false), ("deleteSync", true)];
        let flags = flags.into_iter().map(|(name, flag)| (name.to_owned(), flag)).collect();
        let set = Capabilities::from_names(&flags);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Capability::Spqr]);
        assert_eq!(Capabilities::from_bits(set.to_bits() | 1), set);
    }

    #[test]
    fn an_account_has_a_capability_by_its_rule() {
        let with = |id, capabilities: &[Capability]| {
            let mut device = device(id);
            device.capabilities = capabilities.iter().copied().collect();
            device
        };
        let all = Capability::ALL;
        let primary_has_it = [with(1, &all), with(2, &[])];
        let linked_has_it = [with(1, &[]), with(2, &all)];
        for capability in all {
            let rule = capability.account_has_it_when();
            assert_eq!(capability.held_by(&primary_has_it), rule != AccountHasItWhen::AllDevices);
            assert_eq!(capability.held_by(&linked_has_it), rule == AccountHasItWhen::AnyDevice);
            assert!(capability.held_by(&[with(1, &all), with(2, &all)]));
            assert!(!capability.held_by(&[]));
        }
    }
}
