//! Asking, and judging answers.

use std::{fmt, sync::Arc, time::Duration};

use limits::{LimitId, RateLimits, RetryAfter};
use protocol::{
    Aci, DeviceAddress, DeviceId, ServiceId,
    ambient::{Clock, Entropy, StorageError},
    base64,
};
use subtle::ConstantTimeEq;

use super::{PushChallenge, PushChallengeMessage, PushChallengeTo, PushChallenges, PushUndelivered};
use crate::{
    pending::{Asked, Pending},
    store::AccountStore,
    verification::{CAPTCHA_LEN_MAX, CaptchaError, CaptchaVerdict, CaptchaVerifier},
};

/// How long the token of a question is good: time enough to find the phone and solve a captcha.
const TOKEN_LIFETIME: Duration = Duration::from_hours(1);

/// How long a push challenge is good, as in Signal's service; so long no other is sent.
const PUSH_LIFETIME: Duration = Duration::from_mins(5);

/// Asks senders to show that they are people.
pub struct ChallengeService {
    parts: ChallengeParts,
    tokens: Pending<Aci, String>,
    pushes: Pending<Aci, PushChallenge>,
}

/// What a [`ChallengeService`] is made of. Without a way to answer, nobody is asked.
pub struct ChallengeParts {
    /// Knows where a push reaches an account.
    pub accounts: Arc<dyn AccountStore>,
    /// Judges captchas, where they are offered.
    pub captcha: Option<Arc<dyn CaptchaVerifier>>,
    /// Delivers push challenges, where they are offered.
    pub push: Option<Arc<dyn PushChallenges>>,
    /// How often somebody may do what.
    pub limits: Arc<RateLimits>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Draws tokens and challenges.
    pub entropy: Arc<dyn Entropy>,
}

/// The kinds of answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeKind {
    /// A captcha.
    Captcha,
    /// What a push has brought to the primary device.
    Push,
}

impl ChallengeKind {
    /// The limits of attempts, and of right answers.
    fn limits(self) -> [LimitId; 2] {
        match self {
            Self::Captcha => [LimitId::CaptchaChallengeAttempt, LimitId::CaptchaChallengeSuccess],
            Self::Push => [LimitId::PushChallengeAttempt, LimitId::PushChallengeSuccess],
        }
    }
}

/// The account has to answer before it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeRequired {
    /// Comes back with the answer.
    pub token: String,
    /// What may be answered. Empty when the account has answered too often: only waiting helps.
    pub options: Vec<ChallengeKind>,
    /// After this time the account may go on without an answer.
    pub retry_after: RetryAfter,
}

/// What an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is right: the account may go on.
    Accepted,
    /// It is wrong, or to something that was not asked.
    Rejected,
}

/// Why an answer was not judged.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It is not even one.
    #[error("malformed captcha")]
    Malformed,
    /// Too many answers.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// The captcha provider cannot be reached.
    #[error("captchas cannot be judged")]
    CaptchaUnavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why no push challenge was sent.
