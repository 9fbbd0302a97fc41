//! What key distribution needs from outside: what it must remember, and what others know.

use std::time::Duration;

use async_trait::async_trait;
use protocol::{
    DeviceId, RegistrationId, ServiceId, UnidentifiedAccess,
    ambient::StorageError,
    keys::{EcPreKey, EcPublicKey, EcSignedPreKey, KemSignedPreKey},
};
use uuid::Uuid;

use crate::upload::KeyUpload;

/// Where keys lie: one device, under one of the identities of its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeySlot {
    /// The UUID of the account identity or of the phone-number identity.
    pub identity: Uuid,
    /// The device.
    pub device: DeviceId,
}

/// How many one-time keys a device has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// Curve25519 keys.
    pub ec: u32,
    /// Kyber keys, the last-resort key not among them.
    pub kem: u32,
}

/// The keys of one device that start one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceKeys {
    /// The device.
    pub device: DeviceId,
    /// The signed key.
    pub signed: EcSignedPreKey,
    /// A one-time key, unless they are used up.
    pub one_time: Option<EcPreKey>,
    /// A one-time key, or the last-resort key once those are used up.
    pub kem: KemSignedPreKey,
}

/// Remembers pre-keys.
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// Replaces every key of each kind that the upload holds, and leaves the other kinds alone. All or nothing.
    /// When an upload holds a key id twice, one of the two keys is kept.
    async fn put(&self, slot: KeySlot, keys: KeyUpload) -> Result<(), StorageError>;

    /// Counts the one-time keys.
    async fn counts(&self, slot: KeySlot) -> Result<KeyCounts, StorageError>;

    /// The signed key and the last-resort key, if both are there.
    async fn repeated_use(
        &self,
        slot: KeySlot,
    ) -> Result<Option<(EcSignedPreKey, KemSignedPreKey)>, StorageError>;

    /// Takes the keys for one session with each of those devices, in the given order and all together.
    ///
    /// One-time keys go lowest id first, and each goes to one taker only, whatever happens: once this
    /// answers, its removal is durable. A device that lacks a signed key or any Kyber key is left out and
    /// loses nothing.
    async fn take(&self, identity: Uuid, devices: Vec<DeviceId>) -> Result<Vec<DeviceKeys>, StorageError>;

    /// Removes all keys of those identities: of one device, or of every device.
    async fn remove(&self, identities: Vec<Uuid>, device: Option<DeviceId>) -> Result<(), StorageError>;
}

/// Knows to whom an identity belongs.
#[async_trait]
pub trait KeyOwners: Send + Sync + 'static {
    /// The account with that identity.
    async fn owner(&self, target: ServiceId) -> Result<Option<Owner>, StorageError>;
}

/// An account as somebody sees it who wants to start a session with one of its identities.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The identity key of the identity that was asked for.
    pub identity_key: EcPublicKey,
    /// The devices, in ascending order of their ids.
    pub devices: Vec<OwnerDevice>,
    /// Who may fetch keys without saying who they are.
    pub unidentified_access: UnidentifiedAccess,
}

/// A device of an account.
#[derive(Clone, Copy, Debug)]
pub struct OwnerDevice {
    /// The device.
    pub id: DeviceId,
    /// The registration id that belongs to the identity that was asked for.
    pub registration_id: RegistrationId,
}

/// Told when keys that are used again and again are replaced.
#[async_trait]
pub trait KeyChanges: Send + Sync + 'static {
    /// A device has uploaded another key of that kind under that identity.
    async fn replaced(&self, identity: ServiceId, device: DeviceId, key: RepeatedUseKey);
}

/// Keys that start many sessions. One-time keys come and go all the time, and nobody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepeatedUseKey {
    /// The signed key.
    Signed,
    /// The Kyber key that is given out once the one-time keys are used up.
    LastResort,
}

/// Limits how often one device fetches the keys of another.
pub trait KeyFetchLimit: Send + Sync + 'static {
    /// Counts one more fetch, or says how long to wait. The key names the pair of devices.
    fn check(&self, key: &[u8]) -> Result<(), Duration>;
}
