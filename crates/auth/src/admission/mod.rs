//! Who may register: one policy for everybody who has no account yet, whatever API they come by.
//!
//! Somebody whose number has an account is in already: they prove the number as ever, and nothing here is asked. For all
//! others the operator decides: everybody, those with an invitation ([`invite`]), those whom the operator approves, or
//! nobody; and of those only numbers with some prefixes and e-mail addresses of some domains.
//!
//! An official client has no field for an invitation. It is handed in where the client asks for the verification code:
//! no code is sent to a number without an account, and the invitation's is expected instead. One that is bound to the
//! number has six digits like any other, one that is not has twelve, for it could be tried with any number.
//!
//! What admits somebody is found when they ask, and used up in the transaction that makes the account.

pub mod invite;
mod store;

use std::{fmt, sync::Arc, time::Duration};

use protocol::{
    PhoneNumber,
    ambient::{Clock, Entropy, StorageError, Timestamp},
};

pub use store::{AdmissionStore, Applicant, Application, ApplicationId, Standing};

use crate::{
    audit::{Action, AuditTrail, Detail, Party},
    mail::MailAddress,
};
use invite::{Invite, InviteCode, InviteId, InviteTerms, NewInvite};

/// Wrong codes handed in for a number after which an invitation bound to it is void: whoever guesses gets one chance in
/// twenty thousand, and the operator can make another.
pub const INVITE_GUESSES_MAX: u32 = 50;

/// People waiting for the operator's word. While there are so many, more are turned away without being noted.
pub const APPLICATIONS_MAX: u32 = 1000;

/// How long somebody waits, or an answer to them is remembered.
pub const APPLICATION_LIFE: Duration = Duration::from_hours(30 * 24);

/// How long what is over is still listed.
const KEPT_AFTER: Duration = Duration::from_hours(90 * 24);

/// How often a code is drawn anew because it is in use.
const TRIES: usize = 8;

/// Who may register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdmissionMode {
    /// Everybody.
    Open,
    /// Whoever has an invitation.
    #[default]
    Invite,
    /// Whoever the operator approves, and whoever has an invitation.
    Approval,
    /// Nobody.
    Closed,
}

/// Who may register, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdmissionPolicy {
    /// On what condition.
    pub mode: AdmissionMode,
    /// With what a number must begin, `+` included; none, and all may.
    pub number_prefixes: Vec<String>,
    /// Of which domains an e-mail address must be, in lower case; none, and all may.
    pub email_domains: Vec<String>,
}

/// What happens when somebody asks for a code for a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberStep {
    /// It is sent.
    Send,
    /// None is sent: an invitation's is expected.
    ExpectInvite,
    /// They are turned away; for good, or until the operator has decided.
    Refuse {
        /// Trying again is of no use.
        permanent: bool,
    },
}

/// Why somebody new may have an account. What is used up by it is used up when the account is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Everybody may.
    Freely,
    /// They were invited.
    ByInvite(InviteId),
    /// The operator approved.
    ByOperator(ApplicationId),
}

/// Why somebody may not.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// The policy does not let them in.
    #[error("registration is not open to them")]
    Refused,
    /// An e-mail address is needed, of a domain in the list, and proved.
    #[error("a proved e-mail address is needed")]
    NoEmail,
    /// The e-mail address is of a domain that is not in the list.
    #[error("registration is not open to that e-mail address")]
    OtherDomain,
    /// An invitation is needed, or the one that was shown is none, used up, revoked or expired.
    #[error("there is no such invitation")]
    NoInvite,
    /// The operator has not decided yet.
    #[error("the operator has not decided yet")]
    Pending,
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Decides who may register, and keeps invitations and those who wait.
#[derive(Clone)]
pub struct Admission {
    policy: AdmissionPolicy,
    store: Arc<dyn AdmissionStore>,
    audit: Arc<dyn AuditTrail>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl AdmissionPolicy {
    /// Whether that number may be registered, by its prefix.
    pub fn allows_number(&self, number: &PhoneNumber) -> bool {
        let prefixes = &self.number_prefixes;
        prefixes.is_empty() || prefixes.iter().any(|prefix| number.as_str().starts_with(prefix.as_str()))
    }

    /// Whether that e-mail address may be, by its domain.
    pub fn allows_email(&self, email: &MailAddress) -> bool {
        let domains = &self.email_domains;
        domains.is_empty() || domains.iter().any(|domain| domain.eq_ignore_ascii_case(email.domain()))
    }
}

impl Admission {
    /// With that policy, on that store.
    pub fn new(
        policy: AdmissionPolicy,
        store: Arc<dyn AdmissionStore>,
        audit: Arc<dyn AuditTrail>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { policy, store, audit, clock, entropy }
    }

    /// The policy.
    pub fn policy(&self) -> &AdmissionPolicy {
        &self.policy
    }

