//! What every [`PushTargets`] and [`WakeLog`] must do. The former stands on accounts that the caller has made.

#![expect(clippy::expect_used, reason = "a suite for tests: an engine that fails is told where")]

use std::sync::Arc;

use auth::store::{AccountChange, AccountStore, ChangeOutcome, DeviceChange, PushTokenChange};
use bytes::Bytes;
use messages::{Append, Batch, Position, QueueStore};
use protocol::{
    Aci, DeviceAddress, DeviceId, PushService, PushToken, WebPushSubscription, ambient::Timestamp,
};
use push::{PushTarget, PushTargets, Unwoken, WakeLog};
use uuid::Uuid;

const KEY: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";

fn token(text: &str) -> PushToken {
    PushToken::new(PushService::Apns, text.to_owned()).expect("a token")
}

fn target(token: PushToken, registered: u64) -> PushTarget {
    PushTarget { token, registered: Timestamp::from_millis(registered) }
}

/// Where a push reaches that device of a registered account, which has no token yet that matters.
pub async fn targets(targets: &dyn PushTargets, accounts: &dyn AccountStore, device: DeviceAddress) {
    let found = async || targets.target(device).await.expect("the store reads");
    let change = async |push_token| {
        let change = DeviceChange { push_token, ..DeviceChange::default() };
        let outcome = accounts.change(device, AccountChange::default(), change).await;
        assert_eq!(outcome.expect("the store changes"), ChangeOutcome::Done);
    };
    change(PushTokenChange::Set(token("one"), Timestamp::from_millis(10))).await;
    assert_eq!(found().await, Some(target(token("one"), 10)));
    change(PushTokenChange::Keep).await;
    let remove = async |target| targets.remove(device, target).await.expect("the store removes");
    assert!(!remove(target(token("two"), 10)).await, "another token");
    change(PushTokenChange::Set(token("one"), Timestamp::from_millis(20))).await;
    assert!(!remove(target(token("one"), 10)).await, "the same token, given again since");
    assert!(remove(target(token("one"), 20)).await);
    assert_eq!(found().await, None);
    assert!(!remove(target(token("one"), 20)).await);

    let subscription = WebPushSubscription::new("https://push.example.net/1", KEY, "BTBZMqHH6r4Tts7J_aSIgg");
    let web_push = target(subscription.expect("a subscription").to_token(), 30);
    assert!(targets.set(device, web_push.clone()).await.expect("the store sets"));
    change(PushTokenChange::ForgetPlatform).await;
    assert_eq!(found().await, Some(web_push), "it is not the app's own to give up");
    change(PushTokenChange::Set(token("three"), Timestamp::from_millis(40))).await;
    change(PushTokenChange::ForgetPlatform).await;
    assert_eq!(found().await, None);

    let clear = async |only| targets.clear(device, only).await.expect("the store clears");
    assert!(!clear(None).await);
    change(PushTokenChange::Set(token("four"), Timestamp::from_millis(50))).await;
    assert!(!clear(Some(PushService::Fcm)).await, "of another service");
    assert!(clear(Some(PushService::Apns)).await);
    change(PushTokenChange::Set(token("five"), Timestamp::from_millis(60))).await;
    assert!(clear(None).await);
    assert_eq!(found().await, None);

    let nobody = DeviceAddress { aci: Aci(Uuid::from_u128(0xFFFF)), ..device };
    assert_eq!(targets.target(nobody).await.expect("the store reads"), None);
    let none = DeviceAddress { device_id: DeviceId::try_from(99).expect("an id"), ..device };
    for device in [nobody, none] {
        assert!(!targets.set(device, target(token("x"), 1)).await.expect("the store looks"));
        assert!(!targets.remove(device, target(token("x"), 1)).await.expect("the store looks"));
        assert!(!targets.clear(device, None).await.expect("the store looks"));
    }
}

fn device(aci: u128, id: u32) -> DeviceAddress {
    DeviceAddress { aci: Aci(Uuid::from_u128(aci)), device_id: DeviceId::try_from(id).expect("an id") }
}

/// Puts something into a device's queue at that millisecond.
async fn waiting(queue: &dyn QueueStore, device: DeviceAddress, millis: u64) {
    // No two envelopes have one position.
    let own = device.aci.0.as_u128() * 10 + u128::from(device.device_id.get());
    let position = Position(millis * 1000 + u64::try_from(own).expect("a small number"));
    let append = Append { device, position, envelope: Bytes::from_static(b"x").into() };
    queue.apply(Batch { appends: vec![append], deletes: Vec::new() }).await.expect("the store appends");
}

/// Both of one engine and over the same queues, which are empty.
pub async fn wake_log(log: Arc<dyn WakeLog>, queue: Arc<dyn QueueStore>) {
    let unwoken = async |after, limit| log.unwoken(after, limit).await.expect("the store reads");
    let note = async |device, at| {
        log.note(vec![(device, Timestamp::from_millis(at))]).await.expect("the store notes");
    };
    assert_eq!(unwoken(None, 10).await, Unwoken::default());
    let devices = [device(1, 1), device(1, 2), device(2, 1), device(3, 127)];
    for device in devices {
        waiting(&*queue, device, 100).await;
        waiting(&*queue, device, 200).await;
    }
    assert_eq!(unwoken(None, 10).await, Unwoken { devices: devices.to_vec(), next: None });

    let first = unwoken(None, 3).await;
    assert_eq!((&first.devices[..], first.next), (&devices[..3], Some(devices[2])));
    assert_eq!(unwoken(first.next, 3).await, Unwoken { devices: vec![devices[3]], next: None });

    note(devices[0], 200).await;
    note(devices[0], 150).await;
    note(devices[1], 199).await;
    note(devices[2], 1_000).await;
    let found = unwoken(None, 4).await;
    assert_eq!((&found.devices[..], found.next), (&[devices[1], devices[3]][..], Some(devices[3])));

    waiting(&*queue, devices[2], 1_001).await;
    assert!(unwoken(None, 10).await.devices.contains(&devices[2]), "something came after it was woken");
    queue.clear(devices[1].aci, None, Position(u64::MAX >> 2)).await.expect("the store clears");
    assert_eq!(unwoken(None, 10).await.devices, [devices[2], devices[3]], "nothing waits for the others");

    let forget = async |moment, limit| {
        log.forget_before(Timestamp::from_millis(moment), limit).await.expect("the store forgets")
    };
    assert_eq!((forget(1_000, 1).await, forget(1_000, 10).await, forget(1_000, 10).await), (1, 1, 0));
    waiting(&*queue, devices[0], 150).await;
    assert!(unwoken(None, 10).await.devices.contains(&devices[0]), "it is not known when it was woken");
}
