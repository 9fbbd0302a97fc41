//! What every [`NativeStore`] must do, and what others read of native accounts.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

mod linking;
mod operator;

use std::{sync::Arc, time::Duration};

use auth::{
    Device,
    capabilities::Capabilities,
    device::Credential,
    native::{
        DeviceIdentifier, DeviceLabel, NativeStore, SessionId, Username,
        devices::NativeDeviceStore,
        hashing::PasswordHash,
        linking::store::NativeLinkStore,
        operator::OperatedSessions,
        refresh::RefreshToken,
        session::NewSession,
        store::{
            ChangePasswordOutcome, NewNativeAccount, NewNativeDevice, OpenSession, OpenSessionOutcome,
            Publication, PublishOutcome, RegisterNativeOutcome, RotateOutcome, Rotation,
        },
    },
    second_factor::store::{AddOutcome, SecondFactorStore},
    store::{AccountStore, IdentityKeys},
};
use keys::{KeyOwners, KeySlot, KeyStore};
use messages::Recipients;
use profiles::ProfileStore;
use protocol::{
    Aci, DeviceAddress, DeviceId, RegistrationId, ServiceId,
    ambient::{SeededEntropy, Timestamp},
};
use push::PushTargets;
use uuid::Uuid;

use super::{
    accounts::identity_keys,
    second_factors::{id, passkey},
};

/// One store seen through each of its traits.
#[derive(Clone)]
pub struct Stores {
    /// Logins and sessions.
    pub native: Arc<dyn NativeStore>,
    /// What devices are called.
    pub devices: Arc<dyn NativeDeviceStore>,
    /// Codes by which devices are let in.
    pub links: Arc<dyn NativeLinkStore>,
    /// Where pushes reach devices.
    pub targets: Arc<dyn PushTargets>,
    /// Sessions, for commands.
    pub operated: Arc<dyn OperatedSessions>,
    /// Accounts.
    pub accounts: Arc<dyn AccountStore>,
    /// Profiles.
    pub profiles: Arc<dyn ProfileStore>,
    /// The devices behind an identity.
    pub recipients: Arc<dyn Recipients>,
    /// Who an identity's keys belong to.
    pub owners: Arc<dyn KeyOwners>,
    /// Keys.
    pub keys: Arc<dyn KeyStore>,
    /// Second factors.
    pub factors: Arc<dyn SecondFactorStore>,
}

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const HOUR: Duration = Duration::from_hours(1);
const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8";

pub(super) fn hash(digit: u8) -> PasswordHash {
    PasswordHash::from_text(&HASH.replace("iekCn0Y3", &format!("iekCn0Y{digit}"))).unwrap()
}

pub(super) fn aci(number: u8) -> Aci {
    Aci(Uuid::from_u128(0xA000 + u128::from(number)))
}

pub(super) fn name(number: u8) -> Username {
    Username::new(&format!("person-{number}")).unwrap()
}

fn identifier(text: &str) -> DeviceIdentifier {
    DeviceIdentifier::new(text.to_owned()).unwrap()
}

fn token(seed: u64) -> RefreshToken {
    RefreshToken::first(&SeededEntropy::new(seed))
}

pub(super) fn session(seed: u64) -> NewSession {
    let token = token(seed);
    NewSession {
        id: SessionId::random(&SeededEntropy::new(seed)),
        family: token.family(),
        token: token.hash(),
        at: NOW,
        expires: NOW.saturating_add(HOUR),
        ends: NOW.saturating_add(3 * HOUR),
    }
}

fn device(text: &str) -> NewNativeDevice {
    let device = Device {
        id: DeviceId::PRIMARY,
        credential: Credential::unusable(&SeededEntropy::new(1)),
        registration_id: RegistrationId::try_from(77).unwrap(),
        pni_registration_id: None,
        name: None,
        fetches_messages: true,
        push_token: None,
        capabilities: Capabilities::default(),
        agent: None,
        created: NOW,
        last_seen: NOW,
    };
    NewNativeDevice {
        device,
        identifier: identifier(text),
        label: DeviceLabel::new(format!("{text}'s name")),
    }
}

