//! Devices that nobody uses, from the outside.

use std::time::Duration;

use auth::{
    Authenticated,
    credentials::BasicCredentials,
    idle::{IdlePolicy, IdleRound},
    linking::LinkRequest,
};
use protocol::{DeviceAddress, DeviceId};
use serde_json::json;

use crate::support::{NUMBER, World};

const DAY: Duration = Duration::from_hours(24);

async fn two_devices(world: &World) -> [DeviceAddress; 2] {
    let aci = world.registered(NUMBER, "one", &json!({})).await.identity.aci;
    let primary = world.sign_in(aci, "one").await.unwrap();
    let code = world.linking.new_code(&primary).await.unwrap();
    let request: LinkRequest = serde_json::from_value(world.link_body(&code, &json!({}))).unwrap();
    let password = BasicCredentials::from_text("whoever:two").unwrap();
    let device_id = world.linking.link(&password, request).await.unwrap().device_id;
    [primary.address(), DeviceAddress { aci, device_id }]
}

async fn list(world: &World, device: DeviceAddress) -> Vec<u8> {
    let caller =
        Authenticated { device_id: device.device_id, ..world.sign_in(device.aci, "one").await.unwrap() };
    world.accounts.devices(&caller).await.unwrap().devices.iter().map(|device| device.id.get()).collect()
}

#[tokio::test]
async fn a_device_that_is_not_used_is_thrown_out_with_what_waited() {
    let world = World::new();
    let [phone, laptop] = two_devices(&world).await;
    world.outside.cleared.lock().await.clear();
    let idle = world.idle(IdlePolicy { linked: Some(DAY * 45), ..IdlePolicy::default() });
    world.clock.advance(DAY * 45);
    assert_eq!(idle.round().await.unwrap(), IdleRound::default());
    world.clock.advance(DAY);
    assert_eq!(idle.round().await.unwrap(), IdleRound { devices: 1, accounts: 0 });
    assert_eq!(idle.round().await.unwrap(), IdleRound::default());
    assert_eq!(*world.outside.removed.lock(), [laptop]);
    let cleared: Vec<_> = world.outside.cleared.lock().await.iter().map(|clear| clear.device).collect();
    assert_eq!(cleared, [Some(laptop.device_id)]);
    assert_eq!(list(&world, phone).await, [1]);
}

#[tokio::test]
async fn who_is_connected_is_used() {
    let world = World::new();
    let [phone, laptop] = two_devices(&world).await;
    let idle = world.idle(IdlePolicy {
        linked: Some(DAY * 45),
        linked_of_primary: Some(DAY * 90),
        account: Some(DAY * 180),
    });
    *world.outside.connected.lock() = vec![phone, laptop];
    for _ in 0..200 {
        world.clock.advance(DAY);
        assert_eq!(idle.round().await.unwrap(), IdleRound::default());
    }
    // A registration lock holds as long as somebody is there, too.
    let seen = world.accounts.primary_last_seen(phone.aci).await.unwrap().unwrap();
    assert!(world.now().saturating_since(seen) < DAY);
    world.outside.connected.lock().clear();
    let mut gone = IdleRound::default();
    for _ in 0..181 {
        world.clock.advance(DAY);
        let IdleRound { devices, accounts } = idle.round().await.unwrap();
        gone = IdleRound { devices: gone.devices + devices, accounts: gone.accounts + accounts };
    }
    assert_eq!(gone, IdleRound { devices: 1, accounts: 1 });
    assert!(!world.accounts.exists(phone.aci.into()).await.unwrap());
    assert_eq!(world.outside.disconnected.lock().last(), Some(&phone.aci));
}

#[tokio::test]
async fn a_server_that_was_off_gives_everybody_time() {
    let world = World::new();
    two_devices(&world).await;
    let idle = world.idle(IdlePolicy { linked: Some(DAY * 45), ..IdlePolicy::default() });
    idle.round().await.unwrap();
    world.clock.advance(DAY * 100);
    for _ in 0..14 {
        assert_eq!(idle.round().await.unwrap(), IdleRound::default());
        world.clock.advance(DAY);
    }
    assert_eq!(idle.round().await.unwrap(), IdleRound { devices: 1, accounts: 0 });
}

#[tokio::test]
async fn linked_devices_go_with_their_primary() {
    let world = World::new();
    let [phone, laptop] = two_devices(&world).await;
    *world.outside.connected.lock() = vec![laptop];
    let idle =
        world.idle(IdlePolicy { linked: Some(DAY * 45), linked_of_primary: Some(DAY * 90), account: None });
    for _ in 0..90 {
        world.clock.advance(DAY);
        assert_eq!(idle.round().await.unwrap(), IdleRound::default());
    }
    world.clock.advance(DAY);
    assert_eq!(idle.round().await.unwrap(), IdleRound { devices: 1, accounts: 0 });
    assert_eq!(list(&world, phone).await, [DeviceId::PRIMARY.get()]);
}
