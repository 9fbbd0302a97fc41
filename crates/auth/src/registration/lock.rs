//! The registration lock: a number alone does not open an account in use.

use std::time::Duration;

use limits::LimitId;
use protocol::PhoneNumber;

use super::{Evidence, RegisterError, RegistrationRequest, RegistrationService};
use crate::{
    account::Account,
    audit::{Action, Detail},
};

/// How long after its account was last seen a registration lock holds. Somebody who lost the PIN waits
/// that long; somebody who took over the number of a person in regular contact never gets in.
pub const LOCK_LIFE: Duration = Duration::from_hours(7 * 24);

impl RegistrationService {
    /// Passes if the account has no lock, an expired one, or the request brings the right token.
    ///
    /// If not, whoever asks has shown that they hold the number: the account's devices are locked out, so
    /// that both sides must show the PIN, and its recovery password goes. The latter stays for somebody
    /// who knew it and was not yet asked for the PIN: they come back with both.
    pub(super) async fn check_lock(
        &self,
        number: &PhoneNumber,
        account: &Account,
        request: &RegistrationRequest,
    ) -> Result<(), RegisterError> {
        let parts = &self.0;
        let expires = account.last_seen().saturating_add(LOCK_LIFE);
        let time_remaining = expires.saturating_since(parts.clock.now());
        let Some(lock) = account.registration_lock.as_ref().filter(|_| !time_remaining.is_zero()) else {
            return Ok(());
        };
        let token = request.attributes.registration_lock.as_ref();
        if let Some(token) = token {
            let key = number.as_str().as_bytes();
            parts.limits.check(LimitId::Pin, key, 1).map_err(RegisterError::RateLimited)?;
            if lock.matches(token.as_bytes()) {
                parts.limits.clear(LimitId::Pin, key);
                return Ok(());
            }
        }
        let why = if token.is_some() { Detail::WrongCode } else { Detail::Missing };
        parts.audit.record(Action::PassRegistrationLock.refused(number).on(account.aci).detail(why)).await;
        let keep_recovery = token.is_none() && matches!(request.evidence, Evidence::RecoveryPassword(_));
        parts.accounts.lock(account.aci, account.version, keep_recovery).await?;
        parts.revocations.credentials_locked(account.aci);
        Err(RegisterError::Locked { time_remaining })
    }
}
