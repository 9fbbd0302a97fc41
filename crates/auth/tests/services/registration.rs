//! Registration and its effects, from the outside.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use crate::support::{NUMBER, World};
use auth::{AuthenticateError, registration::RegisterError};
use serde_json::json;

#[tokio::test]
async fn a_new_number_gets_an_account_that_can_sign_in() {
    let world = World::new();
    let registered = world.registered(NUMBER, "one", &json!({})).await;
    assert!(!registered.reregistration && !registered.identity.storage_capable);
    let aci = registered.identity.aci;
    let caller = world.sign_in(aci, "one").await.unwrap();
    assert_eq!((caller.aci, caller.pni), (aci, registered.identity.pni));
    assert!(matches!(world.sign_in(aci, "two").await, Err(AuthenticateError::Refused)));
    let nobody = protocol::Aci(uuid::Uuid::nil());
    assert!(matches!(world.sign_in(nobody, "one").await, Err(AuthenticateError::Refused)));
    assert_eq!(world.accounts.identity(&caller).await.unwrap(), registered.identity);
    assert!(world.outside.disconnected.lock().is_empty());
}

#[tokio::test]
async fn registering_again_keeps_who_one_is_and_throws_the_old_device_out() {
    let world = World::new();
    let capable = json!({"attributes.capabilities": {"spqr": true, "storage": true}});
    let first = world.registered(NUMBER, "one", &capable).await.identity;
    let second = world.registered(NUMBER, "two", &json!({})).await;
    assert!(second.reregistration && second.identity.storage_capable, "as the account before was");
    assert_eq!((second.identity.aci, second.identity.pni), (first.aci, first.pni));
    assert!(matches!(world.sign_in(first.aci, "one").await, Err(AuthenticateError::Refused)));
    world.sign_in(first.aci, "two").await.unwrap();
    assert_eq!(*world.outside.disconnected.lock(), [first.aci]);
    assert_eq!(world.outside.cleared.lock().await.len(), 1);
}

#[tokio::test]
async fn the_same_request_again_is_harmless() {
    let world = World::new();
    let session = world.verified_session(NUMBER).await;
    let first = world.register(NUMBER, "one", &json!({"sessionId": session})).await.unwrap();
    let again = world.register(NUMBER, "one", &json!({"sessionId": session})).await.unwrap();
    assert_eq!(again.identity.aci, first.identity.aci);
    world.sign_in(first.identity.aci, "one").await.unwrap();
}

#[tokio::test]
async fn sessions_prove_their_own_number_and_only_when_verified() {
    let world = World::new();
    let unverified = world.verification.create(NUMBER, None).await.unwrap().id;
    let outcome = world.register(NUMBER, "p", &json!({"sessionId": unverified})).await;
    assert!(matches!(outcome, Err(RegisterError::NotVerified)));
    let verified = world.verified_session(NUMBER).await;
    for (user, session) in [("+15550100002", verified.as_str()), (NUMBER, "AAAA"), ("nobody", &verified)] {
        let outcome = world.register(user, "p", &json!({"sessionId": session})).await;
        assert!(matches!(outcome, Err(RegisterError::Mismatch)), "{user}");
    }
    world.clock.advance(Duration::from_hours(1));
    let outcome = world.register(NUMBER, "p", &json!({"sessionId": verified})).await;
    assert!(matches!(outcome, Err(RegisterError::Mismatch)), "the session has expired");
}

#[tokio::test]
async fn keys_and_capabilities_are_checked_before_anything_is_looked_up() {
    let world = World::new();
    let other = world.body(&json!({}));
    for key in ["aciSignedPreKey", "aciPqLastResortPreKey", "pniSignedPreKey", "pniPqLastResortPreKey"] {
        let outcome = world.register(NUMBER, "p", &json!({"sessionId": "x", key: other[key]})).await;
        assert!(matches!(outcome, Err(RegisterError::WrongSignature)), "{key}");
    }
    let old = world.register(NUMBER, "p", &json!({"sessionId": "x", "attributes.capabilities": {}})).await;
    assert!(matches!(old, Err(RegisterError::ClientTooOld)));
    let no_pni = json!({
        "sessionId": "x", "pniIdentityKey": null, "pniSignedPreKey": null, "pniPqLastResortPreKey": null,
        "attributes.pniRegistrationId": null,
    });
    assert!(matches!(world.register(NUMBER, "p", &no_pni).await, Err(RegisterError::IncompleteKeys)));
}

