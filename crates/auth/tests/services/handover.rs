//! What devices leave for one another, from the outside.

use std::time::Duration;

use auth::{
    Authenticated,
    credentials::BasicCredentials,
    handover::{
        ArchiveNotice, HandoverError, KEPT, RestoreChoice, RestoreMethod, RestoreToken, TransferArchive,
    },
    linking::LinkRequest,
};
use serde_json::json;

use crate::support::{NUMBER, World};

/// Time for what is to happen meanwhile.
const SOON: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_mins(1);

/// A primary, and a device that it has linked: registration id 3.
async fn two_devices(world: &World) -> (Authenticated, Authenticated) {
    let aci = world.registered(NUMBER, "one", &json!({})).await.identity.aci;
    let primary = world.sign_in(aci, "one").await.unwrap();
    let code = world.linking.new_code(&primary).await.unwrap();
    let request: LinkRequest = serde_json::from_value(world.link_body(&code, &json!({}))).unwrap();
    let password = BasicCredentials::from_text("whoever:two").unwrap();
    let device_id = world.linking.link(&password, request).await.unwrap().device_id;
    (primary, Authenticated { device_id, ..primary })
}

fn notice(registration_id: u16, key: &str) -> ArchiveNotice {
    serde_json::from_value(json!({
        "destinationDeviceId": 2, "destinationDeviceRegistrationId": registration_id,
        "transferArchive": {"cdn": 3, "key": key},
    }))
    .unwrap()
}

fn uploaded(key: &str) -> TransferArchive {
    TransferArchive::Uploaded { cdn: 3, key: key.to_owned() }
}

#[tokio::test]
async fn a_device_hears_of_its_history_before_and_after_it_asks() {
    let world = World::new();
    let (primary, linked) = two_devices(&world).await;
    let wait = |patience| world.handovers.wait_for_archive(&linked, patience);
    let leave = |notice| world.handovers.leave_archive(&primary, notice);
    assert_eq!(wait(SOON).await.unwrap(), None);
    leave(notice(4, "other")).await.unwrap();
    assert_eq!(wait(SOON).await.unwrap(), None, "for another installation of that device");
    let (found, ()) = tokio::join!(wait(PATIENCE), async {
        tokio::time::sleep(SOON).await;
        leave(notice(3, "mine")).await.unwrap();
    });
    assert_eq!(found.unwrap(), Some(uploaded("mine")));
    assert_eq!(wait(SOON).await.unwrap(), Some(uploaded("mine")), "a second time");
    leave(notice(3, "newer")).await.unwrap();
    assert_eq!(wait(SOON).await.unwrap(), Some(uploaded("newer")));
    world.clock.advance(KEPT);
    assert_eq!(wait(SOON).await.unwrap(), None);
    world.handovers.remove_expired().await.unwrap();
}

#[tokio::test]
async fn only_the_primary_leaves_word_and_not_too_often() {
    let world = World::new();
    let (primary, linked) = two_devices(&world).await;
    let refused = world.handovers.leave_archive(&linked, notice(3, "mine")).await;
    assert!(matches!(refused, Err(HandoverError::NotPrimary)));
    for _ in 0..10 {
        world.handovers.leave_archive(&primary, notice(3, "mine")).await.unwrap();
        world.handovers.wait_for_archive(&linked, SOON).await.unwrap();
    }
    let refused = world.handovers.leave_archive(&primary, notice(3, "mine")).await;
    assert!(matches!(refused, Err(HandoverError::RateLimited(_))));
    let refused = world.handovers.wait_for_archive(&linked, SOON).await;
    assert!(matches!(refused, Err(HandoverError::RateLimited(_))));
    world.accounts.delete(&primary).await.unwrap();
    world.clock.advance(Duration::from_mins(1));
    let refused = world.handovers.leave_archive(&primary, notice(3, "mine")).await;
    assert!(matches!(refused, Err(HandoverError::Gone)));
    let refused = world.handovers.wait_for_archive(&linked, SOON).await;
    assert!(matches!(refused, Err(HandoverError::Gone)));
}

#[tokio::test]
async fn the_old_phone_hears_what_the_new_one_chose() {
    let world = World::new();
    let token = || RestoreToken::new("token").unwrap();
    let choice = |method| RestoreChoice { method, device_transfer_bootstrap: None };
    let wait = |patience| world.handovers.wait_for_choice(token(), patience);
    let leave = |method| world.handovers.leave_choice(token(), choice(method));
    let (first, second, ()) = tokio::join!(wait(PATIENCE), wait(PATIENCE), async {
        tokio::time::sleep(SOON).await;
        leave(RestoreMethod::DeviceTransfer).await.unwrap();
    });
    assert_eq!(first.unwrap(), None, "somebody else waits for the same");
    assert_eq!(second.unwrap(), Some(choice(RestoreMethod::DeviceTransfer)));
    leave(RestoreMethod::Decline).await.unwrap();
    assert_eq!(wait(SOON).await.unwrap(), Some(choice(RestoreMethod::Decline)));
    let other = RestoreToken::new("other").unwrap();
    assert_eq!(world.handovers.wait_for_choice(other, SOON).await.unwrap(), None);
    world.clock.advance(KEPT);
    assert_eq!(wait(SOON).await.unwrap(), None);
}
