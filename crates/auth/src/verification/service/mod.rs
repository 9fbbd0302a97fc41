//! The five operations on a verification session.

mod codes;
mod error;
mod number;
mod pushes;

use std::{fmt, sync::Arc};

use limits::{LimitId, RateLimits};
use protocol::{
    PhoneNumber,
    ambient::{Clock, Entropy, StorageError, Timestamp},
};

use super::{
    CaptchaError, CaptchaVerdict, CaptchaVerifier, CodeSender, Session, SessionId, SessionStore, SessionView,
    StoredSession, VerificationPolicy,
};
use crate::{
    admission::{Admission, invite::InviteId},
    audit::AuditTrail,
    challenge::PushChallenges,
    device::PushToken,
    store::AccountStore,
};

use number::read_number;

pub use codes::CodeRequest;
pub use error::{CreateSessionError, SessionError};

/// How often a change is tried again when another request changed the session in between. A client sends
/// one request at a time, so even a second try is rare.
const TRIES: usize = 8;

/// Longest captcha answer looked at; those of known providers have up to about 4,000 characters.
pub(crate) const CAPTCHA_LEN_MAX: usize = 16_384;

/// Proves that people hold their numbers.
pub struct VerificationService(VerificationParts);

/// What a [`VerificationService`] is made of.
pub struct VerificationParts {
    /// Remembers sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// Remembers accounts: the recovery password of a number ends when the number is proved.
    pub accounts: Arc<dyn AccountStore>,
    /// Sends codes.
    pub sender: Arc<dyn CodeSender>,
    /// Judges captchas.
    pub captcha: Arc<dyn CaptchaVerifier>,
    /// Decides whether somebody whose number has no account gets a code.
    pub admission: Admission,
    /// Told of what happens.
    pub audit: Arc<dyn AuditTrail>,
    /// Delivers push challenges, which serve in place of captchas.
    pub push: Option<Arc<dyn PushChallenges>>,
    /// How often somebody may do what.
    pub limits: Arc<RateLimits>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Draws ids and codes.
    pub entropy: Arc<dyn Entropy>,
    /// What is asked of clients.
    pub policy: VerificationPolicy,
}

/// What a client adds to its session.
#[derive(Clone, Debug, Default)]
pub struct SessionUpdate {
    /// The answer to a captcha.
    pub captcha: Option<String>,
    /// The answer to a push challenge.
    pub push_challenge: Option<String>,
    /// Where a push reaches the phone.
    pub push_token: Option<PushToken>,
}

/// What a session proves about a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Whoever holds the session holds the number.
    Verified,
    /// Whoever holds the session has the code of that invitation. That shows nothing about the number: it must not be
    /// taken from anybody who has it.
    Invited(InviteId),
    /// It is about that number, but no code was handed in.
    Unverified,
    /// There is no such session, or it is about another number.
    Other,
}

impl VerificationService {
    /// A service made of these parts.
    pub fn new(parts: VerificationParts) -> Self {
        Self(parts)
    }

    /// Opens a session for a number, and sends a challenge to where a push reaches the phone, if that is known.
    pub async fn create(
        &self,
        number: &str,
        push_token: Option<PushToken>,
    ) -> Result<SessionView, CreateSessionError> {
        let number = read_number(number)?;
        self.0
            .limits
            .check(LimitId::VerificationSession, number.as_str().as_bytes(), 1)
            .map_err(CreateSessionError::RateLimited)?;
        let id = SessionId::random(&*self.0.entropy);
        let now = self.0.clock.now();
        let mut session = Session::new(number, &self.0.policy, now);
        let push = push_token.and_then(|token| self.pushable(token));
        let push = push.filter(|push| session.push_challenge(push.challenge.clone()));
        let view = session.view(&id, &self.0.policy, now);
        let number = session.number().clone();
        self.0.sessions.insert(&id, session).await?;
        match push {
            None => Ok(view),
            Some(push) => match self.push(&id, number, push).await {
                Ok(Some(without)) => Ok(without),
                Err(SessionError::Storage(error)) => Err(error.into()),
                // It was sent. Other errors there are none: the session has just been made.
                Ok(None) | Err(_) => Ok(view),
            },
        }
    }

    /// The state of a session.
    pub async fn get(&self, id: &str) -> Result<SessionView, SessionError> {
        let id = read_id(id)?;
        let (session, ()) = self.change(&id, |_, _| ()).await?;
        Ok(self.view(&id, &session))
    }

