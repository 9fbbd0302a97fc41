//! Challenges, from the outside.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use auth::{
    challenge::{AnswerError, ChallengeKind, ChallengeRequired, PushChallengeTo, RequestPushError, Verdict},
    device::{PushService, PushToken},
};
use limits::RetryAfter;
use protocol::{Aci, DeviceAddress, DeviceId};
use serde_json::json;

use crate::support::{CHALLENGE_LIMIT, NUMBER, World};

async fn sender(world: &World) -> Aci {
    world.registered(NUMBER, "one", &json!({})).await.identity.aci
}

/// Sends until the account is asked.
fn used_up(world: &World, aci: Aci) -> ChallengeRequired {
    for _ in 0..CHALLENGE_LIMIT.size {
        world.challenges.admit(aci).unwrap();
    }
    world.challenges.admit(aci).unwrap_err()
}

async fn give_push_token(world: &World, aci: Aci) {
    let caller = world.sign_in(aci, "one").await.unwrap();
    let token = PushToken::new(PushService::Fcm, "token".to_owned()).unwrap();
    world.accounts.set_push_token(&caller, token).await.unwrap();
}

async fn pushed(world: &World, aci: Aci) -> String {
    world.challenges.request_push(aci).await.unwrap();
    world.outside.pushes.lock().last().unwrap().challenge.as_str().to_owned()
}

#[tokio::test]
async fn a_right_captcha_fills_the_limit_again() {
    let world = World::new();
    let aci = sender(&world).await;
    let asked = used_up(&world, aci);
    assert_eq!(asked.options, [ChallengeKind::Captcha, ChallengeKind::Push]);
    assert_eq!(asked.retry_after, RetryAfter(CHALLENGE_LIMIT.interval));
    assert_eq!(world.challenges.admit(aci).unwrap_err().token, asked.token, "the question stays the same");
    let answer =
        async |token: &str, captcha| world.challenges.answer_captcha(aci, token, captcha).await.unwrap();
    assert_eq!(answer(&asked.token, "wrong").await, Verdict::Rejected);
    assert_eq!(answer("another", "right").await, Verdict::Rejected);
    assert!(world.challenges.admit(aci).is_err());
    assert_eq!(answer(&asked.token, "right").await, Verdict::Accepted);
    let next = used_up(&world, aci);
    assert_ne!(next.token, asked.token);
    assert_eq!(answer(&asked.token, "right").await, Verdict::Rejected, "a token is good once");
}

#[tokio::test]
async fn accounts_are_asked_by_themselves_and_time_helps_too() {
    let world = World::new();
    let aci = sender(&world).await;
    let asked = used_up(&world, aci);
    let other = world.registered("+15550100002", "two", &json!({})).await.identity.aci;
    world.challenges.admit(other).unwrap();
    let stolen = world.challenges.answer_captcha(other, &asked.token, "right").await.unwrap();
    assert_eq!(stolen, Verdict::Rejected);
    world.clock.advance(CHALLENGE_LIMIT.interval);
    world.challenges.admit(aci).unwrap();
    world.clock.advance(Duration::from_hours(1));
    let late = world.challenges.answer_captcha(aci, &asked.token, "right").await.unwrap();
    assert_eq!(late, Verdict::Rejected, "a token does not last");
}

#[tokio::test]
async fn captchas_that_cannot_be_judged_are_told_apart() {
    let world = World::new();
    let aci = sender(&world).await;
    let asked = used_up(&world, aci);
    let answer = async |captcha: &str| world.challenges.answer_captcha(aci, &asked.token, captcha).await;
    assert!(matches!(answer("malformed").await, Err(AnswerError::Malformed)));
    assert!(matches!(answer(&"x".repeat(20_000)).await, Err(AnswerError::Malformed)));
    assert!(matches!(answer("unavailable").await, Err(AnswerError::CaptchaUnavailable(_))));
    assert_eq!(answer("right").await.unwrap(), Verdict::Accepted);
}

