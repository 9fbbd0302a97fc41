//! Changes of number, from the outside.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use auth::{
    AuthenticateError, Authenticated,
    change_number::{ChangeNumberError, ChangeNumberRequest},
    credentials::BasicCredentials,
    linking::LinkRequest,
    settings::AccountIdentity,
};
use serde_json::{Value, json};

use crate::support::{NUMBER, World};

const OTHER: &str = "+15550100002";
const NEW: &str = "+15550100003";

/// A primary with registration id 1, and a device that it has linked: registration id 3.
async fn two_devices(world: &World) -> Authenticated {
    let recovery = world.random_text();
    let aci =
        world.registered(NUMBER, "one", &json!({"attributes.recoveryPassword": recovery})).await.identity.aci;
    let primary = world.sign_in(aci, "one").await.unwrap();
    let code = world.linking.new_code(&primary).await.unwrap();
    let request: LinkRequest = serde_json::from_value(world.link_body(&code, &json!({}))).unwrap();
    let password = BasicCredentials::from_text("whoever:two").unwrap();
    world.linking.link(&password, request).await.unwrap();
    primary
}

/// The body of a change to that number, with fields changed.
fn body(world: &World, number: &str, changes: &Value) -> Value {
    let (identity, keys) = world.identity_with_keys(2);
    let by_device = |name: &str| json!({"1": keys[0][name], "2": keys[1][name]});
    let mut body = json!({
        "number": number,
        "pniIdentityKey": identity,
        "deviceMessages": [
            {"type": 1, "destinationDeviceId": 2, "destinationRegistrationId": 3, "content": "AAAA"},
        ],
        "devicePniSignedPrekeys": by_device("pniSignedPreKey"),
        "devicePniPqLastResortPrekeys": by_device("pniPqLastResortPreKey"),
        "pniRegistrationIds": {"1": 11, "2": 12},
    });
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

async fn change(
    world: &World,
    caller: &Authenticated,
    number: &str,
    changes: &Value,
) -> Result<AccountIdentity, ChangeNumberError> {
    let request: ChangeNumberRequest = serde_json::from_value(body(world, number, changes)).unwrap();
    world.change_number.change(caller, request).await
}

#[tokio::test]
async fn the_other_device_is_told_before_the_answer() {
    let world = World::new();
    let caller = two_devices(&world).await;
    let session = world.verified_session(NEW).await;
    let identity = change(&world, &caller, NEW, &json!({"sessionId": session})).await.unwrap();
    assert_eq!((identity.aci, identity.number.unwrap().as_str()), (caller.aci, NEW));
    assert_ne!(identity.pni, caller.pni);
    let notices = world.outside.notices.lock().await.clone();
    let [notice] = &notices[..] else { panic!("{} notices", notices.len()) };
    assert_eq!((notice.device.device_id.get(), Some(notice.pni)), (2, identity.pni));
    assert_eq!((notice.content.source, &notice.content.ciphertext[..]), (1, &[0; 3][..]));
    assert_eq!(world.accounts.present_pni(&caller).await.unwrap(), identity.pni);
    assert_eq!(world.sign_in(caller.aci, "one").await.unwrap().pni, identity.pni);
    world.change_number.finish().await.unwrap();
    world.clock.advance(Duration::from_hours(1));
    world.change_number.finish().await.unwrap();
    assert_eq!(world.outside.notices.lock().await.len(), 1, "once");
    assert!(world.outside.disconnected.lock().is_empty());
}

#[tokio::test]
async fn a_device_that_could_not_be_told_is_told_later() {
    let world = World::new();
    let caller = two_devices(&world).await;
    world.outside.queues_fail.store(true, SeqCst);
    let session = world.verified_session(NEW).await;
    change(&world, &caller, NEW, &json!({"sessionId": session})).await.unwrap();
    world.outside.queues_fail.store(false, SeqCst);
    world.change_number.finish().await.unwrap();
    assert!(world.outside.notices.lock().await.is_empty(), "it may still be under way");
    world.clock.advance(Duration::from_mins(2));
    world.change_number.finish().await.unwrap();
    world.change_number.finish().await.unwrap();
    assert_eq!(world.outside.notices.lock().await.len(), 1);
}

#[tokio::test]
async fn the_number_must_be_proved_unless_it_is_held() {
    let world = World::new();
    let caller = two_devices(&world).await;
    let unproved = change(&world, &caller, NEW, &json!({})).await;
    assert!(matches!(unproved, Err(ChangeNumberError::Incomplete)));
    let unverified = world.verification.create(NEW, None).await.unwrap().id;
    let outcome = change(&world, &caller, NEW, &json!({"sessionId": unverified})).await;
    assert!(matches!(outcome, Err(ChangeNumberError::NotVerified)));
    let elsewhere = world.verified_session(OTHER).await;
    for session in [elsewhere.as_str(), "AAAA"] {
        let outcome = change(&world, &caller, NEW, &json!({"sessionId": session})).await;
        assert!(matches!(outcome, Err(ChangeNumberError::WrongSession)));
    }
    let outcome = change(&world, &caller, NEW, &json!({"recoveryPassword": world.random_text()})).await;
    assert!(matches!(outcome, Err(ChangeNumberError::WrongRecoveryPassword)));
    let same = change(&world, &caller, NUMBER, &json!({})).await.unwrap();
    assert_eq!(same.pni, caller.pni);
    let linked = Authenticated { device_id: 2.try_into().unwrap(), ..caller };
    assert!(matches!(change(&world, &linked, NUMBER, &json!({})).await, Err(ChangeNumberError::NotPrimary)));
    let gone = Authenticated { aci: protocol::Aci(uuid::Uuid::nil()), ..caller };
    assert!(matches!(change(&world, &gone, NUMBER, &json!({})).await, Err(ChangeNumberError::Gone)));
}

#[tokio::test]
async fn every_device_must_be_thought_of() {
    let world = World::new();
    let caller = two_devices(&world).await;
    let outcome = async |changes: Value| change(&world, &caller, NUMBER, &changes).await;
    let to = |device: u8, registration_id: u32| json!({"type": 1, "destinationDeviceId": device, "destinationRegistrationId": registration_id, "content": "AA=="});
    for (changes, missing, extra) in [
        (json!({"deviceMessages": []}), vec![2], vec![]),
        (json!({"deviceMessages": [to(2, 3), to(3, 3)]}), vec![], vec![3]),
        (json!({"deviceMessages": [to(2, 3), to(1, 1)]}), vec![], vec![1]),
        (json!({"pniRegistrationIds": {"1": 11}}), vec![2], vec![]),
        (json!({"pniRegistrationIds": {"1": 11, "2": 12, "200": 12}}), vec![], vec![200]),
    ] {
        let Err(ChangeNumberError::MismatchedDevices(mismatch)) = outcome(changes).await else {
            panic!("the devices do not match")
        };
        assert_eq!(mismatch.missing.into_iter().collect::<Vec<_>>(), missing);
        assert_eq!(mismatch.extra.into_iter().collect::<Vec<_>>(), extra);
    }
    let Err(ChangeNumberError::StaleDevices(stale)) = outcome(json!({"deviceMessages": [to(2, 4)]})).await
    else {
        panic!("the device was reinstalled")
    };
    assert_eq!(stale.into_iter().collect::<Vec<_>>(), [2]);
    let twice = outcome(json!({"deviceMessages": [to(2, 3), to(2, 3)]})).await;
    assert!(matches!(twice, Err(ChangeNumberError::Incomplete)));
    let unsigned = outcome(json!({"pniIdentityKey": world.identity_with_keys(0).0})).await;
    assert!(matches!(unsigned, Err(ChangeNumberError::WrongSignature)));
    assert!(world.outside.notices.lock().await.is_empty());
    outcome(json!({})).await.unwrap();
}

#[tokio::test]
async fn a_lock_guards_the_number_of_another_account() {
    let world = World::new();
    let (lock, wrong) = ("a".repeat(64), "b".repeat(64));
    let holder =
        world.registered(OTHER, "three", &json!({"attributes.registrationLock": lock})).await.identity;
    let caller = two_devices(&world).await;
    let session = world.verified_session(OTHER).await;
    let attempt = async |token: Option<&str>| {
        change(&world, &caller, OTHER, &json!({"sessionId": session, "reglock": token})).await
    };
    for token in [None, Some(wrong.as_str())] {
        assert!(matches!(attempt(token).await, Err(ChangeNumberError::Locked { .. })));
    }
    assert!(matches!(world.sign_in(holder.aci, "three").await, Err(AuthenticateError::Refused)));
    let identity = attempt(Some(&lock)).await.unwrap();
    assert_eq!((identity.aci, identity.pni), (caller.aci, holder.pni));
    assert!(!world.accounts.exists(holder.aci.into()).await.unwrap());
    assert!(world.outside.cleared.lock().await.iter().any(|clear| clear.aci == holder.aci));
    assert_eq!(world.outside.disconnected.lock().last(), Some(&holder.aci));
}

#[tokio::test]
async fn guesses_of_the_lock_of_another_account_are_limited() {
    let world = World::new();
    let lock = json!({"attributes.registrationLock": "a".repeat(64)});
    world.registered(OTHER, "three", &lock).await;
    let caller = two_devices(&world).await;
    let session = world.verified_session(OTHER).await;
    let guess = json!({"sessionId": session, "reglock": "b".repeat(64)});
    for _ in 0..10 {
        assert!(matches!(
            change(&world, &caller, OTHER, &guess).await,
            Err(ChangeNumberError::Locked { .. })
        ));
    }
    assert!(matches!(change(&world, &caller, OTHER, &guess).await, Err(ChangeNumberError::RateLimited(_))));
}
