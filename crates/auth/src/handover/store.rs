//! What handing over needs remembered.

use async_trait::async_trait;
use protocol::ambient::{StorageError, Timestamp};

use super::{ArchiveAddress, RestoreChoice, RestoreToken, TransferArchive};

/// Remembers what one device leaves for another until it expires. Each method happens whole or not at all, and
/// has happened for good when it answers.
///
/// What is left for a device of an account goes with that device and with the account.
#[async_trait]
pub trait HandoverStore: Send + Sync + 'static {
    /// Keeps what a device is to be told, in place of what it was to be told before. The device need not exist;
    /// answers whether the account does.
    async fn put_archive(
        &self,
        address: ArchiveAddress,
        archive: TransferArchive,
        expires: Timestamp,
    ) -> Result<bool, StorageError>;

    /// What that device is to be told, unless it has expired.
    async fn archive(
        &self,
        address: ArchiveAddress,
        now: Timestamp,
    ) -> Result<Option<TransferArchive>, StorageError>;

    /// Keeps a choice in place of an earlier one under the same token, unless `max` are kept already that have
    /// not expired. Answers whether it is kept.
    async fn put_choice(&self, choice: NewChoice) -> Result<bool, StorageError>;

    /// The choice under that token, unless it has expired.
    async fn choice(
        &self,
        token: &RestoreToken,
        now: Timestamp,
    ) -> Result<Option<RestoreChoice>, StorageError>;

    /// Forgets what has expired.
    async fn remove_expired(&self, now: Timestamp) -> Result<(), StorageError>;
}

/// A choice on its way to be kept.
#[derive(Clone, Debug)]
pub struct NewChoice {
    /// What it is found by.
    pub token: RestoreToken,
    /// The choice.
    pub choice: RestoreChoice,
    /// The present moment.
    pub at: Timestamp,
    /// Until when it is kept.
    pub expires: Timestamp,
    /// How many choices may be kept.
    pub max: u32,
}