#[tokio::test]
async fn a_recovery_password_registers_until_somebody_proves_the_number() {
    let world = World::new();
    let (password, other) = (world.random_text(), world.random_text());
    let first = world.registered(NUMBER, "one", &json!({"attributes.recoveryPassword": password})).await;
    let by = |password: &str| json!({"recoveryPassword": password});
    let wrong = world.register(NUMBER, "two", &by(&other)).await;
    assert!(matches!(wrong, Err(RegisterError::WrongRecoveryPassword)));
    let second = world.register(NUMBER, "two", &by(&password)).await.unwrap();
    assert_eq!(second.identity.aci, first.identity.aci);
    world.verified_session(NUMBER).await;
    let late = world.register(NUMBER, "three", &by(&password)).await;
    assert!(matches!(late, Err(RegisterError::WrongRecoveryPassword)));
}

#[tokio::test]
async fn a_transfer_is_offered_unless_skipped() {
    let world = World::new();
    world
        .registered(NUMBER, "one", &json!({"attributes.capabilities": {"spqr": true, "transfer": true}}))
        .await;
    let session = world.verified_session(NUMBER).await;
    let offered =
        world.register(NUMBER, "two", &json!({"sessionId": session, "skipDeviceTransfer": false})).await;
    assert!(matches!(offered, Err(RegisterError::TransferPossible)));
    world.register(NUMBER, "two", &json!({"sessionId": session})).await.unwrap();
}

#[tokio::test]
async fn a_registration_lock_asks_for_its_token() {
    let world = World::new();
    let (lock, wrong) = ("a".repeat(64), "b".repeat(64));
    let first = world.registered(NUMBER, "one", &json!({"attributes.registrationLock": lock})).await.identity;
    let session = world.verified_session(NUMBER).await;
    let with = |token: Option<&str>| json!({"sessionId": session, "attributes.registrationLock": token});
    for token in [None, Some(wrong.as_str())] {
        let outcome = world.register(NUMBER, "two", &with(token)).await;
        let Err(RegisterError::Locked { time_remaining }) = outcome else { panic!("the lock holds") };
        assert!(
            time_remaining > Duration::from_hours(6 * 24) && time_remaining <= Duration::from_hours(7 * 24)
        );
    }
    assert!(
        matches!(world.sign_in(first.aci, "one").await, Err(AuthenticateError::Refused)),
        "both must show it"
    );
    assert_eq!(*world.outside.disconnected.lock(), [first.aci; 2]);
    let second = world.register(NUMBER, "two", &with(Some(&lock))).await.unwrap();
    assert_eq!(second.identity.aci, first.aci);
    world.sign_in(first.aci, "two").await.unwrap();

    world.clock.advance(Duration::from_hours(8 * 24));
    let expired = world.registered(NUMBER, "three", &json!({})).await;
    assert!(expired.reregistration, "a lock that expired asks for nothing");
}

#[tokio::test]
async fn guesses_of_a_lock_are_limited() {
    let world = World::new();
    world.registered(NUMBER, "one", &json!({"attributes.registrationLock": "a".repeat(64)})).await;
    let session = world.verified_session(NUMBER).await;
    let guess = json!({"sessionId": session, "attributes.registrationLock": "b".repeat(64)});
    for _ in 0..10 {
        assert!(matches!(world.register(NUMBER, "two", &guess).await, Err(RegisterError::Locked { .. })));
    }
    assert!(matches!(world.register(NUMBER, "two", &guess).await, Err(RegisterError::RateLimited(_))));
}

#[tokio::test]
async fn a_queue_that_could_not_be_cleared_is_cleared_later() {
    let world = World::new();
    let aci = world.registered(NUMBER, "one", &json!({})).await.identity.aci;
    world.outside.queues_fail.store(true, SeqCst);
    world.registered(NUMBER, "two", &json!({})).await;
    assert!(world.revocations.finish().await.is_err());
    world.outside.queues_fail.store(false, SeqCst);
    world.revocations.finish().await.unwrap();
    world.revocations.finish().await.unwrap();
    let cleared = world.outside.cleared.lock().await;
    assert_eq!(cleared.iter().map(|clear| clear.aci).collect::<Vec<_>>(), [aci]);
}

#[tokio::test]
async fn who_deletes_and_returns_is_the_same() {
    let world = World::new();
    let first = world.registered(NUMBER, "one", &json!({})).await.identity;
    let caller = world.sign_in(first.aci, "one").await.unwrap();
    world.accounts.delete(&caller).await.unwrap();
    world.accounts.delete(&caller).await.unwrap();
    assert!(!world.accounts.exists(first.aci.into()).await.unwrap());
    assert!(matches!(world.sign_in(first.aci, "one").await, Err(AuthenticateError::Refused)));
    let second = world.registered(NUMBER, "two", &json!({})).await;
    assert!(!second.reregistration);
    assert_eq!((second.identity.aci, second.identity.pni), (first.aci, first.pni));
}
