//! What every [`AccountStore`] must do, and what others read of accounts: [`Recipients`] and [`KeyOwners`].

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

mod devices;
mod idle;
mod numberless;
mod numbers;

use std::{collections::HashSet, sync::Arc, time::Duration};

use ::push::PushTargets;
use auth::{
    Account, Device,
    account::AccountVersion,
    admission::Admitted,
    capabilities::{Capabilities, Capability},
    change_number::store::NumberStore,
    device::{Agent, Credential, DeviceName, PushService, PushToken},
    idle::IdleStore,
    linking::store::LinkStore,
    registration::store::NumberlessStore,
    revocation::QueueClear,
    secrets::{Password, SaltedHash},
    store::{
        AccountChange, AccountStore, Change, ChangeOutcome, DeviceChange, IdentityKeys, NewRegistration,
        PushTokenChange, RegisterOutcome,
    },
};
use keys::{KeyCounts, KeyOwners, KeySlot, KeyStore, KeyUpload};
use messages::Recipients;
use protocol::{
    AccessKey, Aci, DeviceAddress, DeviceId, PhoneNumber, Pni, RegistrationId, ServiceId, UnidentifiedAccess,
    ambient::{SeededEntropy, Timestamp},
    keys::{EcPreKey, EcPublicKey, EcSignedPreKey, KemPublicKey, KemSignedPreKey, KeyId, Signature},
};
use uuid::Uuid;

/// One store seen through each of its traits.
#[derive(Clone)]
pub struct Stores {
    /// Accounts.
    pub accounts: Arc<dyn AccountStore>,
    /// Link codes and the devices they let in.
    pub links: Arc<dyn LinkStore>,
    /// Where pushes reach devices.
    pub targets: Arc<dyn PushTargets>,
    /// Changes of number.
    pub numbers: Arc<dyn NumberStore>,
    /// Accounts without a number.
    pub numberless: Arc<dyn NumberlessStore>,
    /// Devices that have not been seen.
    pub idle: Arc<dyn IdleStore>,
    /// The devices behind an identity.
    pub recipients: Arc<dyn Recipients>,
    /// Who an identity's keys belong to.
    pub owners: Arc<dyn KeyOwners>,
    /// Keys of the same store.
    pub keys: Arc<dyn KeyStore>,
}

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn later(seconds: u64) -> Timestamp {
    NOW.saturating_add(Duration::from_secs(seconds))
}

fn number(digits: u32) -> PhoneNumber {
    format!("+1555{digits:07}").parse().unwrap()
}

fn hash(secret: &str) -> SaltedHash {
    SaltedHash::new(secret.as_bytes(), &SeededEntropy::new(3))
}

pub(super) fn identity_keys(fill: u8) -> IdentityKeys {
    let ec = |first: u8| EcPublicKey::try_from(&[&[5], &[first; 32][..]].concat()[..]).unwrap();
    let signature = Signature::from([fill; 64]);
    let mut kem = vec![fill; KemPublicKey::LEN];
    kem[0] = 8;
    IdentityKeys {
        identity_key: ec(fill),
        signed_pre_key: EcSignedPreKey {
            key_id: KeyId::try_from(u32::from(fill)).unwrap(),
            public_key: ec(fill.wrapping_add(1)),
            signature,
        },
        last_resort_pre_key: KemSignedPreKey {
            key_id: KeyId::try_from(u32::from(fill)).unwrap(),
            public_key: KemPublicKey::try_from(kem).unwrap(),
            signature,
        },
    }
}

fn device() -> Device {
    Device {
        id: DeviceId::PRIMARY,
        credential: Credential::new(&Password::new("password".to_owned()), &SeededEntropy::new(4)),
        registration_id: RegistrationId::try_from(11).unwrap(),
        pni_registration_id: Some(RegistrationId::try_from(22).unwrap()),
        name: DeviceName::new(vec![1, 2, 3]),
        fetches_messages: false,
        push_token: PushToken::new(PushService::Fcm, "token-of-a-push".to_owned()),
        capabilities: [Capability::Spqr, Capability::Storage].into_iter().collect(),
        agent: Some(Agent::new("OWA")),
        created: NOW,
        last_seen: NOW,
    }
}

