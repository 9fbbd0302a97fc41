//! What e-mail addresses and resets of passwords need remembered.

use async_trait::async_trait;
use protocol::{
    Aci, DeviceId,
    ambient::{StorageError, Timestamp},
};

use super::code::MailCodeHash;
use crate::{
    mail::MailAddress,
    native::{Username, hashing::PasswordHash},
};

/// Resets of one account that may be outstanding. Another one voids the oldest.
pub const RESETS_MAX: u32 = 5;

/// Addresses-to-be that may be outstanding for newcomers with one address. Another one voids the oldest.
pub const PROOFS_MAX: u32 = 5;

/// Remembers the addresses of native accounts, and codes by their hashes. Each method happens whole or not at all, and
/// has happened for good when it answers. All of it goes with the account.
///
/// An address belongs to one account at most. Any number of accounts may wish for it: the first that confirms it gets it.
#[async_trait]
pub trait EmailStore: Send + Sync + 'static {
    /// The address of an account, and the one it wishes for unless the time for that is over.
    async fn email(&self, aci: Aci, now: Timestamp) -> Result<EmailState, StorageError>;

    /// The account whose address that is.
    async fn email_owner(&self, address: &MailAddress) -> Result<Option<Aci>, StorageError>;

    /// Notes that an account wishes for an address, in place of one it wished for before. Answers whether there is such
    /// an account.
    async fn wish(&self, aci: Aci, wish: EmailWish) -> Result<bool, StorageError>;

    /// Makes the address that an account wishes for its own, if that is the code for it and nobody else's account has
    /// it meanwhile. Resets that are outstanding are void.
    async fn confirm_email(
        &self,
        aci: Aci,
        code: MailCodeHash,
        now: Timestamp,
    ) -> Result<ConfirmOutcome, StorageError>;

    /// Removes the address of an account and the one it wishes for, and answers the former if there was one. Resets that
    /// are outstanding are void.
    async fn remove_email(&self, aci: Aci) -> Result<Option<MailAddress>, StorageError>;

    /// Notes a code by which somebody without an account may prove an address.
    async fn add_proof(&self, wish: EmailWish) -> Result<(), StorageError>;

    /// Whether that is a code that proves the address, which is nobody's yet. It is not used up.
    async fn is_proof(
        &self,
        address: &MailAddress,
        code: MailCodeHash,
        now: Timestamp,
    ) -> Result<bool, StorageError>;

    /// The account of that name, or with that address, if it has an address.
    async fn reset_target(&self, of: &ResetOf) -> Result<Option<ResetTarget>, StorageError>;

    /// Notes a code for setting another password, if name, password and address are still those. Answers whether they
    /// were.
    async fn add_reset(&self, reset: NewReset) -> Result<bool, StorageError>;

    /// The account whose password that code sets: unless the code is used or over, or password or address are others
    /// since. It is not used up.
    async fn reset(&self, code: MailCodeHash, now: Timestamp) -> Result<Option<ResetTarget>, StorageError>;

    /// Sets another password if that code still does, uses up every code of the account and ends all its sessions.
    async fn reset_password(
        &self,
        code: MailCodeHash,
        password: PasswordHash,
        now: Timestamp,
    ) -> Result<Option<ResetDone>, StorageError>;

    /// Forgets codes that are over, and answers how many.
    async fn remove_expired_codes(&self, now: Timestamp) -> Result<usize, StorageError>;
}

/// The addresses of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmailState {
    /// The one that counts.
    pub confirmed: Option<MailAddress>,
    /// The one that it wishes for, and how long its code is good.
    pub wished: Option<(MailAddress, Timestamp)>,
}

/// An address that somebody wishes for.
#[derive(Clone, Debug)]
pub struct EmailWish {
    /// The address.
    pub address: MailAddress,
    /// The code that was sent there.
    pub code: MailCodeHash,
    /// The present moment.
    pub at: Timestamp,
    /// How long the code is good.
    pub expires: Timestamp,
}

/// What became of a confirmation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfirmOutcome {
    /// The address is the account's.
    Confirmed {
        /// The one it had before, if it had another.
        former: Option<MailAddress>,
    },
    /// The code is none, used, over, or for an address that is somebody else's.
    WrongCode,
}

/// Whose password is to be reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResetOf {
    /// That of the account of that name.
    Username(Username),
    /// That of the account with that address.
    Address(MailAddress),
}

/// An account whose password can be reset, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetTarget {
    /// The account.
    pub aci: Aci,
    /// Its name.
    pub username: Username,
    /// The version of its login.
    pub login_version: u64,
    /// Its address.
    pub address: MailAddress,
}

/// A reset to be noted.
#[derive(Clone, Debug)]
pub struct NewReset {
    /// For whom.
    pub target: ResetTarget,
    /// The code.
    pub code: MailCodeHash,
    /// How long it is good.
    pub expires: Timestamp,
}

/// A reset that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetDone {
    /// The account.
    pub target: ResetTarget,
    /// The devices that are logged out.
    pub devices: Vec<DeviceId>,
}