    /// What happens when somebody asks for a code for a number that has no account.
    pub async fn number_step(&self, number: &PhoneNumber) -> Result<NumberStep, StorageError> {
        if !self.policy.allows_number(number) || self.policy.mode == AdmissionMode::Closed {
            self.refused(number.into(), Detail::Policy).await;
            return Ok(NumberStep::Refuse { permanent: true });
        }
        match self.policy.mode {
            AdmissionMode::Open => Ok(NumberStep::Send),
            AdmissionMode::Approval if !self.store.is_invited(number, self.clock.now()).await? => {
                Ok(match self.apply(&Applicant::Number(number.clone())).await? {
                    Standing::Approved(_) => NumberStep::Send,
                    Standing::Pending => NumberStep::Refuse { permanent: false },
                    Standing::Refused => NumberStep::Refuse { permanent: true },
                })
            }
            AdmissionMode::Approval | AdmissionMode::Invite | AdmissionMode::Closed => {
                Ok(NumberStep::ExpectInvite)
            }
        }
    }

    /// The invitation whose code was handed in for that number, if it is one. Wrong codes are counted.
    pub(crate) async fn invite_for_number(
        &self,
        number: &PhoneNumber,
        code: &str,
    ) -> Result<Option<InviteId>, StorageError> {
        let now = self.clock.now();
        let found = match InviteCode::parse(code) {
            Some(code) => self.store.find_invite(&code, Some(number), now).await?,
            None => None,
        };
        if found.is_none() {
            self.store.wrong_code(number, INVITE_GUESSES_MAX).await?;
        }
        Ok(found)
    }

    /// Whether a number without an account may be registered, by somebody who handed in that invitation's code.
    pub(crate) async fn admit_number(
        &self,
        number: &PhoneNumber,
        invite: Option<InviteId>,
    ) -> Result<Admitted, AdmissionError> {
        let admitted = if self.policy.allows_number(number) {
            self.admit(&Applicant::Number(number.clone()), invite).await
        } else {
            Err(AdmissionError::Refused)
        };
        if let Err(error) = &admitted {
            self.refused(number.into(), detail(error)).await;
        }
        admitted
    }

    /// Whether somebody with that e-mail address may come to register under a name: by its domain, and if anybody may.
    pub fn admit_address(&self, email: &MailAddress) -> Result<(), AdmissionError> {
        match self.policy.mode {
            AdmissionMode::Closed => Err(AdmissionError::Refused),
            _ if !self.policy.allows_email(email) => Err(AdmissionError::OtherDomain),
            _ => Ok(()),
        }
    }

    /// Whether somebody may have an account under a name, without a number. `email` is an address that is proved.
    pub async fn admit_name(
        &self,
        name: &str,
        email: Option<&MailAddress>,
        invite: Option<&InviteCode>,
    ) -> Result<Admitted, AdmissionError> {
        let admitted = self.admit_named(name, email, invite).await;
        if let Err(error) = &admitted {
            self.refused(Party::Name(name.to_owned()), detail(error)).await;
        }
        admitted
    }

    async fn admit_named(
        &self,
        name: &str,
        email: Option<&MailAddress>,
        invite: Option<&InviteCode>,
    ) -> Result<Admitted, AdmissionError> {
        match email {
            Some(email) => self.admit_address(email)?,
            // Without it nobody could be held to the list.
            None if self.policy.mode == AdmissionMode::Closed => return Err(AdmissionError::Refused),
            None if !self.policy.email_domains.is_empty() => return Err(AdmissionError::NoEmail),
            None => {}
        }
        let invite = match invite {
            // Where everybody may come, an invitation is not used up.
            Some(code) if self.policy.mode != AdmissionMode::Open => {
                let found = self.store.find_invite(code, None, self.clock.now()).await?;
                Some(found.ok_or(AdmissionError::NoInvite)?)
            }
            _ => None,
        };
        self.admit(&Applicant::Name(name.to_owned()), invite).await
    }

    async fn admit(
        &self,
        applicant: &Applicant,
        invite: Option<InviteId>,
    ) -> Result<Admitted, AdmissionError> {
        match (self.policy.mode, invite) {
            (AdmissionMode::Open, _) => Ok(Admitted::Freely),
            (AdmissionMode::Closed, _) => Err(AdmissionError::Refused),
            (AdmissionMode::Invite | AdmissionMode::Approval, Some(invite)) => Ok(Admitted::ByInvite(invite)),
            (AdmissionMode::Invite, None) => Err(AdmissionError::NoInvite),
            (AdmissionMode::Approval, None) => match self.apply(applicant).await? {
                Standing::Approved(id) => Ok(Admitted::ByOperator(id)),
                Standing::Pending => Err(AdmissionError::Pending),
                Standing::Refused => Err(AdmissionError::Refused),
            },
        }
    }