fn registration(digits: u32) -> NewRegistration {
    NewRegistration {
        number: number(digits),
        replaces: None,
        new_aci: Aci(Uuid::from_u128(u128::from(digits) << 32 | 0xA)),
        new_pni: Pni(Uuid::from_u128(u128::from(digits) << 32 | 0xB)),
        aci_keys: identity_keys(0x11),
        pni_keys: identity_keys(0x22),
        device: device(),
        unidentified_access: UnidentifiedAccess {
            key: AccessKey::try_from(&[9; 16][..]).ok(),
            unrestricted: false,
        },
        discoverable: true,
        registration_lock: Some(hash("lock")),
        recovery_password: Some(hash("recovery")),
        admitted: Admitted::Freely,
        at: NOW,
        reuse_deleted_since: Timestamp::from_millis(NOW.as_millis() - 1000),
    }
}

async fn register(stores: &Stores, registration: NewRegistration) -> (Account, Option<Account>) {
    match stores.accounts.register(registration).await.unwrap() {
        RegisterOutcome::Registered { account, replaced } => (*account, replaced.map(|account| *account)),
        RegisterOutcome::Outdated | RegisterOutcome::NotAdmitted => {
            panic!("the registration is not outdated")
        }
    }
}

async fn read(stores: &Stores, aci: Aci) -> Option<Account> {
    stores.accounts.account(ServiceId::Aci(aci)).await.unwrap()
}

fn pni(account: &Account) -> Pni {
    account.pni().unwrap()
}

fn primary(aci: Aci) -> DeviceAddress {
    DeviceAddress { aci, device_id: DeviceId::PRIMARY }
}

/// Replaces `account` by one registered `at`.
fn again(account: &Account, digits: u32, at: Timestamp) -> NewRegistration {
    let mut device = device();
    device.registration_id = RegistrationId::try_from(33).unwrap();
    NewRegistration {
        replaces: Some((account.aci, account.version)),
        new_aci: Aci(Uuid::from_u128(0xDEAD)),
        new_pni: Pni(Uuid::from_u128(0xBEEF)),
        aci_keys: identity_keys(0x33),
        pni_keys: identity_keys(0x44),
        device,
        registration_lock: None,
        recovery_password: None,
        at,
        ..registration(digits)
    }
}

/// A newly registered account.
pub(super) async fn account(stores: &Stores, digits: u32) -> Account {
    register(stores, registration(digits)).await.0
}

/// The same with a second device.
pub(super) async fn account_with_second_device(stores: &Stores, digits: u32) -> Account {
    let account = account(stores, digits).await;
    devices::link(stores, &account, &format!("a second device of {digits}"), NOW).await
}

/// That account, registered again.
pub(super) async fn register_again(
    stores: &Stores,
    account: &Account,
    digits: u32,
    at: Timestamp,
) -> Account {
    let account = read(stores, account.aci).await.unwrap();
    register(stores, again(&account, digits, at)).await.0
}

/// Runs the whole suite; `open` opens the same store anew, as after a restart.
pub async fn run<F, R>(open: F)
where
    F: Fn() -> R,
    R: Future<Output = Stores>,
{
    let stores = open().await;
    a_new_number_makes_an_account(&stores).await;
    re_registration_replaces_all_but_the_identities(&stores).await;
    a_registration_checked_against_the_past_is_refused(&stores).await;
    one_of_many_first_registrations_wins(&stores).await;
    a_deleted_account_comes_back_for_a_while(&stores).await;
    changes_reach_what_they_name(&stores).await;
    a_lock_shuts_every_device_out(&stores).await;
    days_move_forward_only(&stores).await;
    queue_clears_wait_until_done(&stores).await;
    rosters_follow_every_write(&stores).await;
    devices::run(&stores).await;
    let (account, _) = register(&stores, registration(800)).await;
    super::push::targets(&*stores.targets, &*stores.accounts, primary(account.aci)).await;
    numberless::run(&stores).await;
    numbers::run(&stores).await;
    idle::run(&stores).await;
    let (account, _) = register(&stores, registration(900)).await;
    drop(stores);
    let stores = open().await;
    let found = read(&stores, account.aci).await.unwrap();
    assert_eq!((found.number, found.devices), (account.number, account.devices));
}

