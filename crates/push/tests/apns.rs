//! Apple's service against a stand-in that checks what Apple checks.

mod support;

use std::{sync::Arc, time::Duration};

use protocol::ambient::{Clock as _, Timestamp};
use push::{Challenge, Outcome, provider::ChallengeSecret};
use serde_json::json;
use support::{World, apns_token, device, eventually};
use testkit::push::ApnsStandIn;

#[tokio::test]
async fn wake_ups_and_challenges_are_what_apple_takes() {
    let apple = ApnsStandIn::start().await.unwrap();
    let world = World::apns(&apple);
    world.give(device(1), apns_token("00aa"));
    assert_eq!(world.push.wake(device(1), true).await, Outcome::Told);
    assert_eq!(world.push.wake(device(1), false).await, Outcome::Told);
    let secret = ChallengeSecret::new("0123456789abcdef");
    for challenge in [Challenge::RateLimit, Challenge::Registration] {
        world.push.challenge(&apns_token("00bb"), challenge, secret.clone()).await.unwrap();
    }
    assert_eq!(apple.refused(), [""; 0]);
    let taken: Vec<_> =
        apple.taken().into_iter().map(|push| (push.token, push.push_type, push.payload)).collect();
    let alert =
        json!({"aps": {"sound": "default", "mutable-content": 1, "alert": {"loc-key": "APN_Message"}}});
    let silent = |key: &str| json!({"aps": {"content-available": 1}, key: "0123456789abcdef"});
    let expected = [
        ("00aa", "alert", alert),
        ("00aa", "background", json!({"aps": {"content-available": 1}})),
        ("00bb", "background", silent("rateLimitChallenge")),
        ("00bb", "background", silent("challenge")),
    ];
    assert_eq!(taken, expected.map(|(token, kind, payload)| (token.to_owned(), kind.to_owned(), payload)));
    assert_eq!(world.push.wake(device(2), true).await, Outcome::Unreachable, "it has no token");
}

#[tokio::test]
async fn one_connection_and_one_token_serve_many_pushes() {
    let apple = ApnsStandIn::start().await.unwrap();
    let world = World::apns(&apple);
    let wakes = (0..500).map(|number| {
        world.give(device(number), apns_token(&format!("{number:04}")));
        let push = Arc::clone(&world.push);
        tokio::spawn(async move { push.wake(device(number), true).await })
    });
    for wake in wakes.collect::<Vec<_>>() {
        // Who finds no room comes again.
        assert!(matches!(wake.await.unwrap(), Outcome::Told | Outcome::Failed { retry_after: None }));
    }
    assert!(apple.count() >= 256, "{}", apple.count());
    assert_eq!((apple.server().connections(), apple.refused()), (1, vec![]));
    assert!(apple.server().under_way_max() <= 256);
}

#[tokio::test]
async fn our_token_is_renewed_in_time_and_not_too_often() {
    let apple = ApnsStandIn::start().await.unwrap();
    let world = World::apns(&apple);
    world.give(device(1), apns_token("00aa"));
    assert_eq!(world.push.wake(device(1), true).await, Outcome::Told);
    // Apple takes it for expired though it is young: it is not renewed before it may be.
    apple.expire_tokens();
    assert!(matches!(world.push.wake(device(1), true).await, Outcome::Failed { .. }));
    world.clock.advance(Duration::from_mins(19));
    assert!(matches!(world.push.wake(device(1), true).await, Outcome::Failed { .. }));
    world.clock.advance(Duration::from_mins(2));
    // The stand-in's clock stands where it stood: a token of 21 minutes later is from the future, so it is told
    // apart by that it was made anew at all.
    assert!(matches!(world.push.wake(device(1), true).await, Outcome::Failed { .. }));
    let reasons = apple.refused();
    assert_eq!(reasons[..2], ["403 ExpiredProviderToken", "403 ExpiredProviderToken"]);
    assert_eq!(reasons[2..], ["403 InvalidProviderToken"]);
}