    /// Takes what the client was asked for.
    pub async fn update(&self, id: &str, update: SessionUpdate) -> Result<SessionView, SessionError> {
        let id = read_id(id)?;
        let session = self.load(&id).await?.session;
        if let Some(answer) = update.push_challenge {
            self.limit(LimitId::VerificationPushChallenge, id.as_bytes(), &id, &session)?;
            let (session, right) = self.change(&id, |session, _| session.answer_push(&answer)).await?;
            let view = self.view(&id, &session);
            return if right { Ok(view) } else { Err(SessionError::Rejected(view)) };
        }
        let Some(captcha) = update.captcha else {
            return match update.push_token.and_then(|token| self.pushable(token)) {
                Some(push) => self.push_anew(&id, session, push).await,
                None => Ok(self.view(&id, &session)),
            };
        };
        self.limit(LimitId::VerificationCaptcha, id.as_bytes(), &id, &session)?;
        if captcha.is_empty() || captcha.len() > CAPTCHA_LEN_MAX {
            return Err(SessionError::Malformed);
        }
        match self.0.captcha.verify(&captcha).await {
            Ok(CaptchaVerdict::Accepted) => {
                let (session, ()) = self.change(&id, |session, _| session.captcha_accepted()).await?;
                Ok(self.view(&id, &session))
            }
            Ok(CaptchaVerdict::Rejected) => Err(SessionError::Rejected(self.view(&id, &session))),
            Err(CaptchaError::Malformed) => Err(SessionError::Malformed),
            Err(CaptchaError::Unavailable(cause)) => Err(SessionError::CaptchaUnavailable(cause)),
        }
    }

    /// Forgets expired sessions. For calling from time to time; they are not answered for in any case.
    pub async fn remove_expired(&self) -> Result<usize, StorageError> {
        self.0.sessions.remove_expired(self.0.clock.now()).await
    }

    /// What the session proves about the number.
    pub(crate) async fn proof(&self, id: &str, number: &PhoneNumber) -> Result<Proof, StorageError> {
        let Ok(id) = SessionId::parse(id) else { return Ok(Proof::Other) };
        let found = self.0.sessions.load(&id, self.0.clock.now()).await?;
        Ok(match found.map(|found| found.session) {
            Some(session) if session.number() != number => Proof::Other,
            Some(session) if session.is_verified() => {
                session.invite().map_or(Proof::Verified, Proof::Invited)
            }
            Some(_) => Proof::Unverified,
            None => Proof::Other,
        })
    }

    /// Changes a session, and writes it if anything is different afterwards. The closure runs again when
    /// another request was faster.
    async fn change<T>(
        &self,
        id: &SessionId,
        change: impl Fn(&mut Session, Timestamp) -> T,
    ) -> Result<(Session, T), SessionError> {
        for _ in 0..TRIES {
            let StoredSession { session: before, version } = self.load(id).await?;
            let now = self.0.clock.now();
            let mut session = before.clone();
            let outcome = change(&mut session, now);
            session.touch(now);
            if session == before || self.0.sessions.replace(id, version, session.clone()).await? {
                return Ok((session, outcome));
            }
        }
        Err(SessionError::Storage(StorageError::unavailable(
            "a verification session is changed all the time",
        )))
    }

    async fn load(&self, id: &SessionId) -> Result<StoredSession, SessionError> {
        self.0.sessions.load(id, self.0.clock.now()).await?.ok_or(SessionError::NotFound)
    }

    fn view(&self, id: &SessionId, session: &Session) -> SessionView {
        session.view(id, &self.0.policy, self.0.clock.now())
    }

    fn limit(
        &self,
        limit: LimitId,
        key: &[u8],
        id: &SessionId,
        session: &Session,
    ) -> Result<(), SessionError> {
        self.0.limits.check(limit, key, 1).map_err(|retry_after| SessionError::RateLimited {
            session: self.view(id, session),
            retry_after: Some(retry_after),
        })
    }
}

fn read_id(text: &str) -> Result<SessionId, SessionError> {
    SessionId::parse(text).map_err(SessionError::InvalidId)
}

impl fmt::Debug for VerificationService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationService").field("policy", &self.0.policy).finish_non_exhaustive()
    }
}
