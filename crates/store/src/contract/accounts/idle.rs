//! What every store must do with devices that have not been seen for long.

use std::time::Duration;

use auth::{
    Device,
    idle::UnseenSince,
    linking::store::{LinkOutcome, NewLinkedDevice},
    store::NewRegistration,
};
use protocol::{Aci, DeviceAddress, DeviceId, ambient::Timestamp};

use super::{
    Stores, devices,
    made_up::{NOW, account, device, later, primary, read, register, registration},
};

/// A day before everything else in this suite, and later ones.
fn day(number: u64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() - 1_000_000_000_000 + number * 86_400_000)
}

fn second(aci: Aci) -> DeviceAddress {
    DeviceAddress { aci, device_id: DeviceId::try_from(2).unwrap() }
}

/// Runs this part of the suite.
pub(super) async fn run(stores: &Stores) {
    nobody_goes_while_nobody_could_be_seen(stores).await;
    unseen_devices_are_found_and_removed(stores).await;
    unseen_accounts_are_found_and_deleted(stores).await;
}

async fn nobody_goes_while_nobody_could_be_seen(stores: &Stores) {
    let round = async |seconds| {
        let (away, grace) = (Duration::from_secs(10), Duration::from_secs(100));
        stores.idle.begin_round(later(seconds), away, grace).await.unwrap()
    };
    assert!(round(0).await && round(10).await);
    assert!(!round(21).await && !round(30).await, "the server was off");
    for seconds in (40..120).step_by(10) {
        assert!(!round(seconds).await);
    }
    assert!(!round(120).await && round(121).await);
}

async fn last_seen(stores: &Stores, device: DeviceAddress) -> Timestamp {
    read(stores, device.aci).await.unwrap().device(device.device_id).unwrap().last_seen
}

/// Two devices of one account, last seen on those days of long ago.
async fn two_devices(stores: &Stores, digits: u32, [first, second]: [u64; 2]) -> [DeviceAddress; 2] {
    let device = Device { last_seen: day(first), ..device() };
    let (account, _) = register(stores, NewRegistration { device, ..registration(digits) }).await;
    let code = devices::code(&format!("of {digits}"));
    stores.links.add_code(code, account.aci, later(60)).await.unwrap();
    let new = devices::second(&account, code, NOW);
    let device = Device { last_seen: day(second), ..new.device.clone() };
    let outcome = stores.links.link(NewLinkedDevice { device, ..new }).await.unwrap();
    assert_eq!(outcome, LinkOutcome::Linked);
    [primary(account.aci), self::second(account.aci)]
}

async fn unseen_devices_are_found_and_removed(stores: &Stores) {
    let [phone, laptop] = two_devices(stores, 500, [20, 10]).await;
    let found = async |since, limit| stores.idle.unseen_devices(since, limit).await.unwrap();
    let linked = |number| UnseenSince { linked: Some(day(number)), primary: None };
    let of_primary = |number| UnseenSince { linked: None, primary: Some(day(number)) };
    assert!(found(UnseenSince::default(), 10).await.is_empty());
    assert!(found(linked(10), 10).await.is_empty() && found(of_primary(20), 10).await.is_empty());
    assert_eq!(found(linked(11), 10).await, [laptop]);
    assert_eq!(found(of_primary(21), 10).await, [laptop], "the primary itself is not removed");
    assert!(found(linked(11), 0).await.is_empty());

    // Whoever was seen meanwhile stays.
    stores.idle.seen_at_once(vec![phone, laptop], day(15)).await.unwrap();
    assert_eq!((last_seen(stores, phone).await, last_seen(stores, laptop).await), (day(20), day(15)));
    let remove = async |since| stores.idle.remove_unseen_device(laptop, since, NOW).await.unwrap();
    assert!(!remove(linked(15)).await && !remove(of_primary(20)).await);
    assert!(read(stores, laptop.aci).await.unwrap().device(laptop.device_id).is_some());
    assert!(remove(of_primary(21)).await);
    assert!(!remove(of_primary(21)).await, "it is gone");
    assert!(read(stores, laptop.aci).await.unwrap().device(laptop.device_id).is_none());
    let roster = stores.recipients.roster(laptop.aci.into()).await.unwrap().unwrap();
    assert_eq!(roster.devices.len(), 1);
    let clears = stores.accounts.queue_clears(1000).await.unwrap();
    assert!(clears.iter().any(|clear| (clear.aci, clear.device) == (laptop.aci, Some(laptop.device_id))));
    stores.accounts.delete(phone.aci, NOW).await.unwrap();
}

async fn unseen_accounts_are_found_and_deleted(stores: &Stores) {
    let [phone, _] = two_devices(stores, 501, [10, 30]).await;
    account(stores, 502).await;
    let found = async |number| stores.idle.unseen_accounts(day(number), 10).await.unwrap();
    assert!(found(10).await.is_empty());
    assert_eq!(found(11).await, [phone.aci], "its linked device does not count");
    let delete = async |number| stores.idle.delete_unseen_account(phone.aci, day(number), NOW).await.unwrap();
    assert!(!delete(10).await);
    assert!(delete(11).await);
    assert!(!delete(11).await);
    assert!(read(stores, phone.aci).await.is_none());
    assert!(stores.recipients.roster(phone.aci.into()).await.unwrap().is_none());
    assert!(found(11).await.is_empty());
}
