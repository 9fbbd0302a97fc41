//! Linking devices and removing them, from the outside.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use auth::{
    AuthenticateError, Authenticated,
    credentials::BasicCredentials,
    devices::RemoveDeviceError,
    linking::{
        CODE_LIFE, LINKED_LIFE, LinkCode, LinkCodeError, LinkError, LinkRequest, Linked, wait::WaitError,
    },
    revocation::QueueClear,
};
use protocol::{Aci, DeviceId};
use serde_json::{Value, json};

use crate::support::{NUMBER, World};

/// Time for what is to happen meanwhile.
const SOON: Duration = Duration::from_millis(50);

async fn primary(world: &World) -> Authenticated {
    let aci = world.registered(NUMBER, "one", &json!({})).await.identity.aci;
    world.sign_in(aci, "one").await.unwrap()
}

async fn link(world: &World, code: &LinkCode, changes: &Value) -> Result<Linked, LinkError> {
    let request: LinkRequest = serde_json::from_value(world.link_body(code, changes)).unwrap();
    let credentials = BasicCredentials::from_text("whoever:two").unwrap();
    world.linking.link(&credentials, request).await
}

async fn sign_in(world: &World, aci: Aci, device: u8) -> Result<Authenticated, AuthenticateError> {
    let credentials = BasicCredentials::from_text(&format!("{aci}.{device}:two")).unwrap();
    world.accounts.authenticate(&credentials).await
}

fn id(id: u32) -> DeviceId {
    id.try_into().unwrap()
}

#[tokio::test]
async fn a_linked_device_signs_in_with_its_own_password() {
    let world = World::new();
    let caller = primary(&world).await;
    let code = world.linking.new_code(&caller).await.unwrap();
    let linked = link(&world, &code, &json!({"attributes.name": "bmFtZQ=="})).await.unwrap();
    assert_eq!(linked, Linked { aci: caller.aci, pni: caller.pni, device_id: id(2) });
    let device = sign_in(&world, caller.aci, 2).await.unwrap();
    assert_eq!((device.device_id, device.pni), (id(2), caller.pni));
    assert!(matches!(sign_in(&world, caller.aci, 1).await, Err(AuthenticateError::Refused)));
    let list = world.accounts.devices(&device).await.unwrap();
    assert_eq!(list.devices.iter().map(|device| device.id).collect::<Vec<_>>(), [id(1), id(2)]);
    assert_eq!(list.devices[1].name.as_ref().unwrap().as_bytes(), b"name");
    assert!(world.outside.removed.lock().is_empty() && world.outside.disconnected.lock().is_empty());
    let cleared = world.outside.cleared.lock().await;
    assert_eq!(cleared.iter().map(|clear| clear.device).collect::<Vec<_>>(), [Some(id(2))]);
}

#[tokio::test]
async fn a_code_lives_ten_minutes() {
    let world = World::new();
    let caller = primary(&world).await;
    let [early, late] = [(); 2].map(|()| world.linking.new_code(&caller));
    let (early, late) = (early.await.unwrap(), late.await.unwrap());
    world.clock.advance(CODE_LIFE.saturating_sub(Duration::from_millis(1)));
    link(&world, &early, &json!({})).await.unwrap();
    world.clock.advance(Duration::from_millis(1));
    assert!(matches!(link(&world, &late, &json!({})).await, Err(LinkError::WrongCode)));
    world.linking.remove_expired().await.unwrap();
    assert!(matches!(link(&world, &late, &json!({})).await, Err(LinkError::WrongCode)));
}

#[tokio::test]
async fn keys_must_be_signed_by_the_account() {
    let world = World::new();
    let caller = primary(&world).await;
    let code = world.linking.new_code(&caller).await.unwrap();
    let good = world.link_body(&code, &json!({}));
    // Of identities that are another's.
    world.body(&json!({}));
    for name in ["aciSignedPreKey", "pniSignedPreKey", "aciPqLastResortPreKey", "pniPqLastResortPreKey"] {
        let mut changes = good.clone();
        changes[name] = world.link_body(&code, &json!({}))[name].clone();
        let outcome = link(&world, &code, &changes).await;
        assert!(matches!(outcome, Err(LinkError::WrongKeys)), "{name}");
    }
    link(&world, &code, &good).await.unwrap();
}

#[tokio::test]
async fn capabilities_must_be_said_and_must_not_be_lost() {
    let world = World::new();
    let capable = json!({"attributes.capabilities": {"spqr": true, "usernameChangeSyncMessage": true}});
    let aci = world.registered(NUMBER, "one", &capable).await.identity.aci;
    let caller = world.sign_in(aci, "one").await.unwrap();
    let code = world.linking.new_code(&caller).await.unwrap();
    let unsaid = link(&world, &code, &json!({"attributes.capabilities": null})).await;
    assert!(matches!(unsaid, Err(LinkError::NoCapabilities)));
    assert!(matches!(link(&world, &code, &json!({})).await, Err(LinkError::Downgrade)));
    link(&world, &code, &capable).await.unwrap();
}

