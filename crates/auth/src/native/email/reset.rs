//! Setting another password with a code that was sent by e-mail.
//!
//! Who asks is answered before anybody looks whether there is such an account: neither the answer nor its time can
//! depend on it. Strangers together get few letters sent to one account; devices at addresses that the account knows are
//! counted by themselves. Whoever asks, each code that arrives is good for the owner, so that nobody keeps the owner
//! from getting one by asking first.

use protocol::ambient::StorageError;

use super::{
    Errand, ResetError,
    code::{MailCode, MailCodeHash, Purpose},
    in_background,
    store::{NewReset, ResetDone, ResetOf, ResetTarget},
};
use crate::{
    audit::{Action, Detail, Party},
    native::{Inner, LoginPassword, NativeService, Origin, password::PasswordRefused},
};

/// Somebody asks for another password.
#[derive(Clone, Debug)]
pub struct ResetRequest {
    /// For which account.
    pub of: ResetOf,
    /// From where.
    pub origin: Origin,
}

impl NativeService {
    /// Sends a code for another password to the address of an account, if there is such an account and it has one.
    pub fn request_reset(&self, request: ResetRequest) -> Result<(), ResetError> {
        let inner = &*self.0;
        let errand = inner.errand()?;
        inner.guard.reset_by(request.origin).map_err(ResetError::RateLimited)?;
        let service = self.clone();
        in_background(async move { service.0.send_reset(request, errand).await });
        Ok(())
    }

    /// Sets another password with a code. All sessions end, and no other code is good any more.
    pub async fn reset_password(&self, code: &str, password: &str, origin: Origin) -> Result<(), ResetError> {
        let inner = &*self.0;
        inner.audit.ready()?;
        inner.guard.knock(origin).map_err(ResetError::RateLimited)?;
        let code = MailCode::from_text(code).map(|code| code.hash(Purpose::Reset));
        let found = match code {
            Some(code) => inner.emails.reset(code, inner.clock.now()).await?.map(|target| (code, target)),
            None => None,
        };
        let Some((code, ResetTarget { username, .. })) = found else { return Err(inner.wrong_reset().await) };
        let password = LoginPassword::new(password).map_err(|_| PasswordRefused::NotAPassword)?;
        inner.policy.check(&password, &username)?;
        let hash = inner.hasher.hash(password).await?;
        match inner.emails.reset_password(code, hash, inner.clock.now()).await? {
            Some(done) => {
                inner.was_reset(done).await;
                Ok(())
            }
            // Used by somebody else since, or void.
            None => Err(inner.wrong_reset().await),
        }
    }
}

impl Inner {
    async fn send_reset(&self, request: ResetRequest, errand: Errand) -> Result<(), StorageError> {
        let Some(target) = self.emails.reset_target(&request.of).await? else {
            let event = Action::RequestPasswordReset.refused(Party::Stranger).on(Party::from(&request.of));
            self.audit.record(event.detail(Detail::WrongCredentials)).await;
            return Ok(());
        };
        let aci = target.aci;
        if self.guard.reset(aci, &target.username, request.origin).is_err() {
            let event = Action::RequestPasswordReset.refused(Party::Stranger).on(aci);
            self.audit.record(event.detail(Detail::RateLimited)).await;
            return Ok(());
        }
        let Errand { slot, letters } = errand;
        let code = MailCode::random(&*self.entropy);
        let expires = self.clock.now().saturating_add(Purpose::Reset.life());
        let letter = letters.reset(target.address.clone(), &target.username, &code);
        let hash: MailCodeHash = code.hash(Purpose::Reset);
        if self.emails.add_reset(NewReset { target, code: hash, expires }).await? {
            self.audit.record(Action::RequestPasswordReset.by(Party::Stranger).on(aci)).await;
            slot.deliver(letter, expires).await;
        }
        Ok(())
    }

    async fn was_reset(&self, ResetDone { target, devices }: ResetDone) {
        self.disconnect(target.aci, devices);
        self.audit.record(Action::ResetPassword.by(target.aci).detail(Detail::Email)).await;
        if let Some(letters) = &self.letters {
            letters.notify(letters.was_reset(target.address, &target.username), self.clock.now());
        }
    }

    async fn wrong_reset(&self) -> ResetError {
        let event = Action::ResetPassword.refused(Party::Stranger);
        self.audit.record(event.detail(Detail::WrongCode)).await;
        ResetError::WrongCode
    }
}

impl From<&ResetOf> for Party {
    fn from(of: &ResetOf) -> Self {
        match of {
            ResetOf::Username(username) => Self::from(username),
            ResetOf::Address(address) => Self::from(address),
        }
    }
}