#[derive(Debug, thiserror::Error)]
pub enum RequestPushError {
    /// Nothing reaches the primary device by push.
    #[error("there is no way to push")]
    NoPushToken,
    /// The account has used up its answers of this kind.
    #[error("not permitted")]
    NotPermitted,
    /// Whoever delivers pushes failed.
    #[error(transparent)]
    Undelivered(#[from] PushUndelivered),
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ChallengeService {
    /// A service made of these parts.
    pub fn new(parts: ChallengeParts) -> Self {
        Self { parts, tokens: Pending::new(TOKEN_LIFETIME), pushes: Pending::new(PUSH_LIFETIME) }
    }

    /// Counts a message that the account wants to send, or asks for an answer first.
    pub fn admit(&self, aci: Aci) -> Result<(), ChallengeRequired> {
        if !self.is_on() {
            return Ok(());
        }
        self.take(LimitId::Challenge, aci).map_err(|retry_after| ChallengeRequired {
            token: self.token(aci),
            options: self.options(aci),
            retry_after,
        })
    }

    /// Sends a push challenge to the primary device of the account. While one is on its way or waiting to be
    /// answered, there is no other.
    pub async fn request_push(&self, aci: Aci) -> Result<(), RequestPushError> {
        let push = self.parts.push.as_ref().ok_or(RequestPushError::NoPushToken)?;
        if !self.permits(ChallengeKind::Push, aci) {
            return Err(RequestPushError::NotPermitted);
        }
        let to = DeviceAddress { aci, device_id: DeviceId::PRIMARY };
        let account = self.parts.accounts.account(ServiceId::Aci(aci)).await?;
        let primary = account.as_ref().and_then(|account| account.device(to.device_id));
        let token = primary.and_then(|device| device.push_token.clone());
        let reached = token.filter(|token| push.reaches(token.service()));
        let token = reached.ok_or(RequestPushError::NoPushToken)?;
        let fresh = || PushChallenge::random(&*self.parts.entropy);
        let Asked::Anew(challenge) = self.pushes.ask(aci, self.parts.clock.now(), fresh) else {
            return Ok(());
        };
        let sent =
            push.send(PushChallengeMessage { to: PushChallengeTo::Device(to), token, challenge }).await;
        if sent.is_err() {
            self.pushes.forget(aci);
        }
        Ok(sent?)
    }

    /// Judges what a push challenge said.
    pub fn answer_push(&self, aci: Aci, answer: &str) -> Result<Verdict, AnswerError> {
        if !self.is_on() {
            return Ok(Verdict::Accepted);
        }
        self.count(LimitId::PushChallengeAttempt, aci)?;
        let asked = self.pushes.get(aci, self.parts.clock.now());
        if !asked.is_some_and(|challenge| challenge.is_answered_by(answer)) {
            return Ok(Verdict::Rejected);
        }
        self.accept(aci, LimitId::PushChallengeSuccess)?;
        self.pushes.forget(aci);
        Ok(Verdict::Accepted)
    }

    /// Judges a captcha that was solved to answer the question of that token.
    pub async fn answer_captcha(&self, aci: Aci, token: &str, answer: &str) -> Result<Verdict, AnswerError> {
        if !self.is_on() {
            return Ok(Verdict::Accepted);
        }
        self.count(LimitId::CaptchaChallengeAttempt, aci)?;
        if answer.len() > CAPTCHA_LEN_MAX {
            return Err(AnswerError::Malformed);
        }
        let Some(captcha) = &self.parts.captcha else { return Ok(Verdict::Rejected) };
        let asked = self.tokens.get(aci, self.parts.clock.now());
        if !asked.is_some_and(|asked| bool::from(asked.as_bytes().ct_eq(token.as_bytes()))) {
            return Ok(Verdict::Rejected);
        }
        match captcha.verify(answer).await {
            Ok(CaptchaVerdict::Accepted) => {
                self.accept(aci, LimitId::CaptchaChallengeSuccess)?;
                Ok(Verdict::Accepted)
            }
            Ok(CaptchaVerdict::Rejected) => Ok(Verdict::Rejected),
            Err(CaptchaError::Malformed) => Err(AnswerError::Malformed),
            Err(CaptchaError::Unavailable(cause)) => Err(AnswerError::CaptchaUnavailable(cause)),
        }
    }

    fn is_on(&self) -> bool {
        self.parts.captcha.is_some() || self.parts.push.is_some()
    }

    /// The token of the question that the account is asked.
    fn token(&self, aci: Aci) -> String {
        let fresh = || base64::encode_url(self.parts.entropy.bytes::<16>());
        let (Asked::Anew(token) | Asked::Before(token)) = self.tokens.ask(aci, self.parts.clock.now(), fresh);
        token
    }

    fn options(&self, aci: Aci) -> Vec<ChallengeKind> {
        let offered = [
            (ChallengeKind::Captcha, self.parts.captcha.is_some()),
            (ChallengeKind::Push, self.parts.push.is_some()),
        ];
        let open = |&(kind, offered): &(ChallengeKind, bool)| offered && self.permits(kind, aci);
        offered.iter().filter(|option| open(option)).map(|(kind, _)| *kind).collect()
    }

    /// Whether a right answer of that kind would still be taken. What would be refused is not offered.
    fn permits(&self, kind: ChallengeKind, aci: Aci) -> bool {
        let [attempt, success] = kind.limits();
        let limits = [attempt, success, LimitId::RateLimitReset];
        limits.into_iter().all(|limit| self.parts.limits.permits(limit, aci.0.as_bytes(), 1))
    }

    /// The account has answered rightly: it may send as much as ever, and is asked nothing any more.
    fn accept(&self, aci: Aci, success: LimitId) -> Result<(), AnswerError> {
        self.count(success, aci)?;
        self.count(LimitId::RateLimitReset, aci)?;
        self.tokens.forget(aci);
        self.parts.limits.clear(LimitId::Challenge, aci.0.as_bytes());
        Ok(())
    }

    fn count(&self, limit: LimitId, aci: Aci) -> Result<(), AnswerError> {
        self.take(limit, aci).map_err(AnswerError::RateLimited)
    }

    fn take(&self, limit: LimitId, aci: Aci) -> Result<(), RetryAfter> {
        self.parts.limits.check(limit, aci.0.as_bytes(), 1)
    }
}

impl fmt::Debug for ChallengeService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChallengeService").field("on", &self.is_on()).finish_non_exhaustive()
    }
}
