//! What changing a number needs remembered.

use std::fmt;

use async_trait::async_trait;
use protocol::{
    Aci, DeviceAddress, DeviceId, PhoneNumber, Pni, RegistrationId,
    ambient::{StorageError, Timestamp},
    envelope::EnvelopeType,
    keys::EcPublicKey,
};
use serde::{Deserialize, Serialize};

use crate::{
    account::{Account, AccountVersion},
    linking::store::SignedKeys,
};

/// Changes numbers, and remembers which devices are still to be told. Each method happens whole or not at all, and
/// has happened for good when it answers.
#[async_trait]
pub trait NumberStore: Send + Sync + 'static {
    /// Gives an account that number and the PNI that belongs to it, with new keys of every device under it.
    ///
    /// All keys under its former PNI go. The number it had is nobody's then and keeps its PNI; the account's recovery
    /// password becomes that of the new number. Another account that holds the number is deleted with its devices
    /// and keys, and a [`QueueClear`](crate::revocation::QueueClear) is recorded. So are the messages for the
    /// account's devices.
    ///
    /// For the number that the account has, only the keys are changed.
    async fn change_number(&self, change: NumberChange) -> Result<NumberChanged, StorageError>;

    /// Messages for devices that were recorded before that moment and not delivered yet, oldest first, at most
    /// `limit`.
    async fn undelivered(&self, before: Timestamp, limit: usize) -> Result<Vec<NumberNotice>, StorageError>;

    /// Forgets a message that has been delivered.
    async fn delivered(&self, id: i64) -> Result<(), StorageError>;
}

/// A change that passed every check.
#[derive(Clone, Debug)]
pub struct NumberChange {
    /// The account.
    pub aci: Aci,
    /// The state of it on which the checks were made.
    pub version: AccountVersion,
    /// The number it gets, or has.
    pub number: PhoneNumber,
    /// Another account that holds the number, and the state of that on which the checks were made.
    pub displaces: Option<(Aci, AccountVersion)>,
    /// The PNI for a number never seen before.
    pub new_pni: Pni,
    /// The identity key under the PNI.
    pub identity_key: EcPublicKey,
    /// What each device of the account has under the PNI; exactly its devices.
    pub devices: Vec<(DeviceId, RegistrationId, SignedKeys)>,
    /// What its other devices are told.
    pub notices: Vec<NewNotice>,
    /// The present moment.
    pub at: Timestamp,
}

/// A message to a device on its way to be recorded.
#[derive(Clone, Debug)]
pub struct NewNotice {
    /// The device.
    pub device_id: DeviceId,
    /// What it is told, apart from the PNI.
    pub content: NoticeContent,
}

/// What a device is told of a change of number.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeContent {
    /// The device of the account that made the change.
    pub source: u8,
    /// How the ciphertext is made: a number of [`EnvelopeType`].
    pub kind: i32,
    /// The ciphertext.
    #[serde(with = "protocol::base64::padded")]
    pub ciphertext: Vec<u8>,
    /// When the change was made.
    pub at: Timestamp,
}

/// A message to a device that is recorded and not delivered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberNotice {
    /// Names it in the store.
    pub id: i64,
    /// The device.
    pub device: DeviceAddress,
    /// The account's new PNI.
    pub pni: Pni,
    /// What the device is told.
    pub content: NoticeContent,
}

/// What became of a change.
#[derive(Clone, Debug)]
pub enum NumberChanged {
    /// It was made.
    Changed {
        /// The account as it is now.
        account: Box<Account>,
        /// What its devices are to be told now.
        notices: Vec<NumberNotice>,
    },
    /// One of the accounts is no longer in the state on which the checks were made. Nothing was done.
    Outdated,
}

impl NoticeContent {
    /// How the ciphertext is made.
    pub fn envelope_type(&self) -> EnvelopeType {
        EnvelopeType::try_from(self.kind).unwrap_or(EnvelopeType::Unknown)
    }
}

impl fmt::Debug for NoticeContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoticeContent").field("source", &self.source).finish_non_exhaustive()
    }
}