#[tokio::test]
async fn tokens_that_reach_nobody_are_removed_unless_they_are_newer() {
    let apple = ApnsStandIn::start().await.unwrap();
    let world = World::apns(&apple);
    let now = world.clock.now().as_millis();
    for (number, status, body, stays) in [
        (1, 410, json!({"reason": "Unregistered", "timestamp": now + 1000}), false),
        (2, 410, json!({"reason": "Unregistered", "timestamp": now - 60_000}), true),
        (3, 410, json!({"reason": "ExpiredToken"}), false),
        (4, 400, json!({"reason": "BadDeviceToken"}), false),
        (5, 400, json!({"reason": "DeviceTokenNotForTopic"}), false),
        (6, 400, json!({"reason": "BadTopic"}), true),
        (7, 413, json!({"reason": "PayloadTooLarge"}), true),
        (8, 429, json!({"reason": "TooManyRequests"}), true),
    ] {
        let token = format!("{number:04}");
        world.give(device(number), apns_token(&token));
        apple.answer(&token, status, body.clone());
        let outcome = world.push.wake(device(number), true).await;
        assert_eq!(world.targets.has(device(number)), stays, "{body}");
        let expected =
            if stays { matches!(outcome, Outcome::Failed { .. }) } else { outcome == Outcome::Unreachable };
        assert!(expected, "{body}: {outcome:?}");
    }
    assert_eq!(world.metrics.removed.get(), 4);
}

#[tokio::test]
async fn a_token_that_was_changed_meanwhile_stays() {
    let apple = ApnsStandIn::start().await.unwrap();
    let world = World::apns(&apple);
    world.give(device(1), apns_token("0001"));
    apple.answer("0001", 410, json!({"reason": "Unregistered"}));
    apple.server().answer_after(Duration::from_millis(300));
    let push = Arc::clone(&world.push);
    let wake = tokio::spawn(async move { push.wake(device(1), true).await });
    eventually("the push is under way", || apple.server().under_way_max() > 0).await;
    world.give(device(1), apns_token("0002"));
    assert_eq!(wake.await.unwrap(), Outcome::Failed { retry_after: None }, "it is tried again");
    apple.server().answer_after(Duration::ZERO);
    assert_eq!(world.push.wake(device(1), true).await, Outcome::Told);
    assert_eq!(apple.taken()[0].token, "0002");
    // The same token given anew counts as changed too.
    apple.answer("0002", 410, json!({"reason": "Unregistered"}));
    world.targets.give(device(1), apns_token("0002"), Timestamp::from_millis(u64::MAX));
    assert_eq!(world.push.wake(device(1), true).await, Outcome::Unreachable);
}

#[tokio::test]
async fn connections_that_end_cost_no_push() {
    let apple = ApnsStandIn::start().await.unwrap();
    let world = World::apns(&apple);
    apple.server().answer_after(Duration::from_millis(100));
    for round in 0..3_u128 {
        let wakes: Vec<_> = (0..100)
            .map(|number| {
                let device = device(round * 1000 + number);
                world.give(device, apns_token(&format!("{round}{number:04}")));
                let push = Arc::clone(&world.push);
                tokio::spawn(async move { push.wake(device, true).await })
            })
            .collect();
        eventually("pushes are under way", || apple.count() > usize::try_from(round).unwrap() * 100 + 50)
            .await;
        // In the middle: told to go, and in the last round cut off.
        if round < 2 {
            apple.server().go_away();
        } else {
            apple.server().cut();
        }
        for wake in wakes {
            assert_eq!(wake.await.unwrap(), Outcome::Told);
        }
    }
    assert!(apple.server().connections() >= 3, "{}", apple.server().connections());
    let mut woken: Vec<_> = apple.taken().into_iter().map(|push| push.token).collect();
    woken.sort();
    woken.dedup();
    assert_eq!((woken.len(), apple.refused()), (300, vec![]));
}

#[tokio::test]
async fn wrong_credentials_are_not_shown_again_and_again() {
    let apple = ApnsStandIn::start().await.unwrap();
    let world = World::apns(&apple);
    world.give(device(1), apns_token("0001"));
    apple.answer("", 403, json!({"reason": "InvalidProviderToken"}));
    let five_minutes = Some(Duration::from_mins(5));
    assert_eq!(world.push.wake(device(1), true).await, Outcome::Failed { retry_after: five_minutes });
    apple.answer_normally();
    for _ in 0..10 {
        assert!(matches!(world.push.wake(device(1), true).await, Outcome::Failed { retry_after: Some(_) }));
    }
    assert_eq!((apple.count(), world.metrics.postponed.get()), (0, 10));
    assert!(world.targets.has(device(1)));
}