pub(super) fn account(number: u8, keys: Option<IdentityKeys>) -> NewNativeAccount {
    NewNativeAccount {
        aci: aci(number),
        username: name(number),
        password: hash(1),
        keys,
        device: device("phone"),
        session: session(u64::from(number) * 100),
        admitted: auth::admission::Admitted::Freely,
        email: None,
    }
}

fn opening(number: u8, version: u64, text: &str, seed: u64) -> OpenSession {
    OpenSession {
        aci: aci(number),
        login_version: version,
        factor_shown: false,
        device: device(text),
        session: session(seed),
        devices_max: 3,
    }
}

fn rotation(presented: &RefreshToken, next: &RefreshToken, at: Timestamp) -> Rotation {
    Rotation {
        family: presented.family(),
        presented: presented.hash(),
        next: next.hash(),
        at,
        day: NOW,
        expires: at.saturating_add(HOUR),
    }
}

fn address(number: u8, device: u32) -> DeviceAddress {
    DeviceAddress { aci: aci(number), device_id: device.try_into().unwrap() }
}

async fn is_live(stores: &Stores, seed: u64) -> bool {
    stores.native.session(session(seed).id, NOW).await.unwrap().is_some()
}

/// Runs the whole suite; `open` opens the same store anew, as after a restart.
pub async fn run<F, R>(open: F)
where
    F: Fn() -> R,
    R: Future<Output = Stores>,
{
    let stores = open().await;
    writes_account_login_session_and_profile_together(&stores).await;
    gives_a_name_to_one(&stores).await;
    opens_sessions_for_known_and_new_devices(&stores).await;
    rotates_tokens_and_ends_the_session_of_one_used_twice(&stores).await;
    lets_one_of_many_rotate(&stores).await;
    ends_sessions(&stores).await;
    changes_passwords_by_version(&stores).await;
    opens_no_session_past_a_second_factor(&stores).await;
    publishes_identities(&stores).await;
    linking::run(&stores).await;
    forgets_everything_with_the_account(&stores).await;
    operator::run(&stores).await;
    stores.native.register(account(90, None)).await.unwrap();
    drop(stores);
    let stores = open().await;
    assert!(is_live(&stores, 9000).await);
}

async fn writes_account_login_session_and_profile_together(stores: &Stores) {
    let outcome = stores.native.register(account(1, None)).await.unwrap();
    assert_eq!(outcome, RegisterNativeOutcome::Registered);
    let found = stores.accounts.account(ServiceId::Aci(aci(1))).await.unwrap().unwrap();
    assert!(found.identity_key.is_none() && found.number.is_none() && found.devices.len() == 1);
    let login = stores.native.login(&name(1), &identifier("phone")).await.unwrap().unwrap();
    assert_eq!((login.aci, login.username, login.password), (aci(1), name(1), hash(1)));
    assert!(login.knows_device);
    assert!(!stores.native.login(&name(1), &identifier("other")).await.unwrap().unwrap().knows_device);
    assert!(stores.native.login(&name(2), &identifier("phone")).await.unwrap().is_none());
    let profile = stores.profiles.profile(aci(1)).await.unwrap().unwrap();
    assert_eq!((profile.aci, profile.username.as_str()), (aci(1), "person-1"));
    let live = stores.native.session(session(100).id, NOW).await.unwrap().unwrap();
    assert_eq!((live.device.address(), live.keyless), (address(1, 1), true));
    assert!(stores.native.session(session(100).id, NOW.saturating_add(HOUR)).await.unwrap().is_none());
    let [info] = &stores.native.sessions(aci(1), NOW).await.unwrap()[..] else { panic!("one session") };
    assert_eq!(info.label.as_ref().unwrap().as_str(), "phone's name");
    // Without an identity key there are no keys to fetch, and yet somebody to write to.
    assert!(stores.owners.owner(ServiceId::Aci(aci(1))).await.unwrap().is_none());
    assert_eq!(stores.recipients.roster(aci(1).into()).await.unwrap().unwrap().devices.len(), 1);
}