async fn a_new_number_makes_an_account(stores: &Stores) {
    let before = stores.accounts.number(&number(1)).await.unwrap();
    assert!(before.account.is_none() && before.recovery_password.is_none());
    let (account, replaced) = register(stores, registration(1)).await;
    assert!(replaced.is_none());
    assert_eq!(account.aci, registration(1).new_aci);

    let by_aci = read(stores, account.aci).await.unwrap();
    let by_pni = stores.accounts.account(ServiceId::Pni(pni(&account))).await.unwrap();
    for found in [by_aci, by_pni.unwrap()] {
        assert_eq!(
            (found.aci, found.version, &found.number),
            (account.aci, account.version, &account.number)
        );
        assert_eq!(found.devices, [device()]);
        assert_eq!(found.identity_key, Some(identity_keys(0x11).identity_key));
        assert_eq!(found.unidentified_access.key.unwrap().as_bytes(), &[9; 16]);
        assert_eq!((found.discoverable, found.registration_lock), (true, Some(hash("lock"))));
    }
    let record = stores.accounts.number(&number(1)).await.unwrap();
    assert_eq!(record.account.unwrap().aci, account.aci);
    assert_eq!(record.recovery_password, Some(hash("recovery")));

    let sign_in = stores.accounts.sign_in(primary(account.aci)).await.unwrap().unwrap();
    assert_eq!(
        (sign_in.credential, sign_in.pni, sign_in.last_seen),
        (device().credential, account.pni(), NOW)
    );
    let other = DeviceAddress { device_id: DeviceId::try_from(2).unwrap(), ..primary(account.aci) };
    assert!(stores.accounts.sign_in(other).await.unwrap().is_none());

    for (id, exists) in [
        (ServiceId::Aci(account.aci), true),
        (ServiceId::Pni(pni(&account)), true),
        (ServiceId::Aci(Aci(pni(&account).0)), false),
        (ServiceId::Pni(Pni(account.aci.0)), false),
    ] {
        assert_eq!(stores.accounts.exists(id).await.unwrap(), exists);
    }
    keys_are(stores, &account, 0x11, 0x22).await;
}

/// The keys of the primary are those of the registration.
async fn keys_are(stores: &Stores, account: &Account, aci_fill: u8, pni_fill: u8) {
    for (identity, fill) in [(account.aci.0, aci_fill), (pni(account).0, pni_fill)] {
        let slot = KeySlot { identity, device: DeviceId::PRIMARY };
        let expected = identity_keys(fill);
        let found = stores.keys.repeated_use(slot).await.unwrap();
        assert_eq!(found, Some((expected.signed_pre_key, expected.last_resort_pre_key)));
    }
    let owner = stores.owners.owner(ServiceId::Pni(pni(account))).await.unwrap();
    let owner = owner.unwrap();
    assert_eq!(owner.identity_key, identity_keys(pni_fill).identity_key);
    assert_eq!(owner.devices.iter().map(|device| device.registration_id.get()).collect::<Vec<_>>(), [22]);
}