#[tokio::test]
async fn a_push_challenge_goes_to_the_primary_and_is_answered_once() {
    let world = World::new();
    let aci = sender(&world).await;
    assert!(matches!(world.challenges.request_push(aci).await, Err(RequestPushError::NoPushToken)));
    give_push_token(&world, aci).await;
    used_up(&world, aci);
    let challenge = pushed(&world, aci).await;
    world.challenges.request_push(aci).await.unwrap();
    {
        let pushes = world.outside.pushes.lock();
        assert_eq!(pushes.len(), 1, "one at a time");
        assert_eq!(
            (&pushes[0].to, pushes[0].token.as_str()),
            (&PushChallengeTo::Device(DeviceAddress { aci, device_id: DeviceId::PRIMARY }), "token")
        );
    }
    assert_eq!(world.challenges.answer_push(aci, &"0".repeat(32)).unwrap(), Verdict::Rejected);
    assert!(world.challenges.admit(aci).is_err());
    assert_eq!(world.challenges.answer_push(aci, &challenge).unwrap(), Verdict::Accepted);
    world.challenges.admit(aci).unwrap();
    assert_eq!(world.challenges.answer_push(aci, &challenge).unwrap(), Verdict::Rejected);
}

#[tokio::test]
async fn a_push_challenge_is_good_for_five_minutes() {
    let world = World::new();
    let aci = sender(&world).await;
    give_push_token(&world, aci).await;
    let first = pushed(&world, aci).await;
    world.clock.advance(Duration::from_mins(5) + Duration::from_millis(1));
    assert_eq!(world.challenges.answer_push(aci, &first).unwrap(), Verdict::Rejected);
    let second = pushed(&world, aci).await;
    assert_ne!(first, second);
    assert_eq!(world.challenges.answer_push(aci, &second).unwrap(), Verdict::Accepted);
}

#[tokio::test]
async fn a_push_that_was_not_delivered_may_be_asked_for_again() {
    let world = World::new();
    let aci = sender(&world).await;
    give_push_token(&world, aci).await;
    world.outside.provider_fails.store(true, SeqCst);
    assert!(matches!(world.challenges.request_push(aci).await, Err(RequestPushError::Undelivered(_))));
    world.outside.provider_fails.store(false, SeqCst);
    let challenge = pushed(&world, aci).await;
    assert_eq!(world.challenges.answer_push(aci, &challenge).unwrap(), Verdict::Accepted);
}

#[tokio::test]
async fn answers_are_limited_and_what_is_used_up_is_not_offered() {
    let world = World::new();
    let aci = sender(&world).await;
    give_push_token(&world, aci).await;
    // Ten attempts of each kind.
    for _ in 0..10 {
        assert_eq!(world.challenges.answer_captcha(aci, "x", "right").await.unwrap(), Verdict::Rejected);
    }
    let limited = world.challenges.answer_captcha(aci, "x", "right").await;
    assert!(matches!(limited, Err(AnswerError::RateLimited(_))));
    assert_eq!(used_up(&world, aci).options, [ChallengeKind::Push]);
    // Two right answers, of whatever kind, in twelve hours.
    for _ in 0..2 {
        let challenge = pushed(&world, aci).await;
        assert_eq!(world.challenges.answer_push(aci, &challenge).unwrap(), Verdict::Accepted);
    }
    assert!(used_up(&world, aci).options.is_empty());
    assert!(matches!(world.challenges.request_push(aci).await, Err(RequestPushError::NotPermitted)));
}

#[tokio::test]
async fn without_a_way_to_answer_nobody_is_asked() {
    let world = World::new();
    let aci = sender(&world).await;
    let off = world.no_challenges();
    assert!((0..2 * CHALLENGE_LIMIT.size).all(|_| off.admit(aci).is_ok()));
    assert!(matches!(off.request_push(aci).await, Err(RequestPushError::NoPushToken)));
    assert_eq!(off.answer_push(aci, "x").unwrap(), Verdict::Accepted);
    assert_eq!(off.answer_captcha(aci, "x", "wrong").await.unwrap(), Verdict::Accepted);
}