async fn gives_a_name_to_one(stores: &Stores) {
    let tries = (10..18).map(|number| {
        let (native, account) =
            (Arc::clone(&stores.native), NewNativeAccount { username: name(10), ..account(number, None) });
        tokio::spawn(async move { native.register(account).await.unwrap() })
    });
    let mut registered = 0;
    for outcome in tries.collect::<Vec<_>>() {
        registered += usize::from(outcome.await.unwrap() == RegisterNativeOutcome::Registered);
    }
    assert_eq!(registered, 1);
    let mut profiles = 0;
    for number in 10..18 {
        let profile = stores.profiles.profile(aci(number)).await.unwrap();
        let account = stores.accounts.exists(aci(number).into()).await.unwrap();
        assert_eq!(profile.is_some(), account, "both or neither");
        profiles += usize::from(profile.is_some());
    }
    assert_eq!(profiles, 1);
}

async fn opens_sessions_for_known_and_new_devices(stores: &Stores) {
    stores.native.register(account(20, None)).await.unwrap();
    let open = async |version, text, seed| {
        stores.native.open_session(opening(20, version, text, seed)).await.unwrap()
    };
    let opened = |outcome| match outcome {
        OpenSessionOutcome::Opened { device, joined, .. } => (device.device_id.get(), joined),
        other => panic!("{other:?}"),
    };
    assert_eq!(opened(open(1, "phone", 2001).await), (1, false));
    assert!(
        !is_live(stores, 2000).await && is_live(stores, 2001).await,
        "the former session of the device ends"
    );
    assert_eq!(opened(open(1, "tablet", 2002).await), (2, true));
    assert_eq!(opened(open(1, "desk", 2003).await), (3, true));
    assert_eq!(open(1, "another", 2004).await, OpenSessionOutcome::TooManyDevices);
    assert_eq!(open(2, "phone", 2005).await, OpenSessionOutcome::Outdated);
    assert!(is_live(stores, 2001).await, "nothing happens by halves");
    assert_eq!(stores.recipients.roster(aci(20).into()).await.unwrap().unwrap().devices.len(), 3);
    assert!(stores.accounts.remove_device(address(20, 2), NOW).await.unwrap());
    assert!(!is_live(stores, 2002).await, "a session goes with its device");
    assert_eq!(opened(open(1, "another", 2006).await), (2, true), "and makes room");
    let opened = stores.native.open_session(opening(21, 1, "phone", 2100)).await.unwrap();
    assert_eq!(opened, OpenSessionOutcome::Outdated, "no such account");
}

async fn opens_no_session_past_a_second_factor(stores: &Stores) {
    stores.native.register(account(25, None)).await.unwrap();
    let open = async |factor_shown, text, seed| {
        let new = OpenSession { factor_shown, ..opening(25, 1, text, seed) };
        matches!(stores.native.open_session(new).await.unwrap(), OpenSessionOutcome::Opened { .. })
    };
    assert!(open(false, "phone", 2501).await);
    assert_eq!(stores.factors.add(aci(25), passkey(25)).await.unwrap(), AddOutcome::Added(id(0)));
    assert!(!open(false, "phone", 2502).await && !open(false, "tablet", 2503).await);
    assert!(is_live(stores, 2501).await, "nothing happens by halves");
    assert!(open(true, "tablet", 2504).await);
    assert!(stores.factors.remove(aci(25), id(0), None).await.unwrap());
    assert!(open(false, "phone", 2505).await);
}

