//! Logging in, and changing the password.

use protocol::Aci;
use zeroize::Zeroizing;

use super::{
    Bearer, DeviceClaim, LoggedIn, LoginPassword, NativeService, Origin, Username,
    error::{ChangePasswordError, LoginError, PresentPasswordError},
    guard::Attempt,
    hashing::{Comparison, PasswordHash},
    password::PasswordRefused,
    store::{ChangePasswordOutcome, OpenSession, OpenSessionOutcome, StoredLogin},
};
use crate::{
    audit::{Action, Detail},
    linking::DEVICES_MAX,
    second_factor::FactorError,
};

/// A log-in as a client asks for it.
pub struct LoginRequest {
    /// The name, as it was typed.
    pub username: String,
    /// The password, as it was typed.
    pub password: Zeroizing<String>,
    /// The device that is to be logged in.
    pub device: DeviceClaim,
}

/// Somebody has shown that the account is theirs, while its login was of that version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proven {
    pub(super) aci: Aci,
    pub(super) login_version: u64,
}

impl NativeService {
    /// Opens a session for somebody who knows name and password, unless the account asks for more. A device that was
    /// logged in already is so anew; its former session ends.
    pub async fn login(&self, request: LoginRequest, origin: Origin) -> Result<LoggedIn, LoginError> {
        let (proven, attempt) = self.prove_password(&request, origin).await?;
        let offer = match self.0.second_factors.asked_for(proven.aci).await {
            Ok(offer) => offer,
            Err(FactorError::Storage(error)) => return Err(error.into()),
            Err(_) => return Err(LoginError::Refused),
        };
        match offer {
            None => {
                self.0.guard.right(attempt);
                self.open_session(proven, request.device, false, Detail::Password).await
            }
            Some(offer) => {
                let step = self.second_step(proven, request.device, attempt, offer).await;
                Err(LoginError::SecondFactorRequired(Box::new(step)))
            }
        }
    }

    /// Whoever does not know the password learns nothing else, and nothing sooner: a name that nobody has, or that is
    /// none, takes the same way.
    async fn prove_password(
        &self,
        request: &LoginRequest,
        origin: Origin,
    ) -> Result<(Proven, Attempt), LoginError> {
        let inner = &*self.0;
        inner.audit.ready()?;
        inner.guard.knock(origin).map_err(LoginError::RateLimited)?;
        let name = Username::new(&request.username).map_err(|_| LoginError::Refused);
        let password = LoginPassword::new(&request.password).map_err(|_| LoginError::Refused);
        // What cannot be a name or a password is no guess, and tells nothing.
        let (name, password) = (name?, password?);
        let login = inner.store.login(&name, &request.device.identifier).await?;
        let known = login.as_ref().is_some_and(|login| login.knows_device);
        let attempt = match inner.guard.attempt(&name, &request.device.identifier, known, origin) {
            Ok(attempt) => attempt,
            Err(wait) => {
                inner.audit.record(Action::LogIn.refused(&name).detail(Detail::RateLimited)).await;
                return Err(LoginError::RateLimited(wait));
            }
        };
        let hash = login.as_ref().map(|login| login.password.clone());
        let compared = match inner.hasher.compare(password, hash).await {
            Ok(compared) => compared,
            Err(error) => {
                inner.guard.void(&attempt);
                return Err(error.into());
            }
        };
        let (Some(StoredLogin { aci, version, .. }), Comparison::Right | Comparison::Outdated(_)) =
            (login, &compared)
        else {
            inner.audit.record(Action::LogIn.refused(&name).detail(Detail::WrongCredentials)).await;
            return Err(LoginError::Refused);
        };
        // No failure. Whether it was the owner is known when all that is asked for has been shown.
        inner.guard.void(&attempt);
        if let Comparison::Outdated(better) = compared {
            self.rehash(aci, version, better).await;
        }
        Ok((Proven { aci, login_version: version }, attempt))
    }