    /// Looks up how somebody stands with the operator, and notes that they wait if they are new.
    async fn apply(&self, applicant: &Applicant) -> Result<Standing, StorageError> {
        let id = ApplicationId(self.entropy.uuid());
        let standing = self.store.apply(applicant, id, self.clock.now(), APPLICATIONS_MAX).await?;
        if standing != Standing::Pending {
            return Ok(standing);
        }
        let by = match applicant {
            Applicant::Number(number) => Party::from(number),
            Applicant::Name(name) => Party::Name(name.clone()),
        };
        self.audit.record(Action::RequestRegistration.refused(by).detail(Detail::Pending)).await;
        Ok(standing)
    }

    async fn refused(&self, who: Party, why: Detail) {
        self.audit.record(Action::Register.refused(who).detail(why)).await;
    }

    /// Makes an invitation. Its code is shown here and never again.
    pub async fn create_invite(&self, terms: InviteTerms) -> Result<(Invite, InviteCode), StorageError> {
        self.audit.ready()?;
        let now = self.clock.now();
        for _ in 0..TRIES {
            let code = InviteCode::random(terms.number.is_some(), &*self.entropy);
            let invite = Invite {
                id: InviteId(self.entropy.uuid()),
                bound: terms.number.is_some(),
                uses: terms.uses,
                used: 0,
                wrong_codes: 0,
                created: now,
                expires: now.saturating_add(terms.life),
                revoked: None,
                note: terms.note.clone(),
                accounts: Vec::new(),
            };
            let new = NewInvite { invite: invite.clone(), code: code.clone(), number: terms.number.clone() };
            if self.store.add_invite(new).await? {
                self.audit
                    .record(Action::CreateInvite.by(Party::Operator).on(Party::Invite(invite.id.0)))
                    .await;
                return Ok((invite, code));
            }
        }
        Err(StorageError::unavailable("no code is free"))
    }

    /// Every invitation that is not long over, the newest last.
    pub async fn invites(&self) -> Result<Vec<Invite>, StorageError> {
        self.store.invites().await
    }

    /// Takes an invitation back; accounts it has made stay. Answers whether there was one to take back.
    pub async fn revoke_invite(&self, id: InviteId) -> Result<bool, StorageError> {
        self.audit.ready()?;
        let revoked = self.store.revoke_invite(id, self.clock.now()).await?;
        if revoked {
            self.audit.record(Action::RevokeInvite.by(Party::Operator).on(Party::Invite(id.0))).await;
        }
        Ok(revoked)
    }

    /// Everybody who asked to be let in, the longest waiting first.
    pub async fn applications(&self) -> Result<Vec<Application>, StorageError> {
        self.store.applications().await
    }

    /// Lets somebody in who waits, or turns them away. Answers whether there is somebody of that id.
    pub async fn decide(&self, id: ApplicationId, approve: bool) -> Result<bool, StorageError> {
        self.audit.ready()?;
        let decided = self.store.decide(id, approve, self.clock.now()).await?;
        if let Some(applicant) = &decided {
            let action = if approve { Action::ApproveRegistration } else { Action::RefuseRegistration };
            let on = match applicant {
                Applicant::Number(number) => Party::from(number),
                Applicant::Name(name) => Party::Name(name.clone()),
            };
            self.audit.record(action.by(Party::Operator).on(on)).await;
        }
        Ok(decided.is_some())
    }

    /// Forgets what is long over. For calling from time to time.
    pub async fn remove_expired(&self) -> Result<(), StorageError> {
        let before = |life| earlier(self.clock.now(), life);
        self.store.remove_expired(before(KEPT_AFTER), before(APPLICATION_LIFE)).await
    }
}

fn detail(error: &AdmissionError) -> Detail {
    match error {
        AdmissionError::Refused | AdmissionError::OtherDomain | AdmissionError::Storage(_) => Detail::Policy,
        AdmissionError::NoEmail => Detail::Missing,
        AdmissionError::NoInvite => Detail::Invite,
        AdmissionError::Pending => Detail::Pending,
    }
}

fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_millis(now.as_millis().saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("mode", &self.policy.mode).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_let_in_what_is_listed_and_everybody_when_they_are_empty() {
        let policy = AdmissionPolicy {
            number_prefixes: vec!["+49".to_owned(), "+1555".to_owned()],
            email_domains: vec!["example.org".to_owned()],
            ..AdmissionPolicy::default()
        };
        let number = |text: &str| text.parse::<PhoneNumber>().unwrap();
        for (text, allowed) in [("+4915112345678", true), ("+15550100001", true), ("+15660100001", false)] {
            assert_eq!(policy.allows_number(&number(text)), allowed, "{text}");
            assert!(AdmissionPolicy::default().allows_number(&number(text)));
        }
        for (email, allowed) in [
            ("a@example.org", true),
            ("a@EXAMPLE.ORG", true),
            ("a@sub.example.org", false),
            ("a@example.org.example.com", false),
        ] {
            let address = email.parse().unwrap();
            assert_eq!(policy.allows_email(&address), allowed, "{email}");
            assert!(AdmissionPolicy::default().allows_email(&address));
        }
    }
}