async fn re_registration_replaces_all_but_the_identities(stores: &Stores) {
    let (first, _) = register(stores, registration(2)).await;
    for identity in [first.aci.0, pni(&first).0] {
        let slot = KeySlot { identity, device: DeviceId::PRIMARY };
        let one_time =
            EcPreKey { key_id: KeyId::try_from(1).unwrap(), public_key: identity_keys(1).identity_key };
        let upload = KeyUpload { one_time: vec![one_time], ..Default::default() };
        stores.keys.put(slot, upload).await.unwrap();
    }
    let (second, replaced) = register(stores, again(&first, 2, later(1))).await;
    assert_eq!(replaced.unwrap().version, first.version);
    assert_eq!((second.aci, second.pni()), (first.aci, first.pni()));
    assert!(second.version > first.version);
    let found = read(stores, first.aci).await.unwrap();
    assert_eq!(found.registration_lock, None, "an absent lock takes the former away");
    assert_eq!(found.devices, [again(&first, 2, NOW).device]);
    let record = stores.accounts.number(&number(2)).await.unwrap();
    assert_eq!(record.recovery_password, Some(hash("recovery")), "an absent password leaves the former");
    keys_are(stores, &second, 0x33, 0x44).await;
    for identity in [first.aci.0, pni(&first).0] {
        let slot = KeySlot { identity, device: DeviceId::PRIMARY };
        assert_eq!(stores.keys.counts(slot).await.unwrap(), KeyCounts::default());
    }
    let clears = stores.accounts.queue_clears(1000).await.unwrap();
    assert!(clears.contains(&QueueClear { aci: first.aci, device: None, cutoff: later(1) }));
}

async fn a_registration_checked_against_the_past_is_refused(stores: &Stores) {
    let (first, _) = register(stores, registration(3)).await;
    let past = [
        registration(3),
        NewRegistration {
            replaces: Some((first.aci, AccountVersion(first.version.0 - 1))),
            ..registration(3)
        },
        NewRegistration { replaces: Some((Aci(Uuid::from_u128(5)), first.version)), ..registration(3) },
        NewRegistration { replaces: Some((first.aci, first.version)), ..registration(4) },
    ];
    for registration in past {
        let outcome = stores.accounts.register(registration).await.unwrap();
        assert!(matches!(outcome, RegisterOutcome::Outdated));
    }
    let lock = AccountChange { registration_lock: Change::Set(Some(hash("new"))), ..Default::default() };
    stores.accounts.change(primary(first.aci), lock, DeviceChange::default()).await.unwrap();
    let outcome = stores.accounts.register(again(&first, 3, NOW)).await.unwrap();
    assert!(matches!(outcome, RegisterOutcome::Outdated), "the lock it was checked against has changed");
    assert_eq!(read(stores, first.aci).await.unwrap().devices, first.devices);
    assert!(stores.accounts.number(&number(4)).await.unwrap().account.is_none());
}

async fn one_of_many_first_registrations_wins(stores: &Stores) {
    let tries = (0..8_u128).map(|i| {
        let stores = stores.clone();
        let new = NewRegistration { new_aci: Aci(Uuid::from_u128(0x500 + i)), ..registration(5) };
        tokio::spawn(async move { stores.accounts.register(new).await })
    });
    let mut registered = HashSet::new();
    for outcome in tries.collect::<Vec<_>>() {
        match outcome.await.unwrap().unwrap() {
            RegisterOutcome::Registered { account, .. } => drop(registered.insert(account.aci.0)),
            RegisterOutcome::Outdated | RegisterOutcome::NotAdmitted => {}
        }
    }
    assert_eq!(registered.len(), 1);
}

