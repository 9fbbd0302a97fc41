//! The e-mail address of an account: by it somebody who has forgotten the password gets in again ([`reset`]).
//!
//! An address counts once its owner has shown the code that was sent there ([`code`]), logged in to the account: a code
//! alone, as a program that follows links in mails would have it, does nothing. Who asks for an address learns nothing
//! about whose it is. The answer does not depend on it and comes before anybody looks; the mail says it, to the owner.

pub mod code;
pub mod error;
pub mod letters;
pub mod reset;
pub mod store;

mod newcomer;

use protocol::{Aci, ambient::StorageError};

pub use error::{EmailError, ResetError};
pub use letters::{LetterSettings, Letters, Link};
pub(in crate::native) use newcomer::Letter;
pub use newcomer::{Newcomer, NewcomerEmail};
pub use reset::ResetRequest;
pub use store::{EmailState, EmailStore};

use code::{MailCode, Purpose};
use store::{ConfirmOutcome, EmailWish};

use super::{Bearer, Inner, NativeService};
use crate::{
    audit::{self, Action, Detail},
    mail::{MailAddress, Slot},
};

/// Room for a letter that is written once the one who asked has been answered.
pub(in crate::native) struct Errand {
    slot: Slot,
    letters: Letters,
}

/// Why no letter can be sent.
pub(in crate::native) enum NoErrand {
    /// None are sent here.
    NoMail,
    /// Too many are waiting.
    Busy,
}

impl NativeService {
    /// The addresses of the caller's account.
    pub async fn email(&self, bearer: &Bearer) -> Result<EmailState, StorageError> {
        self.0.emails.email(bearer.device.aci, self.0.clock.now()).await
    }

    /// Sends a code to an address that the caller's account is to have. The present one stays until it is shown.
    pub async fn set_email(
        &self,
        bearer: &Bearer,
        password: &str,
        address: MailAddress,
    ) -> Result<EmailState, EmailError> {
        let inner = &*self.0;
        let errand = inner.errand()?;
        self.check_owner(bearer, password).await?;
        let aci = bearer.device.aci;
        inner.guard.change_email(aci, &address).map_err(EmailError::RateLimited)?;
        let (wish, code) = inner.wish(address.clone(), Purpose::Address);
        if !inner.emails.wish(aci, wish).await? {
            return Err(EmailError::Gone);
        }
        let event = Action::ChangeEmail.by(bearer.device.address());
        inner.audit.record(event.detail(Detail::Pending)).await;
        self.send_confirmation(errand, aci, address, code);
        Ok(inner.emails.email(aci, inner.clock.now()).await?)
    }

    /// Makes the address that the caller's account wishes for its own. The former one is told.
    pub async fn confirm_email(&self, bearer: &Bearer, code: &str) -> Result<EmailState, EmailError> {
        let inner = &*self.0;
        inner.audit.ready()?;
        let (aci, by) = (bearer.device.aci, bearer.device.address());
        let now = inner.clock.now();
        let outcome = match MailCode::from_text(code) {
            Some(code) => inner.emails.confirm_email(aci, code.hash(Purpose::Address), now).await?,
            None => ConfirmOutcome::WrongCode,
        };
        match outcome {
            ConfirmOutcome::Confirmed { former } => {
                inner.audit.record(Action::Verify.by(by).detail(Detail::Email)).await;
                inner.audit.record(Action::ChangeEmail.by(by).detail(Detail::Set)).await;
                inner.tell_former(former);
                Ok(inner.emails.email(aci, now).await?)
            }
            ConfirmOutcome::WrongCode => {
                inner.audit.record(Action::Verify.refused(by).detail(Detail::WrongCode)).await;
                Err(EmailError::WrongCode)
            }
        }
    }

    /// Removes the address of the caller's account, which is told, and the one it wishes for.
    pub async fn remove_email(&self, bearer: &Bearer, password: &str) -> Result<(), EmailError> {
        let inner = &*self.0;
        self.check_owner(bearer, password).await?;
        let former = inner.emails.remove_email(bearer.device.aci).await?;
        let event = Action::ChangeEmail.by(bearer.device.address());
        inner.audit.record(event.detail(Detail::Cleared)).await;
        inner.tell_former(former);
        Ok(())
    }

    /// Whether somebody who wants to change the address knows the password.
    async fn check_owner(&self, bearer: &Bearer, password: &str) -> Result<(), EmailError> {
        let login = self.0.store.login_of(bearer.device.aci).await?.ok_or(EmailError::Gone)?;
        self.0.audit.ready()?;
        Ok(self.check_present_password(bearer, login.password, password, Action::ChangeEmail).await?)
    }

    /// Sends the code for an address, or tells its owner that somebody wishes for it.
    pub(super) fn send_confirmation(&self, errand: Errand, aci: Aci, address: MailAddress, code: MailCode) {
        let inner = self.clone();
        let expires = inner.0.clock.now().saturating_add(Purpose::Address.life());
        in_background(async move {
            let Errand { slot, letters } = errand;
            let owner = inner.0.emails.email_owner(&address).await?;
            let letter = match owner {
                Some(owner) if owner != aci => letters.already_yours(address),
                _ => letters.confirm(address, &code),
            };
            slot.deliver(letter, expires).await;
            Ok(())
        });
    }
}

impl Inner {
    /// Room for one letter.
    pub(super) fn errand(&self) -> Result<Errand, NoErrand> {
        let letters = self.letters.as_ref().ok_or(NoErrand::NoMail)?;
        let slot = letters.reserve().ok_or(NoErrand::Busy)?;
        Ok(Errand { slot, letters: letters.clone() })
    }

    /// A wish for an address, and the code for it.
    pub(super) fn wish(&self, address: MailAddress, purpose: Purpose) -> (EmailWish, MailCode) {
        let code = MailCode::random(&*self.entropy);
        let at = self.clock.now();
        let expires = at.saturating_add(purpose.life());
        (EmailWish { address, code: code.hash(purpose), at, expires }, code)
    }

    fn tell_former(&self, former: Option<MailAddress>) {
        if let (Some(letters), Some(former)) = (&self.letters, former) {
            letters.notify(letters.no_longer_yours(former), self.clock.now());
        }
    }
}

/// Runs what nobody waits for, as being asked for from where the request under way came from.
fn in_background(work: impl Future<Output = Result<(), StorageError>> + Send + 'static) {
    let work = async move {
        if let Err(error) = work.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "a letter was not written");
        }
    };
    match audit::peer() {
        Some(peer) => drop(tokio::spawn(audit::from_peer(peer, work))),
        None => drop(tokio::spawn(work)),
    }
}
