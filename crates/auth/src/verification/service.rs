//! The five operations on a verification session.

use std::{fmt, sync::Arc};

use limits::{LimitId, RateLimits, RetryAfter};
use protocol::{
    PhoneNumber,
    ambient::{Clock, Entropy, StorageError, Timestamp},
};

use super::{
    CaptchaError, CaptchaVerdict, CaptchaVerifier, Code, CodeMessage, CodeSender, CodeVerdict,
    InvalidSessionId, NotDelivered, SendCodeError, Session, SessionId, SessionStore, SessionView,
    StoredSession, Transport, VerificationPolicy,
    session::{CodeDecision, Expected, GuessDecision, Judgement},
};
use crate::{
    admission::{Admission, NumberStep, invite::InviteId},
    audit::{Action, AuditTrail, Detail, Party},
    challenge::{PushChallenge, PushChallengeMessage, PushChallengeTo, PushChallenges},
    device::PushToken,
    store::AccountStore,
};

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

/// Why a session was not opened.
#[derive(Debug, thiserror::Error)]
pub enum CreateSessionError {
    /// That cannot be a phone number.
    #[error("not a phone number")]
    ImpossibleNumber,
    /// It is a phone number, but not written in the international form.
    #[error("the number is not normalised")]
    NotNormalized {
        /// What came in.
        original: String,
        /// What it should have been.
        normalized: PhoneNumber,
    },
    /// Too many sessions for this number.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why an operation on a session was not carried out. Where a client is told the state of its session
/// along with that, the state is here.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The id cannot be read.
    #[error("not a session id")]
    InvalidId(InvalidSessionId),
    /// There is no such session, or it has expired.
    #[error("no such session")]
    NotFound,
    /// The captcha or the code is not even one.
    #[error("malformed input")]
    Malformed,
    /// The captcha or the challenge is wrong.
    #[error("the captcha or challenge was rejected")]
    Rejected(SessionView),
    /// The session is verified already, or something else has to happen first.
    #[error("the session is not in a state for this")]
    NotReady(SessionView),
    /// Not by this transport; another may work.
    #[error("this transport is not available")]
    TransportUnavailable(SessionView),
    /// The provider did not take the code.
    #[error("the code was not delivered")]
    NotDelivered {
        /// In whose hands the failure lies.
        reason: NotDelivered,
        /// Trying again is of no use.
        permanent: bool,
    },
    /// Too often or too early. Without a time, waiting does not help.
    #[error("rate limited")]
    RateLimited {
        /// The session.
        session: SessionView,
        /// How long to wait.
        retry_after: Option<RetryAfter>,
    },
    /// The provider that would know whether a code is right does not say.
    #[error("the code cannot be checked")]
    Unchecked,
    /// The captcha provider cannot be reached.
    #[error("captchas cannot be judged")]
    CaptchaUnavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
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

/// A request for a code.
#[derive(Clone, Debug)]
pub struct CodeRequest {
    /// How it shall come.
    pub transport: Transport,
    /// What the client calls itself.
    pub client: Option<String>,
    /// The value of `Accept-Language`.
    pub languages: Option<String>,
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

/// A challenge, and whom it is sent through.
struct Pushable {
    sender: Arc<dyn PushChallenges>,
    token: PushToken,
    challenge: PushChallenge,
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

    /// Sends a code, or where an invitation's is expected, sends none.
    pub async fn request_code(&self, id: &str, request: CodeRequest) -> Result<SessionView, SessionError> {
        let id = read_id(id)?;
        let transport = request.transport;
        let mut expected = Expected::Code(Code::random(&*self.0.entropy));
        let decide = |session: &mut Session, expected: &Expected, now| {
            session.request_code(transport, expected.clone(), &self.0.policy, now)
        };
        let preview = self.load(&id).await?.session;
        let mut decision = decide(&mut preview.clone(), &expected, self.0.clock.now());
        let session = if let CodeDecision::Send(_) = decision {
            // The limit of the number is asked only for requests that would otherwise be carried out, and before
            // anything is noted.
            self.limit(LimitId::VerificationCodeSend, preview.number().as_str().as_bytes(), &id, &preview)?;
            expected = self.expected(preview.number(), expected).await?;
            // The code is kept before it is sent: one that arrives is always right, whatever happens here.
            let (session, decided) = self.change(&id, |session, now| decide(session, &expected, now)).await?;
            decision = decided;
            session
        } else {
            self.change(&id, |_, _| ()).await?.0
        };
        let view = self.view(&id, &session);
        match decision {
            CodeDecision::Send(Expected::Invite) | CodeDecision::JustSent => Ok(view),
            CodeDecision::Send(expected) => {
                // A provider that draws codes itself makes nothing of ours.
                let code = match expected {
                    Expected::Code(code) => code,
                    Expected::Provider | Expected::Invite => Code::random(&*self.0.entropy),
                };
                self.send(&id, &session, code, request).await.map(|()| view)
            }
            CodeDecision::NotReady => Err(SessionError::NotReady(view)),
            CodeDecision::TooEarly(wait) => {
                Err(SessionError::RateLimited { session: view, retry_after: wait.map(RetryAfter) })
            }
        }
    }

