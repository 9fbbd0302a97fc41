//! Showing again who one is, before changing by what one logs in.
//!
//! An access token alone may have been stolen. What it takes is what it takes to log in: the password, and a second
//! factor if the account has one; or a passkey that checks its user. Who shows it gets a token for a few minutes, good
//! for their session and no other, so that setting up several things does not mean typing the password as many times.

use std::time::Duration;

use limits::RetryAfter;
use protocol::ambient::StorageError;
use zeroize::Zeroizing;

use super::{
    super::{Bearer, NativeService, SessionId, error::PresentPasswordError},
    opaque_token::{OpaqueToken, OpaqueTokenHash},
};
use crate::{
    audit::{Action, Detail},
    pending::Pending,
    second_factor::{FactorError, FactorProof, VerificationOffer, webauthn::AssertionResponse},
};

/// How long a fresh proof is good for.
pub const FRESH_LIFE: Duration = Duration::from_mins(10);

/// The present fresh proof of each session that has one.
pub(in super::super) type FreshProofs = Pending<SessionId, OpaqueTokenHash>;

/// By what somebody who is logged in shows that they are the owner.
pub enum OwnerProof {
    /// By the password, and by a second factor if the account has any.
    Password(Zeroizing<String>, Option<FactorProof>),
    /// By a passkey that was asked as for logging in with it.
    Passkey(Box<AssertionResponse>),
}

/// Shows that the owner was there.
#[derive(Clone, Debug)]
pub struct FreshProof {
    /// Goes along with requests of the session that it was given to, for [`FRESH_LIFE`].
    pub token: OpaqueToken,
}

/// Why somebody is not taken for the owner.
#[derive(Debug, thiserror::Error)]
pub enum ReauthenticateError {
    /// The present password is another.
    #[error("that is not the present password")]
    WrongPassword,
    /// The password is right, and the account asks for one of these besides.
    #[error("a second factor is missing")]
    FactorMissing(VerificationOffer),
    /// The second factor or the passkey is not good.
    #[error("the factor is not good")]
    FactorRefused,
    /// Too many attempts.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// Too much at once; the same again in a moment.
    #[error("too busy")]
    Busy,
    /// The account is gone.
    #[error("the account is gone")]
    Gone,
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl NativeService {
    /// Takes a proof of who is logged in there, and gives out a token in the place of the one before.
    pub async fn reauthenticate(
        &self,
        bearer: &Bearer,
        proof: OwnerProof,
    ) -> Result<FreshProof, ReauthenticateError> {
        let inner = &*self.0;
        inner.audit.ready()?;
        let detail = match proof {
            OwnerProof::Password(password, factor) => {
                self.check_owner_password(bearer, &password, factor).await?;
                Detail::Password
            }
            OwnerProof::Passkey(response) => {
                self.check_owner_passkey(bearer, &response).await?;
                Detail::Passkey
            }
        };
        let event = Action::Reauthenticate.by(bearer.device.address()).on(bearer.session);
        inner.audit.record(event.detail(detail)).await;
        let token = OpaqueToken::random(&*inner.entropy);
        let now = inner.clock.now();
        inner.fresh_proofs.put(bearer.session, token.hash(), now.saturating_add(FRESH_LIFE), now);
        Ok(FreshProof { token })
    }

    /// Whether the session has shown that token of its own, and in time.
    pub fn is_fresh(&self, bearer: &Bearer, token: &str) -> bool {
        let present = self.0.fresh_proofs.get(bearer.session, self.0.clock.now());
        let shown = OpaqueToken::from_text(token).map(|token| token.hash());
        present.zip(shown).is_some_and(|(present, shown)| present.is(&shown))
    }

    async fn check_owner_password(
        &self,
        bearer: &Bearer,
        password: &str,
        factor: Option<FactorProof>,
    ) -> Result<(), ReauthenticateError> {
        let inner = &*self.0;
        let aci = bearer.device.aci;
        let login = inner.store.login_of(aci).await?.ok_or(ReauthenticateError::Gone)?;
        self.check_present_password(bearer, login.password, password, Action::Reauthenticate).await?;
        match (inner.second_factors.asked_for(aci).await?, factor) {
            (None, _) => Ok(()),
            (Some(offer), None) => {
                let event = Action::Reauthenticate.refused(bearer.device.address());
                inner.audit.record(event.detail(Detail::Missing)).await;
                Err(ReauthenticateError::FactorMissing(offer))
            }
            (Some(_), Some(factor)) => Ok(inner.second_factors.verify(aci, factor).await?),
        }
    }

    async fn check_owner_passkey(
        &self,
        bearer: &Bearer,
        response: &AssertionResponse,
    ) -> Result<(), ReauthenticateError> {
        let owner = self.0.second_factors.finish_sign_in(response).await;
        if owner.as_ref().is_ok_and(|aci| *aci == bearer.device.aci) {
            return Ok(());
        }
        let event = Action::Reauthenticate.refused(bearer.device.address()).detail(Detail::Passkey);
        self.0.audit.record(event).await;
        Err(owner.err().map_or(ReauthenticateError::FactorRefused, Into::into))
    }
}

impl From<PresentPasswordError> for ReauthenticateError {
    fn from(error: PresentPasswordError) -> Self {
        match error {
            PresentPasswordError::Wrong => Self::WrongPassword,
            PresentPasswordError::RateLimited(wait) => Self::RateLimited(wait),
            PresentPasswordError::Hashing(error) => error.into(),
        }
    }
}

impl From<FactorError> for ReauthenticateError {
    fn from(error: FactorError) -> Self {
        match error {
            FactorError::Gone => Self::Gone,
            FactorError::RateLimited(wait) => Self::RateLimited(wait),
            FactorError::Storage(error) => Self::Storage(error),
            FactorError::NotVerified
            | FactorError::TooManyTotpKeys
            | FactorError::TooMany
            | FactorError::HasNumber => Self::FactorRefused,
        }
    }
}
