//! What an account may set about itself, from the outside.

use std::time::Duration;

use crate::support::{NUMBER, World};
use auth::{
    Authenticated,
    attributes::AccountAttributes,
    device::{Agent, DeviceName, PushService, PushToken},
    secrets::RegistrationLockToken,
    settings::{AccountError, RenameError},
};
use protocol::DeviceId;
use serde_json::json;

async fn caller(world: &World) -> Authenticated {
    let aci = world.registered(NUMBER, "one", &json!({})).await.identity.aci;
    world.sign_in(aci, "one").await.unwrap()
}

#[tokio::test]
async fn attributes_are_taken_over_except_registration_ids() {
    let world = World::new();
    let caller = caller(&world).await;
    let attributes: AccountAttributes = serde_json::from_value(json!({
        "fetchesMessages": true, "registrationId": 77, "unidentifiedAccessKey": vec![1; 16],
        "capabilities": {"spqr": true, "storage": true}, "discoverableByPhoneNumber": false,
    }))
    .unwrap();
    world.accounts.set_attributes(&caller, attributes, Some(Agent::new("OWD"))).await.unwrap();
    assert!(world.accounts.identity(&caller).await.unwrap().storage_capable);
    let report = world.accounts.data_report(&caller).await.unwrap();
    assert!(!report.discoverable && !report.unrestricted_unidentified_access);
    assert_eq!(report.devices[0].agent, Some(Agent::new("OWD")));
    assert_eq!(report.number.unwrap().as_str(), NUMBER);
}

#[tokio::test]
async fn only_the_primary_names_other_devices() {
    let world = World::new();
    let primary = caller(&world).await;
    let name = || DeviceName::new(vec![1]).unwrap();
    let second = DeviceId::try_from(2).unwrap();
    world.accounts.set_device_name(&primary, primary.device_id, name()).await.unwrap();
    let unknown = world.accounts.set_device_name(&primary, second, name()).await;
    assert!(matches!(unknown, Err(RenameError::NoSuchDevice)));
    let linked = Authenticated { device_id: second, ..primary };
    let other = world.accounts.set_device_name(&linked, DeviceId::PRIMARY, name()).await;
    assert!(matches!(other, Err(RenameError::NotPermitted)));
}

#[tokio::test]
async fn giving_up_a_push_token_tells_what_kind_of_device_it_is() {
    let world = World::new();
    let caller = caller(&world).await;
    let token = PushToken::new(PushService::Fcm, "token".to_owned()).unwrap();
    world.accounts.set_push_token(&caller, token).await.unwrap();
    for (service, agent) in [(PushService::Fcm, "OWA"), (PushService::Apns, "OWI")] {
        world.accounts.clear_push_token(&caller, service).await.unwrap();
        let report = world.accounts.data_report(&caller).await.unwrap();
        assert_eq!(report.devices[0].agent, Some(Agent::new(agent)));
    }
}

#[tokio::test]
async fn what_takes_a_number_is_refused_without_one() {
    let world = World::new();
    let numberless = Authenticated { pni: None, ..caller(&world).await };
    let token = RegistrationLockToken::from_binary(&[1; 32]);
    assert!(matches!(
        world.accounts.set_registration_lock(&numberless, Some(token)).await,
        Err(AccountError::NoNumber)
    ));
    assert!(matches!(world.accounts.set_discoverable(&numberless, false).await, Err(AccountError::NoNumber)));
}

#[tokio::test]
async fn who_is_gone_is_told_so() {
    let world = World::new();
    let caller = caller(&world).await;
    world.accounts.delete(&caller).await.unwrap();
    assert!(matches!(world.accounts.identity(&caller).await, Err(AccountError::Gone)));
    assert!(matches!(world.accounts.set_discoverable(&caller, true).await, Err(AccountError::Gone)));
    assert_eq!(*world.outside.disconnected.lock(), [caller.aci]);
}

#[tokio::test]
async fn the_day_of_a_sign_in_is_noted() {
    let world = World::new();
    let caller = caller(&world).await;
    let last_seen = || async { world.accounts.data_report(&caller).await.unwrap().devices[0].last_seen };
    let before = last_seen().await;
    world.clock.advance(Duration::from_hours(48));
    world.sign_in(caller.aci, "one").await.unwrap();
    // The note is made in the background, and a write that follows it is committed after it.
    while last_seen().await == before {
        tokio::task::yield_now().await;
    }
    assert_eq!(last_seen().await.saturating_since(before), Duration::from_hours(48));
}
