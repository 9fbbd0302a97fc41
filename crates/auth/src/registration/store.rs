//! What registering without a number needs remembered.

use async_trait::async_trait;
use protocol::{
    Aci, UnidentifiedAccess,
    ambient::{StorageError, Timestamp},
};

use super::ReceiptSerial;
use crate::{
    account::{Account, AccountVersion},
    device::Device,
    secrets::SaltedHash,
    store::{IdentityKeys, RegisterOutcome},
};

/// Remembers accounts without a number, and by what any account is recovered. Each method happens whole or not at
/// all, and has happened for good when it answers.
#[async_trait]
pub trait NumberlessStore: Send + Sync + 'static {
    /// The hash of the recovery password of an account, with or without a number, if it has one.
    async fn recovery_password(&self, aci: Aci) -> Result<Option<SaltedHash>, StorageError>;

    /// Creates an account and uses the receipt up; nothing if that has been used.
    async fn create_numberless(
        &self,
        receipt: ReceiptSerial,
        new: NewNumberless,
    ) -> Result<Option<Account>, StorageError>;

    /// Replaces an account without a number that is in that state: it loses all its devices and keys, and a
    /// [`QueueClear`](crate::revocation::QueueClear) is recorded.
    async fn replace_numberless(
        &self,
        at: AccountVersion,
        new: NewNumberless,
    ) -> Result<RegisterOutcome, StorageError>;
}

/// An account without a number that passed every check.
#[derive(Clone, Debug)]
pub struct NewNumberless {
    /// Its identity.
    pub aci: Aci,
    /// Keys under the ACI.
    pub keys: IdentityKeys,
    /// The primary device.
    pub device: Device,
    /// Who may send without saying who they are.
    pub unidentified_access: UnidentifiedAccess,
    /// The recovery password.
    pub recovery_password: SaltedHash,
    /// The present moment.
    pub at: Timestamp,
}
