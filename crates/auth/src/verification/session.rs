//! The state of one verification session. Nothing here does I/O.

use std::time::Duration;

use protocol::{PhoneNumber, ambient::Timestamp};
use serde::{Deserialize, Serialize};

use super::{Code, SessionId, Transport};
use crate::{admission::invite::InviteId, challenge::PushChallenge};

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

/// What is asked of clients, and how often they get a code. The operator's choice.
#[derive(Clone, Debug)]
pub struct VerificationPolicy {
    /// Whether a captcha is asked for on creation.
    pub ask_for_captcha: bool,
    /// Whether a code may be requested before what was asked for is given. Together with asking for a
    /// captcha this serves all clients: Signal's desktop app cannot do without being asked, other clients
    /// do not answer.
    pub captcha_is_optional: bool,
    /// Wait after the first code, the second and so on, for each transport. One more code is sent than
    /// there are waits, then the session gives no more.
    pub resend_after: Vec<Duration>,
}

impl Default for VerificationPolicy {
    fn default() -> Self {
        let resend_after = [30, 60, 120, 300].map(Duration::from_secs).to_vec();
        Self { ask_for_captcha: true, captcha_is_optional: true, resend_after }
    }
}

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
pub(super) enum Expected {
    /// It is this one.
    Code(Code),
    /// Whoever sent it says so.
    Provider,
    /// It is an invitation's.
    Invite,
}

/// What was found out elsewhere about a code that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
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

/// How often and when a transport was used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sends {
    count: u8,
    last: Option<Timestamp>,
}

/// Information that a client may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RequestedInformation {
    /// What was pushed to the phone.
    PushChallenge,
    /// The answer to a captcha.
    Captcha,
}

/// A session as its client sees it. JSON carries all seven fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// The session's id as text.
    pub id: String,
    /// Seconds until a text message may be requested; none when it cannot be.
    pub next_sms: Option<u64>,
    /// Seconds until a call may be requested; none when it cannot be.
    pub next_call: Option<u64>,
    /// Seconds until a code may be handed in; none when there is no code.
    pub next_verification_attempt: Option<u64>,
    /// Whether a code may be requested.
    pub allowed_to_request_code: bool,
    /// What the client is asked for.
    pub requested_information: Vec<RequestedInformation>,
    /// Whether the number is proved.
    pub verified: bool,
}

/// What a request for a code leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CodeDecision {
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
pub(super) enum GuessDecision {
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

    pub(super) fn touch(&mut self, now: Timestamp) {
        let expires = now.saturating_add(IDLE_LIFE);
        if expires.saturating_since(self.expires) >= TOUCH_EVERY {
            self.expires = expires;
        }
    }

    pub(super) fn captcha_accepted(&mut self) {
        self.captcha_outstanding = false;
        self.pushed = None;
    }

    /// Takes note of a challenge that is about to be pushed, in place of one before it; says whether there is
    /// anything that it could be the answer to.
    pub(super) fn push_challenge(&mut self, fresh: PushChallenge) -> bool {
        if self.captcha_outstanding {
            self.pushed = Some(fresh);
        }
        self.captcha_outstanding
    }

    /// It was not pushed: the client shall not wait for it.
    pub(super) fn push_failed(&mut self) {
        self.pushed = None;
    }

