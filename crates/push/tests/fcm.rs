//! Google's service against a stand-in with its token endpoint.

mod support;

use std::{sync::Arc, time::Duration};

use push::{Challenge, Outcome, provider::ChallengeSecret};
use serde_json::json;
use support::{World, device, eventually, fcm_token};
use testkit::push::FcmStandIn;

#[tokio::test]
async fn wake_ups_and_challenges_are_what_google_takes() {
    let google = FcmStandIn::start().await.unwrap();
    let world = World::fcm(&google);
    world.give(device(1), fcm_token("one"));
    assert_eq!(world.push.wake(device(1), true).await, Outcome::Told);
    assert_eq!(world.push.wake(device(1), false).await, Outcome::Told);
    let secret = ChallengeSecret::new("0123");
    world.push.challenge(&fcm_token("two"), Challenge::RateLimit, secret.clone()).await.unwrap();
    world.push.challenge(&fcm_token("two"), Challenge::Registration, secret).await.unwrap();
    let taken: Vec<_> = google.taken().into_iter().map(|push| (push.token, push.high, push.data)).collect();
    let expected = [
        ("one", true, json!({"newMessageAlert": ""})),
        ("one", false, json!({"newMessageAlert": ""})),
        ("two", true, json!({"rateLimitChallenge": "0123"})),
        ("two", true, json!({"challenge": "0123"})),
    ];
    assert_eq!(taken, expected.map(|(token, high, data)| (token.to_owned(), high, data)));
    assert_eq!((google.refused(), google.granted(), google.server().connections()), (vec![], 1, 1));
}

fn wake_many(world: &World, devices: std::ops::Range<u128>) -> Vec<tokio::task::JoinHandle<Outcome>> {
    devices
        .map(|number| {
            world.give(device(number), fcm_token(&number.to_string()));
            let push = Arc::clone(&world.push);
            tokio::spawn(async move { push.wake(device(number), true).await })
        })
        .collect()
}

#[tokio::test]
async fn access_is_asked_for_once_and_renewed_before_it_ends() {
    let google = FcmStandIn::start().await.unwrap();
    let world = World::fcm(&google);
    for wake in wake_many(&world, 0..200) {
        assert_eq!(wake.await.unwrap(), Outcome::Told);
    }
    assert_eq!((google.count(), google.granted()), (200, 1));
    world.clock.advance(Duration::from_mins(54));
    assert_eq!(world.push.wake(device(1), true).await, Outcome::Told);
    assert_eq!(google.granted(), 1);
    world.clock.advance(Duration::from_mins(2));
    for wake in wake_many(&world, 0..200) {
        assert_eq!(wake.await.unwrap(), Outcome::Told);
    }
    // The stand-in judges the time by its own clock; all it is asked is how often it was asked.
    assert!(google.granted() <= 2, "{}", google.granted());
}

#[tokio::test]
async fn access_that_is_taken_back_is_asked_for_again_at_once() {
    let google = FcmStandIn::start().await.unwrap();
    let world = World::fcm(&google);
    world.give(device(1), fcm_token("one"));
    assert_eq!(world.push.wake(device(1), true).await, Outcome::Told);
    google.revoke_access();
    assert_eq!(world.push.wake(device(1), true).await, Outcome::Told);
    assert_eq!(google.granted(), 2);
}

#[tokio::test]
async fn an_account_that_is_refused_is_left_alone() {
    let google = FcmStandIn::start().await.unwrap();
    let world = World::fcm(&google);
    google.refuse_access(Some(400));
    for wake in wake_many(&world, 0..50) {
        assert!(matches!(wake.await.unwrap(), Outcome::Failed { .. }));
    }
    google.refuse_access(None);
    assert!(matches!(world.push.wake(device(1), true).await, Outcome::Failed { retry_after: Some(_) }));
    assert_eq!((google.granted(), google.count()), (0, 0));
}

#[tokio::test]
async fn tokens_that_reach_nobody_are_removed_and_others_stay() {
    let google = FcmStandIn::start().await.unwrap();
    let world = World::fcm(&google);
    let slower = |seconds| Outcome::Failed { retry_after: Some(Duration::from_secs(seconds)) };
    for (number, status, code, retry_after, outcome) in [
        (1, 404, "UNREGISTERED", None, Outcome::Unreachable),
        (2, 403, "SENDER_ID_MISMATCH", None, Outcome::Unreachable),
        (3, 400, "INVALID_ARGUMENT", None, slower(600)),
        (4, 429, "QUOTA_EXCEEDED", Some(17), slower(17)),
        (5, 500, "INTERNAL", None, Outcome::Failed { retry_after: None }),
    ] {
        world.give(device(number), fcm_token(&number.to_string()));
        google.answer(&number.to_string(), status, code, retry_after);
        assert_eq!(world.push.wake(device(number), true).await, outcome, "{code}");
        assert_eq!(world.targets.has(device(number)), outcome != Outcome::Unreachable, "{code}");
    }
    assert_eq!(world.metrics.removed.get(), 2);
}

#[tokio::test]
async fn a_token_that_was_changed_meanwhile_stays() {
    let google = FcmStandIn::start().await.unwrap();
    let world = World::fcm(&google);
    world.give(device(1), fcm_token("old"));
    google.answer("old", 404, "UNREGISTERED", None);
    google.server().answer_after(Duration::from_millis(300));
    let push = Arc::clone(&world.push);
    let wake = tokio::spawn(async move { push.wake(device(1), true).await });
    eventually("the push is under way", || google.server().under_way_max() > 0).await;
    world.give(device(1), fcm_token("new"));
    assert_eq!(wake.await.unwrap(), Outcome::Failed { retry_after: None });
    assert!(world.targets.has(device(1)));
}

#[tokio::test]
async fn a_wait_that_google_asks_for_is_kept_for_all() {
    let google = FcmStandIn::start().await.unwrap();
    let world = World::fcm(&google);
    world.give(device(1), fcm_token("one"));
    google.answer("", 503, "UNAVAILABLE", Some(120));
    assert!(matches!(world.push.wake(device(1), true).await, Outcome::Failed { retry_after: Some(_) }));
    google.answer_normally();
    let Outcome::Failed { retry_after: Some(wait) } = world.push.wake(device(1), true).await else {
        panic!("Google was asked before its time");
    };
    assert!(wait > Duration::from_secs(110) && wait <= Duration::from_mins(2), "{wait:?}");
    assert_eq!(google.count(), 0);
}
