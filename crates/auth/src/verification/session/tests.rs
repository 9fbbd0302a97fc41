//! What may be asked of a session, and what it leads to.

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
    assert!(matches!(session.request_code(Transport::Sms, own("1"), &policy, START), CodeDecision::Send(_)));
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
    assert!(matches!(session.request_code(Transport::Sms, own("1"), &policy, at(0)), CodeDecision::Send(_)));
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
    assert_eq!(session.submit(&code("123456"), Judgement::Right(Some(invite)), at(1)), GuessDecision::Right);
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
    assert_eq!((waiting.code, waiting.transport, waiting.asked), (code("123456"), Transport::Voice, at(9)));
    session.submit(&code("123456"), Judgement::Own, at(10));
    assert_eq!(session.waiting_code(), None);
}