#[tokio::test]
async fn attempts_are_limited_by_account() {
    let world = World::new();
    let caller = primary(&world).await;
    let code = world.linking.new_code(&caller).await.unwrap();
    for _ in 0..6 {
        let unsaid = link(&world, &code, &json!({"attributes.capabilities": null})).await;
        assert!(matches!(unsaid, Err(LinkError::NoCapabilities)));
    }
    assert!(matches!(link(&world, &code, &json!({})).await, Err(LinkError::RateLimited(_))));
    for _ in 0..5 {
        world.linking.new_code(&caller).await.unwrap();
    }
    assert!(matches!(world.linking.new_code(&caller).await, Err(LinkCodeError::RateLimited(_))));
}

#[tokio::test]
async fn six_devices_are_enough() {
    let world = World::new();
    let caller = primary(&world).await;
    for device in 2..=6 {
        let code = world.linking.new_code(&caller).await.unwrap();
        assert_eq!(link(&world, &code, &json!({})).await.unwrap().device_id, id(device));
    }
    world.clock.advance(Duration::from_mins(2));
    let Err(LinkCodeError::Full(full)) = world.linking.new_code(&caller).await else {
        panic!("there is no place left")
    };
    assert_eq!(full.current, 6);
}

#[tokio::test]
async fn who_removes_whom() {
    let world = World::new();
    let caller = primary(&world).await;
    for _ in 2..=3 {
        let code = world.linking.new_code(&caller).await.unwrap();
        link(&world, &code, &json!({})).await.unwrap();
    }
    let second = sign_in(&world, caller.aci, 2).await.unwrap();
    for other in [1, 3] {
        let outcome = world.accounts.remove_device(&second, id(other)).await;
        assert!(matches!(outcome, Err(RemoveDeviceError::NotPermitted)));
    }
    let outcome = world.accounts.remove_device(&caller, id(1)).await;
    assert!(matches!(outcome, Err(RemoveDeviceError::Primary)));
    world.outside.cleared.lock().await.clear();
    world.clock.advance(Duration::from_secs(5));
    world.accounts.remove_device(&second, id(2)).await.unwrap();
    world.accounts.remove_device(&caller, id(3)).await.unwrap();
    world.accounts.remove_device(&caller, id(3)).await.unwrap();
    for device in [2, 3] {
        assert!(matches!(sign_in(&world, caller.aci, device).await, Err(AuthenticateError::Refused)));
    }
    let removed: Vec<_> = world.outside.removed.lock().iter().map(|device| device.device_id).collect();
    assert_eq!(removed, [id(2), id(3)]);
    let clear = |device| QueueClear { aci: caller.aci, device: Some(id(device)), cutoff: world.now() };
    assert_eq!(*world.outside.cleared.lock().await, [clear(2), clear(3)]);
}

#[tokio::test]
async fn the_primary_is_seen_when_it_signs_in() {
    let world = World::new();
    let caller = primary(&world).await;
    let seen = world.accounts.primary_last_seen(caller.aci).await.unwrap().unwrap();
    assert!(world.now().saturating_since(seen) < Duration::from_hours(24));
    assert_eq!(world.accounts.primary_last_seen(Aci(uuid::Uuid::nil())).await.unwrap(), None);
}

#[tokio::test]
async fn the_primary_learns_who_came_once_it_has_read_its_messages() {
    let world = World::new();
    let caller = primary(&world).await;
    let code = world.linking.new_code(&caller).await.unwrap();
    world.outside.primary_has_backlog.store(true, SeqCst);
    let minute = Duration::from_mins(1);
    let waiting = world.linking.wait_for_linked(&caller, code.id(), minute);
    let (arrived, ()) = tokio::join!(waiting, async {
        link(&world, &code, &json!({})).await.unwrap();
        tokio::time::sleep(SOON).await;
        world.outside.primary_has_backlog.store(false, SeqCst);
    });
    assert_eq!(arrived.unwrap().unwrap().info.id, id(2));
    let again = world.linking.wait_for_linked(&caller, code.id(), minute).await.unwrap();
    assert_eq!(again.unwrap().info.id, id(2), "it can be asked again");
    world.outside.primary_has_backlog.store(true, SeqCst);
    assert!(world.linking.wait_for_linked(&caller, code.id(), SOON).await.unwrap().is_none());
    world.outside.primary_has_backlog.store(false, SeqCst);
    world.clock.advance(LINKED_LIFE);
    assert!(world.linking.wait_for_linked(&caller, code.id(), SOON).await.unwrap().is_none());
}

#[tokio::test]
async fn who_waits_gives_way_to_the_next_and_only_primaries_wait() {
    let world = World::new();
    let caller = primary(&world).await;
    let code = world.linking.new_code(&caller).await.unwrap();
    let wait = || world.linking.wait_for_linked(&caller, code.id(), Duration::from_mins(1));
    let (first, second, ()) = tokio::join!(wait(), wait(), async {
        tokio::time::sleep(SOON).await;
        link(&world, &code, &json!({})).await.unwrap();
    });
    assert!(first.unwrap().is_none());
    assert_eq!(second.unwrap().unwrap().info.id, id(2));
    let linked = sign_in(&world, caller.aci, 2).await.unwrap();
    let refused = world.linking.wait_for_linked(&linked, code.id(), SOON).await;
    assert!(matches!(refused, Err(WaitError::NotPrimary)));
    world.accounts.remove_device(&caller, id(2)).await.unwrap();
    let left = world.linking.wait_for_linked(&caller, code.id(), SOON).await;
    assert!(left.unwrap().is_none(), "it has left again");
}