async fn rotates_tokens_and_ends_the_session_of_one_used_twice(stores: &Stores) {
    stores.native.register(account(30, None)).await.unwrap();
    let first = token(3000);
    let entropy = SeededEntropy::new(31);
    let (second, third) = (first.next(&entropy), first.next(&entropy));
    let rotate = async |presented: &RefreshToken, next: &RefreshToken, at| {
        stores.native.rotate(rotation(presented, next, at)).await.unwrap()
    };
    let (device, id) = (address(30, 1), session(3000).id);
    let soon = NOW.saturating_add(HOUR / 2);
    let expires = soon.saturating_add(HOUR);
    let rotated = rotate(&first, &second, soon).await;
    assert_eq!(rotated, RotateOutcome::Rotated { device, session: id, expires });
    assert!(stores.native.session(id, NOW.saturating_add(HOUR)).await.unwrap().is_some(), "it lasts longer");
    assert_eq!(stores.native.sessions(aci(30), NOW).await.unwrap()[0].last_used, soon);
    // Somebody has a copy of the first.
    assert_eq!(rotate(&first, &third, soon).await, RotateOutcome::Reused { device, session: id });
    assert!(!is_live(stores, 3000).await);
    for token in [&first, &second, &third] {
        assert_eq!(rotate(token, &third, soon).await, RotateOutcome::Unknown, "the family is gone");
    }
    stores.native.register(account(31, None)).await.unwrap();
    let first = token(3100);
    let late = NOW.saturating_add(HOUR);
    assert_eq!(rotate(&first, &first.next(&entropy), late).await, RotateOutcome::Unknown, "it is over");
    // No refresh goes beyond the end.
    stores.native.register(account(32, None)).await.unwrap();
    let mut present = token(3200);
    for minutes in [50, 100, 150] {
        let next = present.next(&entropy);
        let at = NOW.saturating_add(Duration::from_mins(minutes));
        let RotateOutcome::Rotated { expires, .. } = rotate(&present, &next, at).await else { panic!() };
        assert_eq!(expires, at.saturating_add(HOUR).min(NOW.saturating_add(3 * HOUR)));
        present = next;
    }
}

async fn lets_one_of_many_rotate(stores: &Stores) {
    stores.native.register(account(40, None)).await.unwrap();
    let tries = (0..8).map(|seed| {
        let native = Arc::clone(&stores.native);
        let next = token(4000).next(&SeededEntropy::new(4100 + seed));
        tokio::spawn(async move { native.rotate(rotation(&token(4000), &next, NOW)).await.unwrap() })
    });
    let (mut rotated, mut reused) = (0, 0);
    for outcome in tries.collect::<Vec<_>>() {
        match outcome.await.unwrap() {
            RotateOutcome::Rotated { .. } => rotated += 1,
            RotateOutcome::Reused { .. } => reused += 1,
            RotateOutcome::Unknown => {}
        }
    }
    assert_eq!((rotated, reused), (1, 1), "then there is no session left");
}

async fn ends_sessions(stores: &Stores) {
    stores.native.register(account(50, None)).await.unwrap();
    for (text, seed) in [("tablet", 5001), ("desk", 5002)] {
        stores.native.open_session(opening(50, 1, text, seed)).await.unwrap();
    }
    let id = |seed| session(seed).id;
    assert_eq!(stores.native.end_session(aci(1), id(5001)).await.unwrap(), None, "somebody else's");
    assert_eq!(stores.native.end_session(aci(50), id(5001)).await.unwrap(), Some(2.try_into().unwrap()));
    assert_eq!(stores.native.end_session(aci(50), id(5001)).await.unwrap(), None);
    let ended = stores.native.end_sessions(aci(50), Some(id(5002))).await.unwrap();
    assert_eq!(ended, [DeviceId::PRIMARY]);
    assert!(is_live(stores, 5002).await && !is_live(stores, 5000).await);
    assert_eq!(stores.native.end_sessions(aci(50), None).await.unwrap().len(), 1);
    assert!(stores.native.sessions(aci(50), NOW).await.unwrap().is_empty());
    let later = NOW.saturating_add(HOUR);
    assert!(stores.native.remove_expired_sessions(later).await.unwrap() > 0);
    assert_eq!(stores.native.remove_expired_sessions(later).await.unwrap(), 0);
    stores.native.open_session(opening(50, 1, "desk", 5003)).await.unwrap();
}

async fn changes_passwords_by_version(stores: &Stores) {
    stores.native.register(account(60, None)).await.unwrap();
    stores.native.open_session(opening(60, 1, "tablet", 6001)).await.unwrap();
    let password = async || stores.native.login_of(aci(60)).await.unwrap().unwrap();
    stores.native.rehash(aci(60), 2, hash(2)).await.unwrap();
    assert_eq!(password().await.password, hash(1), "of another version");
    stores.native.rehash(aci(60), 1, hash(2)).await.unwrap();
    assert_eq!((password().await.password, password().await.version), (hash(2), 1));
    let kept = Some(session(6000).id);
    let changed = stores.native.change_password(aci(60), 1, hash(3), kept).await.unwrap();
    assert_eq!(changed, ChangePasswordOutcome::Changed(vec![2.try_into().unwrap()]));
    assert!(is_live(stores, 6000).await && !is_live(stores, 6001).await);
    assert_eq!((password().await.password, password().await.version), (hash(3), 2));
    let again = stores.native.change_password(aci(60), 1, hash(4), None).await.unwrap();
    assert_eq!(again, ChangePasswordOutcome::Outdated);
    let opened = stores.native.open_session(opening(60, 1, "phone", 6002)).await.unwrap();
    assert_eq!(opened, OpenSessionOutcome::Outdated, "checked against the former password");
    assert!(is_live(stores, 6000).await);
}

