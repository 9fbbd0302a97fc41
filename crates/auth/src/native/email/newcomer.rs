//! Addresses of people who have no account yet.
//!
//! A newcomer may bring an address when registering: it is then wished for like any other, or, with a code that was asked
//! for before, the account's from the beginning. Where domains are listed it takes the code, so that there are no
//! accounts that might be let in later. A code is bound to the address and to nobody: each of several that were asked
//! for, by whomever, is good for the owner of the mailbox.

use zeroize::Zeroizing;

use super::{
    EmailError, Errand,
    code::{MailCode, Purpose},
    in_background,
    store::EmailWish,
};
use crate::{
    audit::{Action, Detail, Party},
    mail::MailAddress,
    native::{NativeService, Origin, error::RegisterError},
};

/// The address that a newcomer brings.
#[derive(Clone)]
pub struct Newcomer {
    /// The address.
    pub address: MailAddress,
    /// The code that was sent there, as it was typed; without one the address is yet to be confirmed.
    pub code: Option<Zeroizing<String>>,
}

/// The address with which an account begins.
#[derive(Clone, Debug)]
pub enum NewcomerEmail {
    /// It is wished for.
    Wished(EmailWish),
    /// It is the account's, if the code of that wish still proves it.
    Proved(EmailWish),
}

/// A newcomer's address on its way into an account.
pub(in crate::native) struct Arrival {
    /// For the store.
    pub(in crate::native) email: NewcomerEmail,
    /// What is to be sent once there is an account.
    pub(in crate::native) to_send: Option<Letter>,
}

/// A code on its way to the address that an account wishes for.
pub(in crate::native) struct Letter {
    pub(in crate::native) errand: Errand,
    pub(in crate::native) address: MailAddress,
    pub(in crate::native) code: MailCode,
}

impl NativeService {
    /// Sends a code by which somebody without an account proves an address. Whether it is somebody's is not said; if it
    /// is, the owner is told.
    pub async fn prove_email(&self, address: MailAddress, origin: Origin) -> Result<(), EmailError> {
        let inner = &*self.0;
        let Errand { slot, letters } = inner.errand()?;
        inner.admission.admit_address(&address).map_err(EmailError::NotAdmitted)?;
        inner.guard.prove_email(origin, &address).map_err(EmailError::RateLimited)?;
        let event = Action::SendCode.by(Party::Stranger).on(Party::from(&address));
        inner.audit.record(event.detail(Detail::Email)).await;
        let service = self.clone();
        in_background(async move {
            let inner = &*service.0;
            let letter = if inner.emails.email_owner(&address).await?.is_some() {
                letters.already_yours(address)
            } else {
                let (wish, code) = inner.wish(address.clone(), Purpose::Registration);
                inner.emails.add_proof(wish).await?;
                letters.register(address, &code)
            };
            slot.deliver(letter, inner.clock.now().saturating_add(Purpose::Registration.life())).await;
            Ok(())
        });
        Ok(())
    }

    /// Looks at the address that a newcomer brings: is it proved, or can a code be sent?
    pub(in crate::native) async fn receive(&self, newcomer: Newcomer) -> Result<Arrival, RegisterError> {
        let inner = &*self.0;
        let Newcomer { address, code } = newcomer;
        let Some(code) = code else {
            let errand = inner.errand()?;
            let (wish, code) = inner.wish(address.clone(), Purpose::Address);
            let to_send = Some(Letter { errand, address, code });
            return Ok(Arrival { email: NewcomerEmail::Wished(wish), to_send });
        };
        let now = inner.clock.now();
        let code = MailCode::from_text(&code).ok_or(RegisterError::WrongCode)?.hash(Purpose::Registration);
        if !inner.emails.is_proof(&address, code, now).await? {
            return Err(RegisterError::WrongCode);
        }
        let wish = EmailWish { address, code, at: now, expires: now };
        Ok(Arrival { email: NewcomerEmail::Proved(wish), to_send: None })
    }
}

impl NewcomerEmail {
    /// The address, if it is proved.
    pub(in crate::native) fn proved(&self) -> Option<&MailAddress> {
        match self {
            Self::Wished(_) => None,
            Self::Proved(wish) => Some(&wish.address),
        }
    }
}

impl From<&MailAddress> for Party {
    fn from(address: &MailAddress) -> Self {
        Self::Name(address.as_str().to_owned())
    }
}