async fn a_deleted_account_comes_back_for_a_while(stores: &Stores) {
    let (first, _) = register(stores, registration(6)).await;
    assert!(stores.accounts.delete(first.aci, later(10)).await.unwrap());
    assert!(!stores.accounts.delete(first.aci, later(11)).await.unwrap());
    assert!(read(stores, first.aci).await.is_none());
    assert!(stores.accounts.sign_in(primary(first.aci)).await.unwrap().is_none());
    let record = stores.accounts.number(&number(6)).await.unwrap();
    assert!(record.account.is_none() && record.recovery_password.is_none());
    let slot = KeySlot { identity: pni(&first).0, device: DeviceId::PRIMARY };
    assert!(stores.keys.repeated_use(slot).await.unwrap().is_none());
    let clears = stores.accounts.queue_clears(1000).await.unwrap();
    assert!(clears.contains(&QueueClear { aci: first.aci, device: None, cutoff: later(10) }));

    let anew = NewRegistration { new_aci: Aci(Uuid::from_u128(0x601)), at: later(20), ..registration(6) };
    let within = NewRegistration { reuse_deleted_since: later(10), ..anew.clone() };
    let (second, replaced) = register(stores, within).await;
    assert!(replaced.is_none());
    assert_eq!((second.aci, second.pni()), (first.aci, first.pni()), "soon enough: the same account");
    assert_ne!(second.version, first.version);

    stores.accounts.delete(second.aci, later(30)).await.unwrap();
    let too_late = NewRegistration { reuse_deleted_since: later(31), at: later(40), ..anew };
    let (third, _) = register(stores, too_late).await;
    assert_eq!(third.aci, Aci(Uuid::from_u128(0x601)));
    assert_eq!(third.pni(), first.pni(), "the number keeps its identity for good");
}

async fn changes_reach_what_they_name(stores: &Stores) {
    let (account, _) = register(stores, registration(7)).await;
    let change = |account_change: AccountChange, device_change: DeviceChange| {
        stores.accounts.change(primary(account.aci), account_change, device_change)
    };
    let nothing = change(AccountChange::default(), DeviceChange::default()).await.unwrap();
    assert_eq!(nothing, ChangeOutcome::Done);
    assert_eq!(read(stores, account.aci).await.unwrap().devices, account.devices);

    let account_change = AccountChange {
        registration_lock: Change::Set(None),
        recovery_password: Change::Set(hash("other")),
        unidentified_access: Change::Set(UnidentifiedAccess { key: None, unrestricted: true }),
        discoverable: Change::Set(false),
    };
    let device_change = DeviceChange {
        name: Change::Set(DeviceName::new(vec![7])),
        fetches_messages: Change::Set(true),
        push_token: PushToken::new(PushService::Apns, "other".to_owned())
            .map_or(PushTokenChange::Keep, |token| PushTokenChange::Set(token, NOW)),
        capabilities: Change::Set(Capabilities::default()),
        agent: Change::Set(None),
    };
    change(account_change, device_change.clone()).await.unwrap();
    let found = read(stores, account.aci).await.unwrap();
    assert_eq!((found.registration_lock, found.discoverable), (None, false));
    assert!(found.unidentified_access.key.is_none() && found.unidentified_access.unrestricted);
    let owner = stores.owners.owner(ServiceId::Aci(account.aci)).await.unwrap().unwrap();
    assert!(owner.unidentified_access.unrestricted && owner.unidentified_access.key.is_none());
    let expected = Device {
        name: DeviceName::new(vec![7]),
        fetches_messages: true,
        push_token: PushToken::new(PushService::Apns, "other".to_owned()),
        capabilities: Capabilities::default(),
        agent: None,
        ..device()
    };
    assert_eq!(found.devices, [expected]);
    let record = stores.accounts.number(&number(7)).await.unwrap();
    assert_eq!(record.recovery_password, Some(hash("other")));
    stores.accounts.remove_recovery_password(&number(7)).await.unwrap();
    let record = stores.accounts.number(&number(7)).await.unwrap();
    assert_eq!(record.recovery_password, None);

    let nobody = [
        primary(Aci(Uuid::from_u128(0x700))),
        DeviceAddress { device_id: DeviceId::try_from(2).unwrap(), ..primary(account.aci) },
    ];
    for device in nobody {
        let outcome = stores.accounts.change(device, AccountChange::default(), device_change.clone()).await;
        assert_eq!(outcome.unwrap(), ChangeOutcome::NoSuchDevice);
    }
}