async fn publishes_identities(stores: &Stores) {
    stores.native.register(account(70, None)).await.unwrap();
    stores.native.open_session(opening(70, 1, "tablet", 7001)).await.unwrap();
    let publish = async |device, fill, replace| {
        let publication = Publication {
            device: address(70, device),
            keys: identity_keys(fill),
            registration_id: Some(RegistrationId::try_from(88).unwrap()),
            replace,
        };
        stores.native.publish_identity(publication).await.unwrap()
    };
    let id = ServiceId::Aci(aci(70));
    let roster = async || {
        let roster = stores.recipients.roster(id).await.unwrap().unwrap();
        roster
            .devices
            .iter()
            .map(|device| (device.id.get(), device.registration_id.get()))
            .collect::<Vec<_>>()
    };
    assert_eq!(roster().await, [(1, 77), (2, 77)], "whoever has no keys at all is written to all the same");
    assert_eq!(publish(1, 0x11, false).await, PublishOutcome::Published);
    assert_eq!(roster().await, [(1, 88)], "nobody can encrypt for the other yet");
    assert_eq!(publish(2, 0x12, false).await, PublishOutcome::OtherIdentity);
    assert_eq!(publish(2, 0x11, false).await, PublishOutcome::Published);
    assert_eq!(roster().await, [(1, 88), (2, 88)]);
    assert!(!stores.native.session(session(7001).id, NOW).await.unwrap().unwrap().keyless);
    let owner = stores.owners.owner(id).await.unwrap().unwrap();
    assert_eq!(owner.identity_key, identity_keys(0x11).identity_key);
    assert_eq!(publish(1, 0x13, true).await, PublishOutcome::Published);
    let owner = stores.owners.owner(id).await.unwrap().unwrap();
    assert_eq!(owner.identity_key, identity_keys(0x13).identity_key);
    assert_eq!(roster().await, [(1, 88)], "the other's keys are under the former identity");
    let slot = KeySlot { identity: aci(70).0, device: 2.try_into().unwrap() };
    assert!(stores.keys.repeated_use(slot).await.unwrap().is_none());
    assert_eq!(publish(3, 0x13, false).await, PublishOutcome::NoSuchDevice);
}

async fn forgets_everything_with_the_account(stores: &Stores) {
    stores.native.register(account(80, Some(identity_keys(0x21)))).await.unwrap();
    let owner = stores.owners.owner(aci(80).into()).await.unwrap().unwrap();
    assert_eq!(owner.identity_key, identity_keys(0x21).identity_key);
    assert!(!stores.native.session(session(8000).id, NOW).await.unwrap().unwrap().keyless);
    assert!(stores.accounts.delete(aci(80), NOW).await.unwrap());
    assert!(!is_live(stores, 8000).await);
    assert!(stores.native.login(&name(80), &identifier("phone")).await.unwrap().is_none());
    assert!(stores.native.login_of(aci(80)).await.unwrap().is_none());
    assert!(stores.profiles.profile(aci(80)).await.unwrap().is_none());
    let slot = KeySlot { identity: aci(80).0, device: DeviceId::PRIMARY };
    assert!(stores.keys.repeated_use(slot).await.unwrap().is_none());
    let again = NewNativeAccount { aci: aci(81), ..account(80, None) };
    let again = NewNativeAccount { session: session(8100), ..again };
    assert_eq!(
        stores.native.register(again).await.unwrap(),
        RegisterNativeOutcome::Registered,
        "the name is free"
    );
}
