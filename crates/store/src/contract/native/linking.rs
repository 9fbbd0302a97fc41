//! What every [`NativeLinkStore`] and [`NativeDeviceStore`](auth::native::devices::NativeDeviceStore) must do.

use auth::{
    linking::{LinkCode, LinkCodeId},
    native::{
        devices::NativeDevice,
        linking::store::{CodeOffer, CodeState, RedeemOutcome, Redemption},
    },
};
use protocol::{PushService, PushToken};
use push::PushTarget;

use super::{
    Arc, DeviceLabel, Duration, HOUR, KeySlot, NOW, ServiceId, Stores, Timestamp, account, aci, address,
    device, hash, identity_keys, is_live, opening, session,
};

const CODE_LIFE: Duration = Duration::from_mins(10);

pub(super) async fn run(stores: &Stores) {
    lets_one_device_in_and_tells_whose_code_it_was(stores).await;
    refuses_without_using_the_code_up(stores).await;
    voids_codes(stores).await;
    lets_one_of_many_in(stores).await;
    takes_a_known_device_for_itself(stores).await;
    shows_and_names_devices(stores).await;
    pushes_to_nobody_who_is_logged_out(stores).await;
}

fn code(text: &str) -> LinkCodeId {
    LinkCode::shown(text.to_owned()).id()
}

async fn offer(stores: &Stores, text: &str, by: u64) -> bool {
    let expires = NOW.saturating_add(CODE_LIFE);
    let offer = CodeOffer { code: code(text), session: session(by).id, at: NOW, expires };
    stores.links.offer_code(offer).await.unwrap()
}

fn redemption(text: &str, name: &str, seed: u64) -> Redemption {
    Redemption {
        code: code(text),
        device: device(name),
        keys: None,
        session: session(seed),
        remembered_until: NOW.saturating_add(HOUR),
        devices_max: 3,
    }
}

async fn redeem(stores: &Stores, redemption: Redemption) -> RedeemOutcome {
    stores.links.redeem_code(redemption).await.unwrap()
}

async fn state(stores: &Stores, by: u64) -> Option<CodeState> {
    stores.links.offered_code(session(by).id, NOW).await.unwrap()
}

async fn lets_one_device_in_and_tells_whose_code_it_was(stores: &Stores) {
    stores.native.register(account(100, Some(identity_keys(0x31)))).await.unwrap();
    assert_eq!(state(stores, 10_000).await, None);
    assert!(offer(stores, "one", 10_000).await);
    assert_eq!(state(stores, 10_000).await, Some(CodeState::Open { expires: NOW.saturating_add(CODE_LIFE) }));
    assert!(offer(stores, "two", 10_000).await);
    assert_eq!(
        redeem(stores, redemption("one", "tablet", 10_001)).await,
        RedeemOutcome::NoSuchCode,
        "replaced"
    );
    let outcome =
        redeem(stores, Redemption { keys: Some(identity_keys(0x31)), ..redemption("two", "tablet", 10_002) })
            .await;
    let RedeemOutcome::Redeemed { device, registration_id, joined, offered_by } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((device.address(), registration_id.get(), joined), (address(100, 2), 77, true));
    assert_eq!(offered_by, session(10_000).id);
    assert!(is_live(stores, 10_000).await && is_live(stores, 10_002).await);
    assert!(!stores.native.session(session(10_002).id, NOW).await.unwrap().unwrap().keyless);
    let slot = KeySlot { identity: aci(100).0, device: 2.try_into().unwrap() };
    assert!(stores.keys.repeated_use(slot).await.unwrap().is_some());
    let roster = stores.recipients.roster(ServiceId::Aci(aci(100))).await.unwrap().unwrap();
    assert_eq!(roster.devices.len(), 2, "whoever sends is told of it at once");
    assert_eq!(redeem(stores, redemption("two", "desk", 10_003)).await, RedeemOutcome::NoSuchCode, "used");
    assert_eq!(state(stores, 10_000).await, Some(CodeState::Used(2.try_into().unwrap())));
    let later = NOW.saturating_add(HOUR);
    assert_eq!(stores.links.offered_code(session(10_000).id, later).await.unwrap(), None);
    assert!(stores.accounts.remove_device(address(100, 2), NOW).await.unwrap());
    assert_eq!(state(stores, 10_000).await, None, "the next device of that id is another");
}

