//! The registration lock: a number alone does not open an account in use.

use std::time::Duration;

use limits::{LimitId, RateLimits, RetryAfter};
use protocol::{
    PhoneNumber,
    ambient::{StorageError, Timestamp},
};

use super::RegisterError;
use crate::{
    account::Account,
    audit::{Action, AuditTrail, Detail},
    revocation::Revocations,
    secrets::RegistrationLockToken,
    store::AccountStore,
};

/// How long after its account was last seen a registration lock holds. Somebody who lost the PIN waits
/// that long; somebody who took over the number of a person in regular contact never gets in.
pub const LOCK_LIFE: Duration = Duration::from_hours(7 * 24);

/// What asking for a registration lock takes.
pub(crate) struct LockCheck<'a> {
    /// Remembers accounts.
    pub(crate) accounts: &'a dyn AccountStore,
    /// Told of devices that are locked out.
    pub(crate) revocations: &'a Revocations,
    /// Told of what happens.
    pub(crate) audit: &'a dyn AuditTrail,
    /// How often somebody may guess.
    pub(crate) limits: &'a RateLimits,
    /// The present moment.
    pub(crate) now: Timestamp,
}

/// Why a registration lock did not open.
pub(crate) enum LockRefusal {
    /// The token is wrong or missing.
    Locked {
        /// Time until the lock no longer holds.
        time_remaining: Duration,
    },
    /// Too many guesses.
    RateLimited(RetryAfter),
    /// What remembers failed.
    Storage(StorageError),
}

impl LockCheck<'_> {
    /// Passes if the account that holds the number has no lock, an expired one, or the token is right.
    ///
    /// If not, whoever asks has shown that they hold the number: the account's devices are locked out, so
    /// that both sides must show the PIN, and its recovery password goes. The latter stays for somebody
    /// who knew it and was not yet asked for the PIN: they come back with both.
    pub(crate) async fn pass(
        &self,
        number: &PhoneNumber,
        account: &Account,
        token: Option<&RegistrationLockToken>,
        knew_password: bool,
    ) -> Result<(), LockRefusal> {
        let expires = account.last_seen().saturating_add(LOCK_LIFE);
        let time_remaining = expires.saturating_since(self.now);
        let Some(lock) = account.registration_lock.as_ref().filter(|_| !time_remaining.is_zero()) else {
            return Ok(());
        };
        if let Some(token) = token {
            let key = number.as_str().as_bytes();
            self.limits.check(LimitId::Pin, key, 1).map_err(LockRefusal::RateLimited)?;
            if lock.matches(token.as_bytes()) {
                self.limits.clear(LimitId::Pin, key);
                return Ok(());
            }
        }
        let why = if token.is_some() { Detail::WrongCode } else { Detail::Missing };
        let event = Action::PassRegistrationLock.refused(number).on(account.aci).detail(why);
        self.audit.record(event).await;
        let keep_recovery = token.is_none() && knew_password;
        self.accounts
            .lock(account.aci, account.version, keep_recovery)
            .await
            .map_err(LockRefusal::Storage)?;
        self.revocations.credentials_locked(account.aci);
        Err(LockRefusal::Locked { time_remaining })
    }
}

impl From<LockRefusal> for RegisterError {
    fn from(refusal: LockRefusal) -> Self {
        match refusal {
            LockRefusal::Locked { time_remaining } => Self::Locked { time_remaining },
            LockRefusal::RateLimited(wait) => Self::RateLimited(wait),
            LockRefusal::Storage(error) => Self::Storage(error),
        }
    }
}