    /// Keeps a dearer hash of the same password. Not being able to does not keep anybody from logging in.
    async fn rehash(&self, aci: Aci, version: u64, better: PasswordHash) {
        if let Err(error) = self.0.store.rehash(aci, version, better).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "a password was not hashed anew");
        }
    }

    /// Opens a session for whom nothing more is asked. `by` is what was shown first.
    pub(super) async fn open_session(
        &self,
        proven: Proven,
        device: DeviceClaim,
        factor_shown: bool,
        by: Detail,
    ) -> Result<LoggedIn, LoginError> {
        let inner = &*self.0;
        let (session, refresh) = inner.new_session();
        let (id, at, expires) = (session.id, session.at, session.expires);
        let opened = inner
            .store
            .open_session(OpenSession {
                aci: proven.aci,
                login_version: proven.login_version,
                factor_shown,
                device: inner.new_device(device),
                session,
                devices_max: DEVICES_MAX,
            })
            .await?;
        match opened {
            OpenSessionOutcome::Opened { device, registration_id, joined } => {
                inner.session_opened(device, joined, at).await;
                let event = Action::LogIn.by(device.address()).on(id).detail(by);
                inner.audit.record(event).await;
                let tokens = inner.tokens(device.address(), id, &refresh, expires)?;
                Ok(LoggedIn { device, registration_id, session: id, tokens })
            }
            OpenSessionOutcome::Outdated => Err(LoginError::Refused),
            OpenSessionOutcome::TooManyDevices => Err(LoginError::TooManyDevices),
        }
    }

    /// Changes the password of somebody who knows the present one. Every other session ends.
    pub async fn change_password(
        &self,
        bearer: &Bearer,
        present: &str,
        new: &str,
    ) -> Result<(), ChangePasswordError> {
        let inner = &*self.0;
        let aci = bearer.device.aci;
        let login = inner.store.login_of(aci).await?.ok_or(ChangePasswordError::Gone)?;
        let new = LoginPassword::new(new).map_err(|_| PasswordRefused::NotAPassword)?;
        inner.policy.check(&new, &login.username)?;
        inner.audit.ready()?;
        self.check_present_password(bearer, login.password, present, Action::ChangePassword).await?;
        let hash = inner.hasher.hash(new).await?;
        match inner.store.change_password(aci, login.version, hash, Some(bearer.session)).await? {
            ChangePasswordOutcome::Changed(devices) => {
                inner.disconnect(aci, devices);
                inner.audit.record(Action::ChangePassword.by(bearer.device.address())).await;
                Ok(())
            }
            // Somebody else has changed it since.
            ChangePasswordOutcome::Outdated => Err(ChangePasswordError::WrongPassword),
        }
    }

    /// Whether somebody who is logged in, and wants to do that, knows the present password. Guesses are slowed down.
    pub(super) async fn check_present_password(
        &self,
        bearer: &Bearer,
        hash: PasswordHash,
        password: &str,
        action: Action,
    ) -> Result<(), PresentPasswordError> {
        let inner = &*self.0;
        let password = LoginPassword::new(password).map_err(|_| PresentPasswordError::Wrong)?;
        let by = bearer.device.address();
        let attempt = match inner.guard.attempt_logged_in(bearer.device.aci) {
            Ok(attempt) => attempt,
            Err(wait) => {
                inner.audit.record(action.refused(by).detail(Detail::RateLimited)).await;
                return Err(PresentPasswordError::RateLimited(wait));
            }
        };
        match inner.hasher.compare(password, Some(hash)).await {
            Ok(Comparison::Right | Comparison::Outdated(_)) => {
                inner.guard.right(attempt);
                Ok(())
            }
            Ok(Comparison::Wrong) => {
                inner.audit.record(action.refused(by).detail(Detail::WrongCredentials)).await;
                Err(PresentPasswordError::Wrong)
            }
            Err(error) => {
                inner.guard.void(&attempt);
                Err(error.into())
            }
        }
    }
}