    /// What code will be right for that number: a number without an account is asked for what admits it.
    async fn expected(&self, number: &PhoneNumber, fresh: Expected) -> Result<Expected, SessionError> {
        let known = self.0.accounts.number(number).await?.account.is_some();
        let step = if known { NumberStep::Send } else { self.0.admission.number_step(number).await? };
        match step {
            NumberStep::Send if self.0.sender.checks_codes() => Ok(Expected::Provider),
            NumberStep::Send => Ok(fresh),
            NumberStep::ExpectInvite => Ok(Expected::Invite),
            NumberStep::Refuse { permanent } => {
                Err(SessionError::NotDelivered { reason: NotDelivered::ProviderRejected, permanent })
            }
        }
    }

    /// Takes a code. A wrong one is no error; the session then is not verified.
    pub async fn submit_code(&self, id: &str, code: &str) -> Result<SessionView, SessionError> {
        let id = read_id(id)?;
        let guess = Code::guess(code).ok_or(SessionError::Malformed)?;
        let session = self.load(&id).await?.session;
        let judgement = self.judge(&id, &session, &guess).await?;
        if session.would_verify(&guess, judgement, self.0.clock.now()) {
            // Whoever knew the recovery password is not necessarily who holds the number now. Before the
            // session is verified, so that a failure in between can be tried again.
            self.0.accounts.remove_recovery_password(session.number()).await?;
        }
        let (session, decision) =
            self.change(&id, |session, now| session.submit(&guess, judgement, now)).await?;
        let view = self.view(&id, &session);
        match decision {
            GuessDecision::Right => {
                let event = Action::Verify.by(session.number());
                let by = if session.invite().is_some() { Detail::Invite } else { Detail::Session };
                self.0.audit.record(event.detail(by)).await;
                Ok(view)
            }
            GuessDecision::Wrong => {
                self.0.audit.record(Action::Verify.refused(session.number()).detail(Detail::WrongCode)).await;
                Ok(view)
            }
            GuessDecision::NotReady => Err(SessionError::NotReady(view)),
            GuessDecision::TooEarly(wait) => {
                Err(SessionError::RateLimited { session: view, retry_after: Some(RetryAfter(wait)) })
            }
        }
    }

