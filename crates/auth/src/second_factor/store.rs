//! What second factors need remembered.

use std::time::Duration;

use async_trait::async_trait;
use protocol::{
    Aci,
    ambient::{StorageError, Timestamp},
};

use super::{
    Factor, FactorId, FactorKind, FactorSecret, Label, recovery::RecoveryCode, totp::TotpKey,
    webauthn::CredentialId,
};

/// Remembers second factors. Each method happens whole or not at all, and has happened for good when it answers.
///
/// Factors belong to the account, whichever devices it has: they outlive its registering again and go with its
/// deletion.
#[async_trait]
pub trait SecondFactorStore: Send + Sync + 'static {
    /// What an account has; nothing if there is no such account.
    async fn factors(&self, aci: Aci) -> Result<Option<Factors>, StorageError>;

    /// Keeps a key until it is confirmed, in place of one that is kept already. Answers whether there is such an
    /// account.
    async fn set_pending(&self, aci: Aci, pending: PendingTotp) -> Result<bool, StorageError>;

    /// Adds a factor under the first free number, forgets the attempts, and counts a change of the account, so that
    /// a registration that was checked without the factor is checked again. A key for one-time passwords must be
    /// the one that is pending, which it then is no longer.
    async fn add(&self, aci: Aci, new: NewFactor) -> Result<AddOutcome, StorageError>;

    /// Counts an attempt to prove a factor ([`Attempts::begin`](super::attempts::Attempts::begin)), or says how long
    /// to wait before there may be one.
    async fn attempt(&self, aci: Aci, now: Timestamp) -> Result<Result<(), Duration>, StorageError>;

    /// Sets the counter of a factor, and forgets the attempts, if what the counter is now is what it was found to be.
    /// Of many at once one succeeds.
    async fn proved(&self, aci: Aci, id: FactorId, advance: Advance) -> Result<bool, StorageError>;

    /// Changes what an owner notes about a factor. Answers whether there is such a one.
    async fn set_label(&self, aci: Aci, id: FactorId, label: Label) -> Result<bool, StorageError>;

    /// Removes a factor, if it is of that kind. With the last one go the recovery codes. Answers whether there was
    /// such a one.
    async fn remove(&self, aci: Aci, id: FactorId, kind: Option<FactorKind>) -> Result<bool, StorageError>;

    /// Keeps those recovery codes, each by a hash, in place of all that there were. Answers whether the account
    /// has a factor that they can stand in for; if not, none are kept.
    async fn set_recovery_codes(&self, aci: Aci, codes: &[RecoveryCode]) -> Result<bool, StorageError>;

    /// Uses up a recovery code and forgets the attempts. Answers whether there was such a one; of many uses at once
    /// one succeeds.
    async fn use_recovery_code(&self, aci: Aci, code: &RecoveryCode) -> Result<bool, StorageError>;

    /// Whose passkey that is.
    async fn passkey_owner(&self, credential: &CredentialId) -> Result<Option<Aci>, StorageError>;
}

/// The factors of an account, and what there is about them.
#[derive(Clone, Debug)]
pub struct Factors {
    /// The account has a phone number.
    pub has_number: bool,
    /// The factors, by number.
    pub confirmed: Vec<Factor>,
    /// A key that is not confirmed yet.
    pub pending: Option<PendingTotp>,
    /// Recovery codes that are left.
    pub recovery_codes: usize,
}

impl Factors {
    /// The keys for one-time passwords, each with the last step that was used.
    pub fn totp_keys(&self) -> impl Iterator<Item = (&Factor, &TotpKey)> {
        self.confirmed.iter().filter_map(|factor| match &factor.secret {
            FactorSecret::Totp(key) => Some((factor, key)),
            FactorSecret::Passkey(_) => None,
        })
    }

    /// The passkeys.
    pub fn passkeys(&self) -> impl Iterator<Item = (&Factor, &super::webauthn::Credential)> {
        self.confirmed.iter().filter_map(|factor| match &factor.secret {
            FactorSecret::Passkey(credential) => Some((factor, credential)),
            FactorSecret::Totp(_) => None,
        })
    }
}

/// A key that was handed out and whose first password is awaited.
#[derive(Clone, Debug)]
pub struct PendingTotp {
    /// The key.
    pub key: TotpKey,
    /// From then on it is as if there were none.
    pub expires: Timestamp,
}

/// A factor to be.
#[derive(Clone, Debug)]
pub struct NewFactor {
    /// What a proof is checked by.
    pub secret: FactorSecret,
    /// The step or counter that was used to show that it works.
    pub counter: u64,
    /// What its owner calls it.
    pub label: Label,
    /// The present moment.
    pub at: Timestamp,
}

/// What became of a new factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddOutcome {
    /// It has this number.
    Added(FactorId),
    /// The account has as many as it may ([`FACTORS_MAX`](super::FACTORS_MAX),
    /// [`TOTP_KEYS_MAX`](super::TOTP_KEYS_MAX)).
    TooMany,
    /// The key is not the one that is pending, or no longer.
    NotPending,
    /// The passkey belongs to an account already.
    Taken,
    /// There is no such account.
    NoSuchAccount,
}

/// A factor's counter as it was found, and as it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// What it was.
    pub from: u64,
    /// What it becomes: the step that was used, or what a passkey counts.
    pub to: u64,
}
