//! Web Push against a push server whose devices decrypt what they get.

mod support;

use std::time::Duration;

use outgoing::AddressPolicy;
use protocol::{PushService, WebPushSubscription};
use push::{
    Challenge, Outcome, RegisterError,
    provider::ChallengeSecret,
    web_push::{EndpointPolicy, EndpointRefused, SubscriptionRefused},
};
use serde_json::json;
use support::{World, device, here, subscription};
use testkit::push::WebPushStandIn;

#[tokio::test]
async fn devices_can_read_what_they_get_and_others_cannot_tell_it_apart() {
    let server = WebPushStandIn::start().await.unwrap();
    let world = World::web_push(&server, here());
    world.push.register(device(1), subscription(&server, "one").to_token()).await.unwrap();
    assert_eq!(world.push.wake(device(1), true).await, Outcome::Told);
    assert_eq!(world.push.wake(device(1), false).await, Outcome::Told);
    let other = subscription(&server, "two").to_token();
    let secret = ChallengeSecret::new("0123456789abcdef0123456789abcdef");
    world.push.challenge(&other, Challenge::RateLimit, secret.clone()).await.unwrap();
    world.push.challenge(&other, Challenge::Registration, secret.clone()).await.unwrap();
    assert_eq!(server.refused(), [""; 0]);
    let taken = server.taken();
    let read: Vec<_> = taken
        .iter()
        .map(|message| {
            (message.name.as_str(), message.urgency.as_str(), message.topic.as_str(), &message.content)
        })
        .collect();
    let expected = [
        ("one", "high", "wake", json!({"urgent": true})),
        ("one", "normal", "wake", json!({"urgent": false})),
        ("two", "high", "", json!({"rateLimitChallenge": secret.as_str()})),
        ("two", "high", "", json!({"challenge": secret.as_str()})),
    ];
    assert_eq!(
        read,
        expected.each_ref().map(|(name, urgency, topic, content)| (*name, *urgency, *topic, content))
    );
    assert!(taken.iter().all(|message| message.len == taken[0].len), "their length says nothing");
    assert_eq!(server.signers().len(), 1);
}

#[tokio::test]
async fn subscriptions_that_ended_are_removed_and_others_stay() {
    let server = WebPushStandIn::start().await.unwrap();
    let world = World::web_push(&server, here());
    let wait = |seconds| Outcome::Failed { retry_after: Some(Duration::from_secs(seconds)) };
    for (number, status, retry_after, outcome) in [
        (1, 404, None, Outcome::Unreachable),
        (2, 410, None, Outcome::Unreachable),
        (3, 429, Some(30), wait(30)),
        (4, 302, None, wait(600)),
        (5, 401, None, wait(600)),
        (6, 413, None, wait(600)),
        (7, 500, None, Outcome::Failed { retry_after: None }),
    ] {
        let name = number.to_string();
        world.push.register(device(number), subscription(&server, &name).to_token()).await.unwrap();
        server.answer(&name, status, retry_after);
        assert_eq!(world.push.wake(device(number), true).await, outcome, "{status}");
        assert_eq!(world.targets.has(device(number)), outcome != Outcome::Unreachable, "{status}");
    }
    assert!(
        !world.push.unregister(device(3), Some(PushService::Fcm)).await.unwrap(),
        "it is of another service"
    );
    assert!(world.push.unregister(device(3), Some(PushService::WebPush)).await.unwrap());
    assert!(!world.push.unregister(device(3), None).await.unwrap());
    assert!(world.push.unregister(device(4), None).await.unwrap());
}

#[tokio::test]
async fn a_server_that_fails_closes_no_door_but_its_own() {
    let (bad, good) = (WebPushStandIn::start().await.unwrap(), WebPushStandIn::start().await.unwrap());
    let mut roots = support::roots(bad.server());
    roots.extend(support::roots(good.server()));
    let world = World::new(|clock| {
        let settings = push::web_push::WebPushSettings {
            key: push::web_push::VapidKey::generate(&protocol::ambient::SystemEntropy),
            contact: None,
            endpoints: here(),
            extra_roots: roots,
        };
        let entropy = std::sync::Arc::new(protocol::ambient::SystemEntropy);
        let web_push = push::web_push::WebPush::new(settings, std::sync::Arc::clone(clock), entropy).unwrap();
        push::Providers { web_push: Some(std::sync::Arc::new(web_push)), ..push::Providers::default() }
    });
    world.push.register(device(1), subscription(&bad, "one").to_token()).await.unwrap();
    world.push.register(device(2), subscription(&good, "two").to_token()).await.unwrap();
    bad.answer("", 503, Some(60));
    for _ in 0..5 {
        assert!(matches!(world.push.wake(device(1), true).await, Outcome::Failed { .. }));
        assert_eq!(world.push.wake(device(2), true).await, Outcome::Told);
    }
    assert_eq!(world.metrics.postponed.get(), 4, "it is left alone after it has asked for that");
}

#[tokio::test]
async fn nothing_is_sent_into_private_networks() {
    let server = WebPushStandIn::start().await.unwrap();
    let public = EndpointPolicy { hosts: Vec::new(), addresses: AddressPolicy::public() };
    let world = World::web_push(&server, public);
    let (_, subscriber) = server.subscribe("one").unwrap();
    let at = |host: &str| {
        let endpoint = format!("https://{host}:{}/push/one", server.server().port());
        WebPushSubscription::new(&endpoint, &subscriber.p256dh(), &subscriber.auth()).unwrap()
    };
    for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"] {
        let refused = world.push.register(device(1), at(host).to_token()).await;
        let why = SubscriptionRefused::Endpoint(EndpointRefused::Address);
        assert!(matches!(refused, Err(RegisterError::Refused(found)) if found == why), "{host}");
    }
    // What a name, or another way to write a number, stands for shows when a connection is to be made.
    for host in ["localhost", "0x7f.0.0.1", "2130706433"] {
        world.push.register(device(1), at(host).to_token()).await.unwrap();
        assert!(matches!(world.push.wake(device(1), true).await, Outcome::Failed { .. }), "{host}");
    }
    // One that came into the store in another way is refused as well.
    world.give(device(2), at("127.0.0.1").to_token());
    assert!(matches!(world.push.wake(device(2), true).await, Outcome::Failed { .. }));
    assert_eq!((server.taken().len(), server.server().connections()), (0, 0));
}

#[tokio::test]
async fn only_listed_servers_are_used() {
    let server = WebPushStandIn::start().await.unwrap();
    let listed = EndpointPolicy { hosts: vec!["push.example.org".to_owned()], ..here() };
    let world = World::web_push(&server, listed);
    let refused = world.push.register(device(1), subscription(&server, "one").to_token()).await;
    let why = SubscriptionRefused::Endpoint(EndpointRefused::Host);
    assert!(matches!(refused, Err(RegisterError::Refused(found)) if found == why));
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let server = WebPushStandIn::start().await.unwrap();
    let world = World::web_push(&server, here());
    let key = protocol::base64::encode_url([[4].as_slice(), &[7; 64]].concat());
    let (endpoint, subscriber) = server.subscribe("one").unwrap();
    let bad = WebPushSubscription::new(&endpoint, &key, &subscriber.auth()).unwrap();
    let refused = world.push.register(device(1), bad.to_token()).await;
    assert!(matches!(refused, Err(RegisterError::Refused(SubscriptionRefused::Key))));
}
