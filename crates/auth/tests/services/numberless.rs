//! Registering without proving a number, from the outside.

use std::time::Duration;

use auth::{AuthenticateError, registration::RegisterError};
use protocol::{Aci, base64};
use serde_json::{Value, json};

use crate::support::{NUMBER, World};

/// A receipt and the recovery password that must come with it.
fn with_receipt(serial: u8, password: &str) -> Value {
    json!({
        "receiptCredentialPresentation": base64::encode_padded([serial; 16]),
        "attributes.recoveryPassword": password,
        "attributes.registrationLock": "a".repeat(64),
        "pniIdentityKey": null, "pniSignedPreKey": null, "pniPqLastResortPreKey": null,
        "attributes.pniRegistrationId": null,
    })
}

fn by_password(password: &str) -> Value {
    json!({"recoveryPassword": password, "attributes.recoveryPassword": password})
}

#[tokio::test]
async fn a_receipt_makes_an_account_without_a_number() {
    let world = World::new();
    let password = world.random_text();
    // The user does not matter, not even if it is the identity of somebody.
    let somebody = world.registered(NUMBER, "somebody", &json!({})).await.identity.aci;
    let registered = world.register(&somebody.to_string(), "one", &with_receipt(1, &password)).await.unwrap();
    let identity = registered.identity;
    assert!(!registered.reregistration && identity.number.is_none() && identity.pni.is_none());
    assert_ne!(identity.aci, somebody);
    let caller = world.sign_in(identity.aci, "one").await.unwrap();
    assert_eq!(caller.pni, None);
    let again = world.register("whoever", "two", &with_receipt(1, &password)).await;
    assert!(matches!(again, Err(RegisterError::Mismatch)), "a receipt is good once");
    let mut changes = with_receipt(2, &password);
    changes["attributes.recoveryPassword"] = Value::Null;
    let outcome = world.register("whoever", "two", &changes).await;
    assert!(matches!(outcome, Err(RegisterError::NoRecoveryPassword)));
    let mut changes = with_receipt(2, &password);
    changes["receiptCredentialPresentation"] = json!("AAAA");
    assert!(matches!(world.register("whoever", "two", &changes).await, Err(RegisterError::Mismatch)));
}

#[tokio::test]
async fn an_account_without_a_number_is_recovered_by_its_identity() {
    let world = World::new();
    let (password, other) = (world.random_text(), world.random_text());
    let capable = json!({"spqr": true, "storage": true, "transfer": true});
    let mut changes = with_receipt(1, &password);
    changes["attributes.capabilities"] = capable;
    let first = world.register("whoever", "one", &changes).await.unwrap().identity;
    let aci = first.aci.to_string();
    let wrong = world.register(&aci, "two", &by_password(&other)).await;
    assert!(matches!(wrong, Err(RegisterError::WrongRecoveryPassword)));
    let nobody = world.register(&Aci(uuid::Uuid::nil()).to_string(), "two", &by_password(&password)).await;
    assert!(matches!(nobody, Err(RegisterError::WrongRecoveryPassword)));
    for name in ["attributes.recoveryPassword", "recoveryPassword"] {
        let mut changes = by_password(&password);
        changes[name] = Value::Null;
        changes["sessionId"] = if name == "recoveryPassword" { json!("session") } else { Value::Null };
        let outcome = world.register(&aci, "two", &changes).await;
        assert!(matches!(outcome, Err(RegisterError::Mismatch)), "{name}");
    }
    let mut changes = by_password(&password);
    changes["skipDeviceTransfer"] = json!(false);
    assert!(matches!(world.register(&aci, "two", &changes).await, Err(RegisterError::TransferPossible)));

    let registered = world.register(&aci, "two", &by_password(&password)).await.unwrap();
    assert!(registered.reregistration && registered.identity.storage_capable);
    assert_eq!(registered.identity.aci, first.aci);
    assert!(registered.identity.number.is_none() && registered.identity.pni.is_none());
    assert!(matches!(world.sign_in(first.aci, "one").await, Err(AuthenticateError::Refused)));
    world.sign_in(first.aci, "two").await.unwrap();
    assert_eq!(*world.outside.disconnected.lock(), [first.aci]);
    assert_eq!(world.outside.cleared.lock().await.last().unwrap().aci, first.aci);
}

#[tokio::test]
async fn an_account_with_a_number_is_recovered_with_its_number() {
    let world = World::new();
    let (password, lock) = (world.random_text(), "a".repeat(64));
    let changes = json!({"attributes.recoveryPassword": password, "attributes.registrationLock": lock});
    let first = world.registered(NUMBER, "one", &changes).await.identity;
    let aci = first.aci.to_string();
    let locked = world.register(&aci, "two", &by_password(&password)).await;
    assert!(matches!(locked, Err(RegisterError::Locked { .. })));
    let mut changes = by_password(&password);
    changes["attributes.registrationLock"] = json!(lock);
    let registered = world.register(&aci, "two", &changes).await.unwrap();
    assert_eq!(registered.identity, first);
    assert!(registered.reregistration);
    world.sign_in(first.aci, "two").await.unwrap();

    let wrong_number = world.register(NUMBER, "three", &by_password(&world.random_text())).await;
    assert!(matches!(wrong_number, Err(RegisterError::WrongRecoveryPassword)));
    world.clock.advance(Duration::from_hours(8 * 24));
    world.register(&aci, "three", &by_password(&password)).await.unwrap();
}