async fn a_lock_shuts_every_device_out(stores: &Stores) {
    let (account, _) = register(stores, registration(8)).await;
    let locked = || async {
        let found = stores.accounts.sign_in(primary(account.aci)).await.unwrap();
        found.unwrap().credential.locked
    };
    let past = AccountVersion(account.version.0 - 1);
    stores.accounts.lock(account.aci, past, false).await.unwrap();
    assert!(!locked().await, "the account is in another state");
    stores.accounts.lock(account.aci, account.version, true).await.unwrap();
    assert!(locked().await);
    let record = stores.accounts.number(&number(8)).await.unwrap();
    assert!(record.recovery_password.is_some(), "to be kept");
    let version = record.account.unwrap().version;
    stores.accounts.lock(account.aci, version, false).await.unwrap();
    let record = stores.accounts.number(&number(8)).await.unwrap();
    assert!(record.recovery_password.is_none());
    let account = record.account.unwrap();
    register(stores, again(&account, 8, later(1))).await;
    assert!(!locked().await, "a new registration opens it");
}

async fn days_move_forward_only(stores: &Stores) {
    let (account, _) = register(stores, registration(9)).await;
    for (day, expected) in [(later(86_400), later(86_400)), (NOW, later(86_400))] {
        stores.accounts.seen(primary(account.aci), day).await.unwrap();
        assert_eq!(read(stores, account.aci).await.unwrap().last_seen(), expected);
    }
}

async fn queue_clears_wait_until_done(stores: &Stores) {
    let (first, _) = register(stores, registration(10)).await;
    let (second, _) = register(stores, again(&first, 10, later(1))).await;
    register(stores, again(&second, 10, later(2))).await;
    let aci = first.aci;
    let pending = || async {
        let clears = stores.accounts.queue_clears(1000).await.unwrap();
        clears.into_iter().find(|clear| clear.aci == aci)
    };
    let last = QueueClear { aci, device: None, cutoff: later(2) };
    assert_eq!(pending().await, Some(last));
    stores.accounts.queue_cleared(QueueClear { aci, device: None, cutoff: later(1) }).await.unwrap();
    assert_eq!(pending().await, Some(last), "the later one is still to be done");
    stores.accounts.queue_cleared(last).await.unwrap();
    assert_eq!(pending().await, None);
    assert_eq!(stores.accounts.queue_clears(1).await.unwrap().len(), 1);
}

async fn rosters_follow_every_write(stores: &Stores) {
    let unknown = stores.recipients.roster(ServiceId::Aci(Aci(Uuid::from_u128(0x1100)))).await;
    assert!(unknown.unwrap().is_none());
    let (mut account, _) = register(stores, registration(11)).await;
    let ids = [ServiceId::Aci(account.aci), ServiceId::Pni(pni(&account))];
    let roster = |id| async move { stores.recipients.roster(id).await.unwrap() };
    for round in 1..20 {
        for id in ids {
            let roster = roster(id).await.unwrap();
            assert_eq!((roster.aci, roster.pni), (account.aci, account.pni()));
            let ids: Vec<_> = roster.devices.iter().map(|device| device.registration_id).collect();
            assert_eq!(ids, [account.devices[0].registration_id]);
        }
        let mut next = again(&account, 11, later(round));
        next.device.registration_id = RegistrationId::try_from(100 + u32::try_from(round).unwrap()).unwrap();
        account = register(stores, next).await.0;
    }
    stores.accounts.delete(account.aci, later(100)).await.unwrap();
    for id in ids {
        assert!(roster(id).await.is_none());
    }
}

/// Registers two accounts, for tests of one engine alone.
pub async fn two_accounts(stores: &Stores) -> [Aci; 2] {
    let (first, _) = register(stores, registration(1001)).await;
    let (second, _) = register(stores, registration(1002)).await;
    [first.aci, second.aci]
}
