//! What admission needs remembered.

use async_trait::async_trait;
use protocol::{
    PhoneNumber,
    ambient::{StorageError, Timestamp},
};
use uuid::Uuid;

use super::invite::{Invite, InviteCode, InviteId, NewInvite};

/// Names somebody who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ApplicationId(pub Uuid);

/// Somebody who wants an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applicant {
    /// For a number.
    Number(PhoneNumber),
    /// Under a name, as normalised.
    Name(String),
}

/// How somebody stands with the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is no decision.
    Pending,
    /// They may come, once.
    Approved(ApplicationId),
    /// They may not.
    Refused,
}

/// Somebody who asked, as the operator sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// Names it.
    pub id: ApplicationId,
    /// Who.
    pub applicant: Applicant,
    /// When they asked.
    pub asked: Timestamp,
    /// How they stand.
    pub standing: Standing,
}

/// Remembers invitations and those who wait. Several processes may use it at once.
///
/// An invitation is used, and an approval, in the transaction that makes the account: whoever keeps accounts does that.
#[async_trait]
pub trait AdmissionStore: Send + Sync + 'static {
    /// Keeps an invitation; `false`, and nothing is kept, if its code is in use.
    async fn add_invite(&self, invite: NewInvite) -> Result<bool, StorageError>;

    /// Every invitation, in the order in which they were made.
    async fn invites(&self) -> Result<Vec<Invite>, StorageError>;

    /// Marks an invitation as taken back; `false` if there is none, or it was before.
    async fn revoke_invite(&self, id: InviteId, at: Timestamp) -> Result<bool, StorageError>;

    /// The invitation with that code that can be used now: one bound to that number, or one that is bound to none.
    async fn find_invite(
        &self,
        code: &InviteCode,
        number: Option<&PhoneNumber>,
        now: Timestamp,
    ) -> Result<Option<InviteId>, StorageError>;

    /// Whether there is an invitation bound to that number that can be used now.
    async fn is_invited(&self, number: &PhoneNumber, now: Timestamp) -> Result<bool, StorageError>;

    /// Counts a wrong code against the invitations bound to that number; those with `max` of them are void.
    async fn wrong_code(&self, number: &PhoneNumber, max: u32) -> Result<(), StorageError>;

    /// How somebody stands. Who is new is noted under that id, unless `max` wait already.
    async fn apply(
        &self,
        applicant: &Applicant,
        id: ApplicationId,
        at: Timestamp,
        max: u32,
    ) -> Result<Standing, StorageError>;

    /// Everybody who asked and has no account yet, the longest waiting first.
    async fn applications(&self) -> Result<Vec<Application>, StorageError>;

    /// Decides about somebody, also anew. Answers about whom; nothing if there is nobody of that id.
    async fn decide(
        &self,
        id: ApplicationId,
        approve: bool,
        at: Timestamp,
    ) -> Result<Option<Applicant>, StorageError>;

    /// Forgets invitations that were over by the first moment, and those who asked, or were told, before the second.
    async fn remove_expired(&self, invites: Timestamp, applications: Timestamp) -> Result<(), StorageError>;
}
