//! The state of one verification session. Nothing here does I/O.

mod policy;
mod sends;
mod view;

#[cfg(test)]
mod tests;

use std::time::Duration;

use protocol::{PhoneNumber, ambient::Timestamp};
use serde::{Deserialize, Serialize};

use super::{Code, SessionId, Transport};
use crate::{admission::invite::InviteId, challenge::PushChallenge};

use sends::Sends;

pub use policy::VerificationPolicy;
pub use view::{RequestedInformation, SessionView};

/// How long a session lives after it was last used.
pub const IDLE_LIFE: Duration = Duration::from_mins(10);

/// The expiry is written again only when it moves by this much, so that asking for the state of a session
/// rarely costs a write.
const TOUCH_EVERY: Duration = Duration::from_mins(1);

/// The same request again within this time is the same request, sent again by a client whose connection
/// broke: it is answered like the first and nothing is sent.
const REPEAT_WITHIN: Duration = Duration::from_secs(5);

/// Wrong guesses after which a code is void. A new one can be sent, as far as the limits for the number
/// allow.
pub const GUESSES_PER_CODE: u8 = 10;

/// Wait before the next guess, by wrong guesses made: a slip of the finger costs nothing, going through
/// numbers does.
const GUESS_WAIT: [Duration; GUESSES_PER_CODE as usize] = {
    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }
    let free = Duration::ZERO;
    [free, free, free, free, seconds(5), seconds(10), seconds(20), seconds(40), seconds(60), seconds(60)]
};

/// A verification session: on the way to proving that somebody holds a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    number: PhoneNumber,
    captcha_outstanding: bool,
    /// What was pushed to the phone and has not come back: as good an answer as a captcha.
    #[serde(default)]
    pushed: Option<PushChallenge>,
    code: Option<IssuedCode>,
    sms: Sends,
    voice: Sends,
    verified: bool,
    /// The invitation by which it was verified.
    #[serde(default)]
    invite: Option<InviteId>,
    expires: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct IssuedCode {
    expected: Expected,
    wrong_guesses: u8,
    next_guess: Timestamp,
}

/// What makes a code that is handed in right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::verification) enum Expected {
    /// It is this one.
    Code(Code),
    /// Whoever sent it says so.
    Provider,
    /// It is an invitation's.
    Invite,
}

/// What was found out elsewhere about a code that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verification) enum Judgement {
    /// It is for the session to tell.
    Own,
    /// It is right, and the code of that invitation if it is one.
    Right(Option<InviteId>),
    /// It is wrong.
    Wrong,
    /// None is right any more: another must be sent.
    Over,
}

/// A code of ours that waits to be handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingCode {
    /// The number it is for.
    pub number: PhoneNumber,
    /// The code.
    pub code: Code,
    /// How it was asked for last.
    pub transport: Transport,
    /// When it was asked for last.
    pub asked: Timestamp,
}

/// What a request for a code leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::verification) enum CodeDecision {
    /// Have it sent; this one, unless whoever sends it draws it.
    Send(Expected),
    /// It has just been sent.
    JustSent,
    /// Not yet, or (without a time) not any more.
    TooEarly(Option<Duration>),
    /// The number is proved already, or what was asked for is not given.
    NotReady,
}

/// What handing in a code leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verification) enum GuessDecision {
    /// The number is proved.
    Right,
    /// It is not.
    Wrong,
    /// Not yet.
    TooEarly(Duration),
    /// The number is proved already, or there is no code.
    NotReady,
}

impl Session {
    /// A session for that number, in which nothing has happened yet.
    pub fn new(number: PhoneNumber, policy: &VerificationPolicy, now: Timestamp) -> Self {
        Self {
            number,
            captcha_outstanding: policy.ask_for_captcha,
            pushed: None,
            code: None,
            sms: Sends::default(),
            voice: Sends::default(),
            verified: false,
            invite: None,
            expires: now.saturating_add(IDLE_LIFE),
        }
    }

    /// The number to be proved.
    pub fn number(&self) -> &PhoneNumber {
        &self.number
    }

    /// Whether it is proved.
    pub fn is_verified(&self) -> bool {
        self.verified
    }

    /// The invitation whose code was handed in, if one was.
    pub fn invite(&self) -> Option<InviteId> {
        self.invite
    }

    /// The code that waits to be handed in, if it is one of ours.
    pub fn waiting_code(&self) -> Option<WaitingCode> {
        let issued = self.code.as_ref().filter(|_| !self.verified)?;
        let Expected::Code(code) = &issued.expected else { return None };
        let times = [(Transport::Sms, self.sms.last), (Transport::Voice, self.voice.last)];
        let (transport, asked) = times
            .into_iter()
            .filter_map(|(transport, at)| Some((transport, at?)))
            .max_by_key(|(_, at)| *at)?;
        Some(WaitingCode { number: self.number.clone(), code: code.clone(), transport, asked })
    }