async fn refuses_without_using_the_code_up(stores: &Stores) {
    stores.native.register(account(101, Some(identity_keys(0x32)))).await.unwrap();
    assert!(offer(stores, "three", 10_100).await);
    let other = Redemption { keys: Some(identity_keys(0x33)), ..redemption("three", "tablet", 10_101) };
    assert_eq!(redeem(stores, other).await, RedeemOutcome::OtherIdentity);
    let full = Redemption { devices_max: 1, ..redemption("three", "tablet", 10_101) };
    assert_eq!(redeem(stores, full).await, RedeemOutcome::TooManyDevices);
    let late = NOW.saturating_add(CODE_LIFE);
    let mut late_session = session(10_101);
    late_session.at = late;
    let late = Redemption { session: late_session, ..redemption("three", "tablet", 10_101) };
    assert_eq!(redeem(stores, late).await, RedeemOutcome::NoSuchCode, "over");
    assert_eq!(redeem(stores, redemption("none", "tablet", 10_101)).await, RedeemOutcome::NoSuchCode);
    assert!(!is_live(stores, 10_101).await);
    let outcome = redeem(stores, redemption("three", "tablet", 10_102)).await;
    assert!(matches!(outcome, RedeemOutcome::Redeemed { joined: true, .. }), "{outcome:?}");
    assert!(stores.native.session(session(10_102).id, NOW).await.unwrap().unwrap().keyless);
}

async fn voids_codes(stores: &Stores) {
    stores.native.register(account(102, None)).await.unwrap();
    let gone = async |text: &str| {
        assert_eq!(redeem(stores, redemption(text, "desk", 10_209)).await, RedeemOutcome::NoSuchCode);
    };
    assert!(offer(stores, "withdrawn", 10_200).await);
    stores.links.withdraw_code(session(10_200).id).await.unwrap();
    assert_eq!(state(stores, 10_200).await, None);
    gone("withdrawn").await;
    stores.links.withdraw_code(session(10_200).id).await.unwrap();

    stores.native.open_session(opening(102, 1, "tablet", 10_201)).await.unwrap();
    assert!(offer(stores, "of a tablet", 10_201).await);
    stores.native.end_session(aci(102), session(10_201).id).await.unwrap();
    gone("of a tablet").await;
    assert!(!offer(stores, "too late", 10_201).await, "the session has ended");

    stores.native.open_session(opening(102, 1, "tablet", 10_202)).await.unwrap();
    assert!(offer(stores, "of a device", 10_202).await);
    assert!(stores.accounts.remove_device(address(102, 2), NOW).await.unwrap());
    gone("of a device").await;

    assert!(offer(stores, "before", 10_200).await);
    stores.native.change_password(aci(102), 1, hash(5), Some(session(10_200).id)).await.unwrap();
    assert!(is_live(stores, 10_200).await, "who has changed it stays");
    assert_eq!(state(stores, 10_200).await, None);
    gone("before").await;
    assert!(offer(stores, "after", 10_200).await);
    let outcome = redeem(stores, redemption("after", "tablet", 10_203)).await;
    assert!(matches!(outcome, RedeemOutcome::Redeemed { .. }), "{outcome:?}");
    assert!(offer(stores, "of nobody", 10_200).await);
    assert!(stores.accounts.delete(aci(102), NOW).await.unwrap());
    gone("of nobody").await;
}

async fn lets_one_of_many_in(stores: &Stores) {
    stores.native.register(account(103, None)).await.unwrap();
    assert!(offer(stores, "race", 10_300).await);
    let tries = (1..8).map(|seed| {
        let links = Arc::clone(&stores.links);
        let redemption =
            Redemption { devices_max: 9, ..redemption("race", &format!("device {seed}"), 10_300 + seed) };
        tokio::spawn(async move { links.redeem_code(redemption).await.unwrap() })
    });
    let mut redeemed = 0;
    for outcome in tries.collect::<Vec<_>>() {
        redeemed += usize::from(matches!(outcome.await.unwrap(), RedeemOutcome::Redeemed { .. }));
    }
    assert_eq!((redeemed, stores.devices.devices(aci(103)).await.unwrap().len()), (1, 2));
}

