//! What linking needs remembered.

use async_trait::async_trait;
use protocol::{
    Aci, DeviceId,
    ambient::{StorageError, Timestamp},
    keys::{EcSignedPreKey, KemSignedPreKey},
};

use super::LinkCodeId;
use crate::{account::AccountVersion, device::Device};

/// Remembers link codes and the devices they let in. Each method happens whole or not at all.
///
/// A code goes with its account, and with a registration that replaces the account's devices.
#[async_trait]
pub trait LinkStore: Send + Sync + 'static {
    /// Keeps a code of that account until it expires; nothing if there is no such account.
    async fn add_code(&self, id: LinkCodeId, aci: Aci, expires: Timestamp) -> Result<(), StorageError>;

    /// Whose code that is, if it has neither expired nor been used.
    async fn code_owner(&self, id: LinkCodeId, now: Timestamp) -> Result<Option<Aci>, StorageError>;

    /// Adds a device with its keys to an account and uses the code up. Keys of an earlier device of its id are
    /// removed, and a [`QueueClear`](crate::revocation::QueueClear) of that id is recorded.
    async fn link(&self, new: NewLinkedDevice) -> Result<LinkOutcome, StorageError>;

    /// Which device of that account a code has linked, as long as that is remembered and the device is there.
    async fn linked(
        &self,
        id: LinkCodeId,
        aci: Aci,
        now: Timestamp,
    ) -> Result<Option<DeviceId>, StorageError>;

    /// Forgets codes that have expired.
    async fn remove_expired_codes(&self, now: Timestamp) -> Result<(), StorageError>;
}

/// A device that passed every check, on its way into an account.
#[derive(Clone, Debug)]
pub struct NewLinkedDevice {
    /// The code that lets it in.
    pub code: LinkCodeId,
    /// The account.
    pub aci: Aci,
    /// The state of the account on which the checks were made.
    pub version: AccountVersion,
    /// The device; its id is free.
    pub device: Device,
    /// Keys under the ACI.
    pub aci_keys: SignedKeys,
    /// Keys under the PNI; present exactly when the account has one.
    pub pni_keys: Option<SignedKeys>,
    /// The present moment.
    pub at: Timestamp,
    /// How long it is remembered which device the code has linked.
    pub remembered_until: Timestamp,
}

/// The keys with which a device begins under an identity that exists already.
#[derive(Clone, Debug)]
pub struct SignedKeys {
    /// The signed pre-key.
    pub signed_pre_key: EcSignedPreKey,
    /// The Kyber pre-key that is handed out when there are no others.
    pub last_resort_pre_key: KemSignedPreKey,
}

/// What became of a new device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkOutcome {
    /// It is part of the account.
    Linked,
    /// The code has been used, or has gone with what it was for.
    CodeUsed,
    /// The account is no longer in the state on which the checks were made. Nothing was done.
    Outdated,
}
