//! What one device leaves for another that is being set up: word of a history archive ([`archive`]), and how an
//! account is restored on a new phone ([`restore`]).
//!
//! What is left is kept for an hour, also over a restart; who waits for it while the server stops asks again.

mod archive;
mod restore;
pub mod store;

use std::{fmt, sync::Arc, time::Duration};

use limits::{LimitId, RateLimits, RetryAfter};
use protocol::ambient::{Clock, StorageError};

pub use archive::{ArchiveAddress, ArchiveError, ArchiveNotice, TransferArchive};
pub use restore::{RestoreChoice, RestoreMethod, RestoreToken};

use crate::{service::Authenticated, store::AccountStore, waiters::Waiters};
use store::{HandoverStore, NewChoice};

/// How long what is left is kept.
pub const KEPT: Duration = Duration::from_hours(1);

/// Choices kept at once, of up to 6 kB each: they are left by strangers. Beyond it more are refused, since what
/// was taken is kept.
pub const CHOICES_MAX: u32 = 20_000;

/// How long somebody is asked to wait whose choice finds no room.
const FULL_RETRY_AFTER: Duration = Duration::from_mins(1);

/// Keeps what devices leave for one another.
pub struct HandoverService {
    parts: HandoverParts,
    archives: Waiters<ArchiveAddress>,
    choices: Waiters<RestoreToken>,
}

/// What a [`HandoverService`] is made of.
pub struct HandoverParts {
    /// Remembers what is left.
    pub store: Arc<dyn HandoverStore>,
    /// Knows the registration id of who asks.
    pub accounts: Arc<dyn AccountStore>,
    /// How often somebody may do what.
    pub limits: Arc<RateLimits>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// Why nothing was left, or nobody waited.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// Only the primary device has a history to hand over.
    #[error("not the primary device")]
    NotPrimary,
    /// The account or device that called no longer exists.
    #[error("the account is gone")]
    Gone,
    /// Too often, or too much is kept.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl HandoverService {
    /// A service made of these parts.
    pub fn new(parts: HandoverParts) -> Self {
        Self { parts, archives: Waiters::default(), choices: Waiters::default() }
    }

    /// Leaves word for a device of the caller's account. It is durable when this answers.
    pub async fn leave_archive(
        &self,
        caller: &Authenticated,
        notice: ArchiveNotice,
    ) -> Result<(), HandoverError> {
        if !caller.device_id.is_primary() {
            return Err(HandoverError::NotPrimary);
        }
        self.check(LimitId::UploadTransferArchive, caller.aci.0.as_bytes())?;
        let ArchiveNotice { device_id, registration_id, archive } = notice;
        let address = ArchiveAddress { aci: caller.aci, device_id, registration_id };
        let expires = self.parts.clock.now().saturating_add(KEPT);
        if !self.parts.store.put_archive(address, archive, expires).await? {
            return Err(HandoverError::Gone);
        }
        self.archives.tell(&address);
        Ok(())
    }

    /// Waits for what the primary leaves for the caller. Nothing if that takes longer than the patience, or if the
    /// device begins to wait once more.
    pub async fn wait_for_archive(
        &self,
        caller: &Authenticated,
        patience: Duration,
    ) -> Result<Option<TransferArchive>, HandoverError> {
        let parts = &self.parts;
        let mut key = [caller.device_id.get(); 17];
        key[..16].copy_from_slice(caller.aci.0.as_bytes());
        self.check(LimitId::WaitForTransferArchive, &key)?;
        let account = parts.accounts.account(caller.aci.into()).await?.ok_or(HandoverError::Gone)?;
        let device = account.device(caller.device_id).ok_or(HandoverError::Gone)?;
        let address = ArchiveAddress {
            aci: caller.aci,
            device_id: device.id,
            registration_id: device.registration_id.get(),
        };
        let look = || async move { Ok(parts.store.archive(address, parts.clock.now()).await?) };
        self.archives.wait(address, patience, look).await
    }

    /// Leaves a choice for whoever knows the token. It is durable when this answers.
    pub async fn leave_choice(
        &self,
        token: RestoreToken,
        choice: RestoreChoice,
    ) -> Result<(), HandoverError> {
        let at = self.parts.clock.now();
        let expires = at.saturating_add(KEPT);
        let new = NewChoice { token: token.clone(), choice, at, expires, max: CHOICES_MAX };
        if !self.parts.store.put_choice(new).await? {
            return Err(HandoverError::RateLimited(RetryAfter(FULL_RETRY_AFTER)));
        }
        self.choices.tell(&token);
        Ok(())
    }

    /// Waits for the choice under that token. Nothing if that takes longer than the patience, or if somebody else
    /// begins to wait for the same.
    pub async fn wait_for_choice(
        &self,
        token: RestoreToken,
        patience: Duration,
    ) -> Result<Option<RestoreChoice>, HandoverError> {
        let (parts, wanted) = (&self.parts, &token);
        let look = || async move { Ok(parts.store.choice(wanted, parts.clock.now()).await?) };
        self.choices.wait(token.clone(), patience, look).await
    }

    /// Forgets what has been kept for long enough.
    pub async fn remove_expired(&self) -> Result<(), StorageError> {
        self.parts.store.remove_expired(self.parts.clock.now()).await
    }

    fn check(&self, limit: LimitId, key: &[u8]) -> Result<(), HandoverError> {
        self.parts.limits.check(limit, key, 1).map_err(HandoverError::RateLimited)
    }
}

impl fmt::Debug for HandoverService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandoverService").finish_non_exhaustive()
    }
}