async fn takes_a_known_device_for_itself(stores: &Stores) {
    stores.native.register(account(104, None)).await.unwrap();
    stores.native.open_session(opening(104, 1, "tablet", 10_401)).await.unwrap();
    assert!(offer(stores, "again", 10_400).await);
    let RedeemOutcome::Redeemed { device, joined, .. } =
        redeem(stores, redemption("again", "tablet", 10_402)).await
    else {
        panic!("a code that is good")
    };
    assert_eq!((device.address(), joined), (address(104, 2), false));
    assert!(!is_live(stores, 10_401).await && is_live(stores, 10_402).await);
    // By its own code, which goes with the session that it takes the place of.
    assert!(offer(stores, "own", 10_400).await);
    let outcome = redeem(stores, redemption("own", "phone", 10_403)).await;
    assert!(matches!(outcome, RedeemOutcome::Redeemed { joined: false, .. }), "{outcome:?}");
    assert!(!is_live(stores, 10_400).await && is_live(stores, 10_403).await);
    assert_eq!((state(stores, 10_400).await, state(stores, 10_403).await), (None, None));
}

async fn shows_and_names_devices(stores: &Stores) {
    stores.native.register(account(105, None)).await.unwrap();
    stores.native.open_session(opening(105, 1, "tablet", 10_501)).await.unwrap();
    let token = PushToken::new(PushService::Fcm, "token".to_owned()).unwrap();
    let target = PushTarget { token, registered: NOW };
    assert!(stores.targets.set(address(105, 2), target).await.unwrap());
    let label = |text: &str| DeviceLabel::new(text.to_owned());
    let shown = |id: u32, name, push| NativeDevice {
        id: id.try_into().unwrap(),
        label: label(name),
        registration_id: 77.try_into().unwrap(),
        created: NOW,
        last_seen: NOW,
        push,
    };
    let devices = async || stores.devices.devices(aci(105)).await.unwrap();
    let [phone, tablet] = [shown(1, "phone's name", None), shown(2, "tablet's name", Some(PushService::Fcm))];
    assert_eq!(devices().await, [phone.clone(), tablet]);
    assert!(stores.devices.rename(address(105, 2), label("den's")).await.unwrap());
    assert_eq!(devices().await, [phone.clone(), shown(2, "den's", Some(PushService::Fcm))]);
    assert!(stores.devices.rename(address(105, 1), None).await.unwrap());
    assert_eq!(devices().await[0], NativeDevice { label: None, ..phone });
    assert!(!stores.devices.rename(address(105, 3), label("x")).await.unwrap());
    assert!(!stores.devices.rename(address(199, 1), label("x")).await.unwrap());
    assert_eq!(stores.devices.devices(aci(199)).await.unwrap(), []);
}

async fn pushes_to_nobody_who_is_logged_out(stores: &Stores) {
    stores.native.register(account(106, None)).await.unwrap();
    let device = address(106, 1);
    let token = PushToken::new(PushService::Fcm, "token".to_owned()).unwrap();
    let target = PushTarget { token, registered: Timestamp::from_millis(10) };
    assert!(stores.targets.set(device, target.clone()).await.unwrap());
    let found = async || stores.targets.target(device).await.unwrap();
    assert_eq!(found().await, Some(target.clone()));
    stores.native.end_session(aci(106), session(10_600).id).await.unwrap();
    assert_eq!(found().await, None);
    stores.native.open_session(opening(106, 1, "phone", 10_601)).await.unwrap();
    assert_eq!(found().await, Some(target.clone()), "it is where it was");
    stores.native.end_session(aci(106), session(10_601).id).await.unwrap();
    assert!(stores.targets.remove(device, target).await.unwrap(), "it can be forgotten all the same");
}
