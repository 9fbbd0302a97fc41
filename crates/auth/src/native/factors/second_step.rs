//! The second step of a log-in: the password was right, and the account asks for more.

use std::{fmt, time::Duration};

use limits::RetryAfter;
use protocol::ambient::{StorageError, Timestamp};

use super::{
    super::{DeviceClaim, LoggedIn, NativeService, Origin, error::LoginError, guard::Attempt, login::Proven},
    opaque_token::{OpaqueToken, OpaqueTokenHash},
};
use crate::{
    audit::{Action, Detail, Party},
    pending::Pending,
    second_factor::{CHALLENGE_LIFE, FactorError, FactorProof, VerificationOffer},
};

/// How long a log-in waits for its second factor: no longer than a passkey's challenge, which is handed out with it.
pub const SECOND_STEP_LIFE: Duration = CHALLENGE_LIFE;

/// Wrong factors after which the password has to be shown again.
pub const TRIES_MAX: u32 = 5;

/// Log-ins whose password was right and whose factor has not come. It takes a right password to make one, and so a slow
/// hash: there cannot be more in the time that they live than [`Pending`] has room for.
pub(in super::super) type HalfwayLogins = Pending<OpaqueTokenHash, HalfwayLogin>;

/// A log-in whose password was right.
#[derive(Clone)]
pub(in super::super) struct HalfwayLogin {
    proven: Proven,
    device: DeviceClaim,
    attempt: Attempt,
    tries_left: u32,
    until: Timestamp,
}

/// What a log-in goes on with.
#[derive(Clone, Debug)]
pub struct SecondStep {
    /// Shows that the password was right. Good until a factor comes with it, for [`SECOND_STEP_LIFE`] and
    /// [`TRIES_MAX`] wrong ones.
    pub token: OpaqueToken,
    /// What the account takes.
    pub offer: VerificationOffer,
}

/// Why nobody was logged in by a second factor.
#[derive(Debug, thiserror::Error)]
pub enum SecondStepError {
    /// The token is none, it is over or used up, or the password has been changed since. It takes the password again.
    #[error("the log-in is over")]
    Over,
    /// The factor is wrong or was used before. This is what may be tried next.
    #[error("the factor is not good")]
    Refused(VerificationOffer),
    /// The account has as many devices as it may, and this one is new.
    #[error("the account has too many devices")]
    TooManyDevices,
    /// Too many attempts.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl NativeService {
    /// What somebody goes on with who has shown the password of an account that asks for more.
    pub(in super::super) async fn second_step(
        &self,
        proven: Proven,
        device: DeviceClaim,
        attempt: Attempt,
        offer: VerificationOffer,
    ) -> SecondStep {
        let inner = &*self.0;
        // Whoever has the password and not the factor shows in the trail.
        inner.audit.record(Action::LogIn.refused(proven.aci).detail(Detail::Missing)).await;
        let token = OpaqueToken::random(&*inner.entropy);
        let now = inner.clock.now();
        let until = now.saturating_add(SECOND_STEP_LIFE);
        inner.halfway.ask(token.hash(), now, || HalfwayLogin {
            proven,
            device,
            attempt,
            tries_left: TRIES_MAX,
            until,
        });
        SecondStep { token, offer }
    }

    /// Opens the session of somebody who has shown the password and now a second factor.
    pub async fn finish_login(
        &self,
        token: &str,
        proof: FactorProof,
        origin: Origin,
    ) -> Result<LoggedIn, SecondStepError> {
        let inner = &*self.0;
        inner.audit.ready()?;
        inner.guard.knock(origin).map_err(SecondStepError::RateLimited)?;
        let hash = OpaqueToken::from_text(token).map(|token| token.hash());
        // Taken out while its factor is looked at: of many at once one goes on, and none uses up a factor for nothing.
        let halfway = hash.and_then(|hash| Some((hash, inner.halfway.take(hash, inner.clock.now())?)));
        let Some((hash, halfway)) = halfway else {
            inner.audit.record(Action::LogIn.refused(Party::Stranger).detail(Detail::Expired)).await;
            return Err(SecondStepError::Over);
        };
        match inner.second_factors.verify(halfway.proven.aci, proof).await {
            Ok(()) => {}
            Err(FactorError::NotVerified) => return Err(self.try_again(hash, halfway).await?),
            Err(FactorError::RateLimited(wait)) => {
                self.wait_further(hash, halfway);
                return Err(SecondStepError::RateLimited(wait));
            }
            Err(FactorError::Storage(error)) => {
                self.wait_further(hash, halfway);
                return Err(error.into());
            }
            Err(_) => return Err(SecondStepError::Over),
        }
        inner.guard.right(halfway.attempt);
        let opened = self.open_session(halfway.proven, halfway.device, true, Detail::Password).await;
        opened.map_err(|error| match error {
            LoginError::TooManyDevices => SecondStepError::TooManyDevices,
            LoginError::Storage(error) => error.into(),
            // The password was changed in between.
            _ => SecondStepError::Over,
        })
    }

    /// After a wrong factor: what may be tried next, if anything.
    async fn try_again(
        &self,
        hash: OpaqueTokenHash,
        halfway: HalfwayLogin,
    ) -> Result<SecondStepError, StorageError> {
        let tries_left = halfway.tries_left.saturating_sub(1);
        if tries_left == 0 {
            return Ok(SecondStepError::Over);
        }
        let offer = match self.0.second_factors.asked_for(halfway.proven.aci).await {
            Ok(Some(offer)) => offer,
            Err(FactorError::Storage(error)) => return Err(error),
            // The factors have been removed meanwhile, or the account: this log-in cannot be finished.
            Ok(None) | Err(_) => return Ok(SecondStepError::Over),
        };
        self.wait_further(hash, HalfwayLogin { tries_left, ..halfway });
        Ok(SecondStepError::Refused(offer))
    }

    fn wait_further(&self, hash: OpaqueTokenHash, halfway: HalfwayLogin) {
        let until = halfway.until;
        self.0.halfway.put(hash, halfway, until, self.0.clock.now());
    }
}

impl fmt::Debug for HalfwayLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HalfwayLogin").finish_non_exhaustive()
    }
}
