//! Logging in with a passkey and nothing else.

use limits::RetryAfter;
use protocol::ambient::StorageError;

use super::super::{DeviceClaim, LoggedIn, NativeService, Origin, error::LoginError, login::Proven};
use crate::{
    audit::{Action, Detail, Party},
    second_factor::{FactorError, PasskeyOffer, webauthn::AssertionResponse},
};

/// Why nobody was logged in by a passkey.
#[derive(Debug, thiserror::Error)]
pub enum PasskeyLoginError {
    /// Nobody's passkey, or nobody's who logs in here; what it signed was not asked, or was asked too long ago; its
    /// authenticator has not checked its user. Which is not said.
    #[error("the passkey is not good")]
    Refused,
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
    /// Asks for a passkey, of whichever account.
    pub fn start_passkey_login(&self, origin: Origin) -> Result<PasskeyOffer, RetryAfter> {
        self.0.guard.knock(origin)?;
        Ok(self.0.second_factors.start_sign_in())
    }

    /// Opens a session for whoever's passkey it is. An authenticator that has checked its user is two factors in one, so
    /// that nothing else is asked for. Accounts of Signal's kind have no native log-in, by this way neither: what they
    /// may be taken over by is a matter of Signal's registration and its locks.
    pub async fn finish_passkey_login(
        &self,
        response: &AssertionResponse,
        device: DeviceClaim,
        origin: Origin,
    ) -> Result<LoggedIn, PasskeyLoginError> {
        let inner = &*self.0;
        inner.audit.ready()?;
        inner.guard.knock(origin).map_err(PasskeyLoginError::RateLimited)?;
        let aci = match inner.second_factors.finish_sign_in(response).await {
            Ok(aci) => aci,
            Err(FactorError::Storage(error)) => return Err(error.into()),
            Err(FactorError::RateLimited(wait)) => return Err(PasskeyLoginError::RateLimited(wait)),
            Err(_) => {
                inner.audit.record(Action::LogIn.refused(Party::Stranger).detail(Detail::Passkey)).await;
                return Err(PasskeyLoginError::Refused);
            }
        };
        let Some(login) = inner.store.login_of(aci).await? else {
            inner.audit.record(Action::LogIn.refused(aci).detail(Detail::NotPermitted)).await;
            return Err(PasskeyLoginError::Refused);
        };
        let proven = Proven { aci, login_version: login.version };
        self.open_session(proven, device, true, Detail::Passkey).await.map_err(|error| match error {
            LoginError::TooManyDevices => PasskeyLoginError::TooManyDevices,
            LoginError::Storage(error) => error.into(),
            // The password was changed just now; the passkey would be good again.
            _ => PasskeyLoginError::Refused,
        })
    }
}