    /// Takes what the client says was pushed to it; a right answer serves once, and for the captcha too. Says
    /// whether it was right.
    pub(super) fn answer_push(&mut self, answer: &str) -> bool {
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
    pub(super) fn request_code(
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

    pub(super) fn send_failed(&mut self, transport: Transport) {
        let sends = self.sends_mut(transport);
        *sends = Sends { count: sends.count.saturating_sub(1), last: None };
    }

    /// What makes a code right that is handed in now; nothing if it is not looked at.
    pub(super) fn expects(&self, now: Timestamp) -> Option<&Expected> {
        let issued = self.code.as_ref().filter(|_| !self.verified)?;
        issued.next_guess.saturating_since(now).is_zero().then_some(&issued.expected)
    }

    /// Decides on a code handed in, and notes the outcome.
    pub(super) fn submit(&mut self, guess: &Code, judgement: Judgement, now: Timestamp) -> GuessDecision {
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
    pub(super) fn would_verify(&self, guess: &Code, judgement: Judgement, now: Timestamp) -> bool {
        self.clone().submit(guess, judgement, now) == GuessDecision::Right
    }

    pub(super) fn view(&self, id: &SessionId, policy: &VerificationPolicy, now: Timestamp) -> SessionView {
        let may_request = self.may_request(policy);
        let next = |sends: &Sends| {
            sends.wait(policy, now).filter(|_| may_request && !self.verified).map(whole_seconds)
        };
        let next_guess = self.code.as_ref().map(|issued| issued.next_guess.saturating_since(now));
        SessionView {
            id: id.to_text(),
            next_sms: next(&self.sms),
            next_call: next(&self.voice),
            next_verification_attempt: next_guess.map(whole_seconds),
            allowed_to_request_code: may_request,
            requested_information: self.requested_information(),
            verified: self.verified,
        }
    }

    fn requested_information(&self) -> Vec<RequestedInformation> {
        let push = self.pushed.as_ref().map(|_| RequestedInformation::PushChallenge);
        let captcha = self.captcha_outstanding.then_some(RequestedInformation::Captcha);
        push.into_iter().chain(captcha).collect()
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

impl Sends {
    /// Time until the next one; none when there were as many as there may be.
    fn wait(&self, policy: &VerificationPolicy, now: Timestamp) -> Option<Duration> {
        let Some(sent_before) = usize::from(self.count).checked_sub(1) else { return Some(Duration::ZERO) };
        let interval = policy.resend_after.get(sent_before)?;
        Some(self.last.map_or(Duration::ZERO, |last| last.saturating_add(*interval).saturating_since(now)))
    }
}

/// Rounded up: whoever waits that long is not too early.
fn whole_seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use protocol::ambient::SeededEntropy;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn at(seconds: u64) -> Timestamp {
        START.saturating_add(Duration::from_secs(seconds))
    }

    fn id() -> SessionId {
        SessionId::random(&SeededEntropy::new(7))
    }

    fn code(text: &str) -> Code {
        Code::guess(text).unwrap()
    }

    fn own(text: &str) -> Expected {
        Expected::Code(code(text))
    }

    fn session(policy: &VerificationPolicy) -> Session {
        Session::new("+15550100001".parse().unwrap(), policy, START)
    }

    fn strict() -> VerificationPolicy {
        VerificationPolicy { captcha_is_optional: false, ..Default::default() }
    }

    fn view(session: &Session, policy: &VerificationPolicy, seconds: u64) -> SessionView {
        session.view(&id(), policy, at(seconds))
    }

    #[test]
    fn a_new_session_asks_for_a_captcha_and_yet_allows_a_code() {
        let policy = VerificationPolicy::default();
        let json = serde_json::to_value(view(&session(&policy), &policy, 0)).unwrap();
        let expected = serde_json::json!({
            "id": id().to_text(),
            "nextSms": 0,
            "nextCall": 0,
            "nextVerificationAttempt": null,
            "allowedToRequestCode": true,
            "requestedInformation": ["captcha"],
            "verified": false,
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_strict_server_sends_no_code_before_the_captcha() {
        let policy = strict();
        let mut session = session(&policy);
        assert_eq!(session.request_code(Transport::Sms, own("1"), &policy, START), CodeDecision::NotReady);
        assert_eq!(view(&session, &policy, 0).next_sms, None);
        session.captcha_accepted();
        let seen = view(&session, &policy, 0);
        assert!(seen.allowed_to_request_code && seen.requested_information.is_empty());
        assert!(matches!(
            session.request_code(Transport::Sms, own("1"), &policy, START),
            CodeDecision::Send(_)
        ));
    }

    #[test]
    fn a_push_serves_in_place_of_a_captcha_once() {
        let policy = strict();
        let mut session = session(&policy);
        let challenge = PushChallenge::random(&SeededEntropy::new(1));
        assert!(session.push_challenge(challenge.clone()));
        let seen = view(&session, &policy, 0).requested_information;
        assert_eq!(seen, [RequestedInformation::PushChallenge, RequestedInformation::Captcha]);
        assert!(!session.answer_push("") && !session.answer_push(&"0".repeat(32)));
        let stored = serde_json::to_vec(&session).unwrap();
        session = serde_json::from_slice(&stored).unwrap();
        assert!(session.answer_push(challenge.as_str()));
        let seen = view(&session, &policy, 0);
        assert!(seen.requested_information.is_empty() && seen.allowed_to_request_code);
        assert!(!session.answer_push(challenge.as_str()));
        assert!(!session.push_challenge(challenge), "there is nothing left to answer");
    }

    #[test]
    fn resending_waits_longer_each_time_and_ends() {
        let policy = VerificationPolicy::default();
        let mut session = session(&policy);
        let first = own("123456");
        assert_eq!(
            session.request_code(Transport::Sms, first.clone(), &policy, at(0)),
            CodeDecision::Send(first.clone())
        );
        assert_eq!(session.request_code(Transport::Sms, own("2"), &policy, at(4)), CodeDecision::JustSent);
        assert_eq!(
            session.request_code(Transport::Sms, own("2"), &policy, at(10)),
            CodeDecision::TooEarly(Some(Duration::from_secs(20)))
        );
        assert_eq!(view(&session, &policy, 10).next_sms, Some(20));
        assert_eq!(view(&session, &policy, 10).next_call, Some(0), "a call has its own wait");
        let mut now = 0;
        for wait in [30, 60, 120, 300] {
            now += wait;
            let again = session.request_code(Transport::Sms, own("2"), &policy, at(now));
            assert_eq!(again, CodeDecision::Send(first.clone()), "the code stays the same");
        }
        assert_eq!(
            session.request_code(Transport::Sms, own("2"), &policy, at(now + 10_000)),
            CodeDecision::TooEarly(None)
        );
        assert_eq!(view(&session, &policy, now + 10_000).next_sms, None);
    }

    #[test]
    fn a_code_that_could_not_be_sent_may_be_requested_at_once() {
        let policy = VerificationPolicy::default();
        let mut session = session(&policy);
        session.request_code(Transport::Sms, own("1"), &policy, at(0));
        session.send_failed(Transport::Sms);
        assert!(matches!(
            session.request_code(Transport::Sms, own("1"), &policy, at(0)),
            CodeDecision::Send(_)
        ));
    }

    #[test]
    fn the_right_code_verifies_once() {
        let policy = VerificationPolicy::default();
        let mut session = session(&policy);
        assert_eq!(session.submit(&code("123456"), Judgement::Own, at(0)), GuessDecision::NotReady);
        session.request_code(Transport::Sms, own("123456"), &policy, at(0));
        assert_eq!(view(&session, &policy, 0).next_verification_attempt, Some(0));
        assert_eq!(session.submit(&code("000000"), Judgement::Own, at(1)), GuessDecision::Wrong);
        assert!(!session.is_verified());
        assert_eq!(session.submit(&code("123456"), Judgement::Own, at(2)), GuessDecision::Right);
        assert!(session.is_verified());
        assert_eq!(session.submit(&code("123456"), Judgement::Own, at(3)), GuessDecision::NotReady);
        assert_eq!(session.request_code(Transport::Sms, own("1"), &policy, at(900)), CodeDecision::NotReady);
        let seen = view(&session, &policy, 3);
        assert_eq!((seen.next_sms, seen.next_call, seen.next_verification_attempt), (None, None, None));
    }

    #[test]
    fn guessing_slows_down_and_voids_the_code() {
        let policy = VerificationPolicy::default();
        let mut session = session(&policy);
        session.request_code(Transport::Sms, own("123456"), &policy, at(0));
        let (mut now, mut waited) = (0, 0);
        for _ in 0..GUESSES_PER_CODE {
            if let GuessDecision::TooEarly(wait) = session.submit(&code("000000"), Judgement::Own, at(now)) {
                waited += wait.as_secs();
                now += wait.as_secs();
                assert_eq!(session.submit(&code("000000"), Judgement::Own, at(now)), GuessDecision::Wrong);
            }
        }
        assert!(waited >= 60, "{waited}");
        assert_eq!(session.submit(&code("123456"), Judgement::Own, at(now + 600)), GuessDecision::NotReady);
        let fresh = own("654321");
        let sent = session.request_code(Transport::Sms, fresh.clone(), &policy, at(now + 600));
        assert_eq!(sent, CodeDecision::Send(fresh));
    }

    #[test]
    fn the_stored_form_comes_back() {
        let policy = VerificationPolicy::default();
        let mut session = session(&policy);
        session.request_code(Transport::Voice, own("123456"), &policy, at(0));
        session.submit(&code("1"), Judgement::Own, at(0));
        let stored = serde_json::to_vec(&session).unwrap();
        assert_eq!(serde_json::from_slice::<Session>(&stored).unwrap(), session);
    }

    #[test]
    fn use_moves_the_end_but_not_at_every_glance() {
        let mut session = session(&VerificationPolicy::default());
        session.touch(at(30));
        assert_eq!(session.expires(), at(600));
        session.touch(at(60));
        assert_eq!(session.expires(), at(660));
    }

    #[test]
    fn an_invitations_code_verifies_only_by_somebody_elses_judgement() {
        let policy = VerificationPolicy::default();
        let mut session = session(&policy);
        session.request_code(Transport::Sms, Expected::Invite, &policy, at(0));
        assert_eq!(view(&session, &policy, 0).next_verification_attempt, Some(0), "like any other");
        assert_eq!(session.waiting_code(), None);
        assert_eq!(session.expects(at(0)), Some(&Expected::Invite));
        assert_eq!(session.submit(&code("123456"), Judgement::Own, at(0)), GuessDecision::Wrong);
        let invite = InviteId(uuid::Uuid::from_u128(1));
        assert_eq!(
            session.submit(&code("123456"), Judgement::Right(Some(invite)), at(1)),
            GuessDecision::Right
        );
        assert_eq!((session.is_verified(), session.invite()), (true, Some(invite)));
    }

    #[test]
    fn what_a_provider_has_given_up_must_be_asked_for_anew() {
        let policy = VerificationPolicy::default();
        let mut session = session(&policy);
        session.request_code(Transport::Sms, Expected::Provider, &policy, at(0));
        assert_eq!(session.submit(&code("1"), Judgement::Over, at(0)), GuessDecision::NotReady);
        assert_eq!(session.expects(at(0)), None);
        let again = session.request_code(Transport::Sms, Expected::Provider, &policy, at(30));
        assert_eq!(again, CodeDecision::Send(Expected::Provider));
        assert_eq!(session.submit(&code("1"), Judgement::Right(None), at(31)), GuessDecision::Right);
    }

    #[test]
    fn the_code_that_waits_is_known_until_it_is_used() {
        let policy = VerificationPolicy::default();
        let mut session = session(&policy);
        assert_eq!(session.waiting_code(), None);
        session.request_code(Transport::Sms, own("123456"), &policy, at(0));
        session.request_code(Transport::Voice, own("2"), &policy, at(9));
        let waiting = session.waiting_code().unwrap();
        assert_eq!(
            (waiting.code, waiting.transport, waiting.asked),
            (code("123456"), Transport::Voice, at(9))
        );
        session.submit(&code("123456"), Judgement::Own, at(10));
        assert_eq!(session.waiting_code(), None);
    }
}