    /// Finds out about a code that the session cannot judge by itself, if it is looked at at all.
    async fn judge(
        &self,
        id: &SessionId,
        session: &Session,
        guess: &Code,
    ) -> Result<Judgement, SessionError> {
        let number = session.number();
        let Some(expected) = session.expects(self.0.clock.now()) else { return Ok(Judgement::Own) };
        self.limit(LimitId::VerificationCodeCheck, number.as_str().as_bytes(), id, session)?;
        match expected {
            Expected::Code(_) => Ok(Judgement::Own),
            Expected::Invite => {
                let invite = self.0.admission.invite_for_number(number, guess.as_str()).await?;
                Ok(invite.map_or(Judgement::Wrong, |invite| Judgement::Right(Some(invite))))
            }
            Expected::Provider => match self.0.sender.check(number, guess).await {
                Ok(CodeVerdict::Right) => Ok(Judgement::Right(None)),
                Ok(CodeVerdict::Wrong) => Ok(Judgement::Wrong),
                Ok(CodeVerdict::Over) => Ok(Judgement::Over),
                Err(SendCodeError::RateLimited(wait)) => Err(SessionError::RateLimited {
                    session: self.view(id, session),
                    retry_after: wait.map(RetryAfter),
                }),
                Err(SendCodeError::NotDelivered { .. } | SendCodeError::TransportUnavailable) => {
                    Err(SessionError::Unchecked)
                }
            },
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

    /// A fresh challenge for that token, if it can be pushed to.
    fn pushable(&self, token: PushToken) -> Option<Pushable> {
        let sender = self.0.push.as_ref().filter(|push| push.reaches(token.service()))?;
        let challenge = PushChallenge::random(&*self.0.entropy);
        Some(Pushable { sender: Arc::clone(sender), token, challenge })
    }

    /// Sends a challenge in a session that is open already. The limit of answers bounds these too.
    async fn push_anew(
        &self,
        id: &SessionId,
        session: Session,
        push: Pushable,
    ) -> Result<SessionView, SessionError> {
        self.limit(LimitId::VerificationPushChallenge, id.as_bytes(), id, &session)?;
        let challenge = &push.challenge;
        let (session, wanted) =
            self.change(id, |session, _| session.push_challenge(challenge.clone())).await?;
        let view = self.view(id, &session);
        if !wanted {
            return Ok(view);
        }
        Ok(self.push(id, session.number().clone(), push).await?.unwrap_or(view))
    }

    /// Sends a challenge that is noted already; should that fail, the session is as without. Answers how it is
    /// then.
    async fn push(
        &self,
        id: &SessionId,
        number: PhoneNumber,
        Pushable { sender, token, challenge }: Pushable,
    ) -> Result<Option<SessionView>, SessionError> {
        let to = PushChallengeTo::Newcomer(number);
        let Err(error) = sender.send(PushChallengeMessage { to, token, challenge }).await else {
            return Ok(None);
        };
        tracing::warn!(error = &error as &dyn std::error::Error, "a push challenge was not sent");
        let (session, ()) = self.change(id, |session, _| session.push_failed()).await?;
        Ok(Some(self.view(id, &session)))
    }

    async fn send(
        &self,
        id: &SessionId,
        session: &Session,
        code: Code,
        request: CodeRequest,
    ) -> Result<(), SessionError> {
        let CodeRequest { transport, client, languages } = request;
        let message = CodeMessage { to: session.number().clone(), transport, code, client, languages };
        let by = Party::from(session.number());
        let detail = match transport {
            Transport::Sms => Detail::Sms,
            Transport::Voice => Detail::Voice,
        };
        let Err(error) = self.0.sender.send(message).await else {
            self.0.audit.record(Action::SendCode.by(by).detail(detail)).await;
            return Ok(());
        };
        self.0.audit.record(Action::SendCode.failed(by).detail(detail)).await;
        let (session, ()) = self.change(id, |session, _| session.send_failed(transport)).await?;
        let view = self.view(id, &session);
        Err(match error {
            SendCodeError::TransportUnavailable => SessionError::TransportUnavailable(view),
            SendCodeError::NotDelivered { reason, permanent } => {
                SessionError::NotDelivered { reason, permanent }
            }
            SendCodeError::RateLimited(wait) => {
                SessionError::RateLimited { session: view, retry_after: wait.map(RetryAfter) }
            }
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

/// Reads a number, and tells one that is merely written for people from one that cannot be.
fn read_number(text: &str) -> Result<PhoneNumber, CreateSessionError> {
    /// Longest text taken for a number with decoration.
    const DECORATED_LEN_MAX: usize = 64;

    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    if text.len() > DECORATED_LEN_MAX {
        return Err(CreateSessionError::ImpossibleNumber);
    }
    let bare: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')).collect();
    match bare.parse() {
        Ok(normalized) => Err(CreateSessionError::NotNormalized { original: text.to_owned(), normalized }),
        Err(_) => Err(CreateSessionError::ImpossibleNumber),
    }
}

impl fmt::Debug for VerificationService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationService").field("policy", &self.0.policy).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_written_for_people_are_told_from_impossible_ones() {
        assert!(read_number("+15550100001").is_ok());
        for text in ["+1 (555) 010-0001", "+1.555.010.0001"] {
            assert!(matches!(
                read_number(text),
                Err(CreateSessionError::NotNormalized { original, normalized })
                    if original == text && normalized.as_str() == "+15550100001"
            ));
        }
        for text in ["", "5550100001", "+1", "abc", "+0555010000", &"+".repeat(1000)] {
            assert!(matches!(read_number(text), Err(CreateSessionError::ImpossibleNumber)), "{text}");
        }
    }
}