    /// When the session ends unless it is used.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    pub(in crate::verification) fn touch(&mut self, now: Timestamp) {
        let expires = now.saturating_add(IDLE_LIFE);
        if expires.saturating_since(self.expires) >= TOUCH_EVERY {
            self.expires = expires;
        }
    }

    pub(in crate::verification) fn captcha_accepted(&mut self) {
        self.captcha_outstanding = false;
        self.pushed = None;
    }

    /// Takes note of a challenge that is about to be pushed, in place of one before it; says whether there is
    /// anything that it could be the answer to.
    pub(in crate::verification) fn push_challenge(&mut self, fresh: PushChallenge) -> bool {
        if self.captcha_outstanding {
            self.pushed = Some(fresh);
        }
        self.captcha_outstanding
    }

    /// It was not pushed: the client shall not wait for it.
    pub(in crate::verification) fn push_failed(&mut self) {
        self.pushed = None;
    }

    /// Takes what the client says was pushed to it; a right answer serves once, and for the captcha too. Says
    /// whether it was right.
    pub(in crate::verification) fn answer_push(&mut self, answer: &str) -> bool {
        let right = self.pushed.as_ref().is_some_and(|challenge| challenge.is_answered_by(answer));
        if right {
            self.captcha_accepted();
        }
        right
    }

    /// Decides on a request for a code. Where one is sent, this is already noted; should sending fail,
    /// [`Session::send_failed`] takes the note back.
    ///
    /// The code stays the same until it is void, so that a first message that comes late is still right.
    pub(in crate::verification) fn request_code(
        &mut self,
        transport: Transport,
        fresh: Expected,
        policy: &VerificationPolicy,
        now: Timestamp,
    ) -> CodeDecision {
        if self.verified || !self.may_request(policy) {
            return CodeDecision::NotReady;
        }
        let sends = self.sends(transport);
        if self.code.is_some() && sends.last.is_some_and(|last| now.saturating_since(last) < REPEAT_WITHIN) {
            return CodeDecision::JustSent;
        }
        match sends.wait(policy, now) {
            None => CodeDecision::TooEarly(None),
            Some(wait) if !wait.is_zero() => CodeDecision::TooEarly(Some(wait)),
            Some(_) => {
                let sends = self.sends_mut(transport);
                *sends = Sends { count: sends.count.saturating_add(1), last: Some(now) };
                let same_kind = |issued: &IssuedCode| {
                    std::mem::discriminant(&issued.expected) == std::mem::discriminant(&fresh)
                };
                match &self.code {
                    Some(issued) if same_kind(issued) => CodeDecision::Send(issued.expected.clone()),
                    _ => {
                        let expected = fresh.clone();
                        self.code = Some(IssuedCode { expected, wrong_guesses: 0, next_guess: now });
                        CodeDecision::Send(fresh)
                    }
                }
            }
        }
    }

    pub(in crate::verification) fn send_failed(&mut self, transport: Transport) {
        let sends = self.sends_mut(transport);
        *sends = Sends { count: sends.count.saturating_sub(1), last: None };
    }

    /// What makes a code right that is handed in now; nothing if it is not looked at.
    pub(in crate::verification) fn expects(&self, now: Timestamp) -> Option<&Expected> {
        let issued = self.code.as_ref().filter(|_| !self.verified)?;
        issued.next_guess.saturating_since(now).is_zero().then_some(&issued.expected)
    }

    /// Decides on a code handed in, and notes the outcome.
    pub(in crate::verification) fn submit(
        &mut self,
        guess: &Code,
        judgement: Judgement,
        now: Timestamp,
    ) -> GuessDecision {
        let Some(issued) = self.code.as_mut().filter(|_| !self.verified) else {
            return GuessDecision::NotReady;
        };
        let wait = issued.next_guess.saturating_since(now);
        if !wait.is_zero() {
            return GuessDecision::TooEarly(wait);
        }
        let own = matches!(&issued.expected, Expected::Code(code) if code.is(guess));
        match judgement {
            Judgement::Right(invite) => {
                self.verify(invite);
                return GuessDecision::Right;
            }
            Judgement::Own if own => {
                self.verify(None);
                return GuessDecision::Right;
            }
            Judgement::Over => {
                self.code = None;
                return GuessDecision::NotReady;
            }
            Judgement::Own | Judgement::Wrong => {}
        }
        issued.next_guess = now.saturating_add(GUESS_WAIT[usize::from(issued.wrong_guesses)]);
        issued.wrong_guesses += 1;
        if issued.wrong_guesses == GUESSES_PER_CODE {
            self.code = None;
        }
        GuessDecision::Wrong
    }

    fn verify(&mut self, invite: Option<InviteId>) {
        self.verified = true;
        self.invite = invite;
        self.code = None;
    }

    /// Whether the code handed in is right, without noting anything.
    pub(in crate::verification) fn would_verify(
        &self,
        guess: &Code,
        judgement: Judgement,
        now: Timestamp,
    ) -> bool {
        self.clone().submit(guess, judgement, now) == GuessDecision::Right
    }

    fn may_request(&self, policy: &VerificationPolicy) -> bool {
        policy.captcha_is_optional || !self.captcha_outstanding
    }

    fn sends(&self, transport: Transport) -> &Sends {
        match transport {
            Transport::Sms => &self.sms,
            Transport::Voice => &self.voice,
        }
    }

    fn sends_mut(&mut self, transport: Transport) -> &mut Sends {
        match transport {
            Transport::Sms => &mut self.sms,
            Transport::Voice => &mut self.voice,
        }
    }
}
