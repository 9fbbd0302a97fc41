//! What every store must do with sessions that a command ends.

use protocol::{DeviceAddress, ambient::Timestamp};

use super::{NOW, Stores, account, aci, address, is_live, name, opening, session};

/// Runs this part of the suite.
pub(super) async fn run(stores: &Stores) {
    finds_accounts_by_their_names(stores).await;
    ends_the_sessions_of_one_and_names_their_devices_once(stores).await;
    who_logs_in_again_is_not_named(stores).await;
    ends_the_sessions_of_everybody_some_at_once(stores).await;
}

async fn finds_accounts_by_their_names(stores: &Stores) {
    stores.native.register(account(170, None)).await.unwrap();
    assert_eq!(stores.operated.account_named(&name(170)).await.unwrap(), Some(aci(170)));
    assert_eq!(stores.operated.account_named(&name(179)).await.unwrap(), None);
    let shown = stores.operated.sessions_of(aci(170), NOW).await.unwrap();
    assert_eq!(shown.iter().map(|session| session.id).collect::<Vec<_>>(), [session(17000).id]);
    assert!(stores.operated.sessions_of(aci(179), NOW).await.unwrap().is_empty());
}

async fn taken(stores: &Stores) -> Vec<DeviceAddress> {
    let mut taken = stores.operated.take_logged_out(100).await.unwrap();
    taken.sort_by_key(|device| (device.aci.0, device.device_id));
    taken
}

async fn ends_the_sessions_of_one_and_names_their_devices_once(stores: &Stores) {
    for number in [171, 172] {
        stores.native.register(account(number, None)).await.unwrap();
    }
    stores.native.open_session(opening(171, 1, "tablet", 17101)).await.unwrap();
    let before = Timestamp::from_millis(NOW.as_millis() - 1);
    assert_eq!(stores.operated.end_sessions_of(Some(aci(171)), before, 10).await.unwrap(), 0, "opened later");
    assert_eq!(stores.operated.end_sessions_of(Some(aci(171)), NOW, 10).await.unwrap(), 2);
    assert!(!is_live(stores, 17100).await && !is_live(stores, 17101).await && is_live(stores, 17200).await);
    assert_eq!(taken(stores).await, [address(171, 1), address(171, 2)]);
    assert!(taken(stores).await.is_empty());
    assert_eq!(stores.operated.end_sessions_of(Some(aci(171)), NOW, 10).await.unwrap(), 0);
}

async fn who_logs_in_again_is_not_named(stores: &Stores) {
    stores.native.register(account(173, None)).await.unwrap();
    stores.operated.end_sessions_of(Some(aci(173)), NOW, 10).await.unwrap();
    stores.native.open_session(opening(173, 1, "phone", 17301)).await.unwrap();
    assert!(taken(stores).await.is_empty(), "logging in has closed what was open");
    assert!(is_live(stores, 17301).await);
    stores.operated.end_sessions_of(Some(aci(173)), NOW, 10).await.unwrap();
    stores.accounts.delete(aci(173), NOW).await.unwrap();
    assert!(taken(stores).await.is_empty(), "nothing of it is left");
}

async fn ends_the_sessions_of_everybody_some_at_once(stores: &Stores) {
    for number in 174..177 {
        stores.native.register(account(number, None)).await.unwrap();
    }
    let mut ended = 0;
    loop {
        let some = stores.operated.end_sessions_of(None, NOW, 2).await.unwrap();
        assert!(some <= 2);
        if some == 0 {
            break;
        }
        ended += some;
    }
    assert!(ended >= 3);
    for seed in [17200, 17400, 17500, 17600] {
        assert!(!is_live(stores, seed).await);
    }
    let mut named = Vec::new();
    loop {
        let some = stores.operated.take_logged_out(2).await.unwrap();
        assert!(some.len() <= 2);
        if some.is_empty() {
            break;
        }
        named.extend(some);
    }
    assert_eq!(named.len(), ended);
}
