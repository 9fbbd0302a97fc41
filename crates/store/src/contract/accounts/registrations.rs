//! What every store must do when a number is registered, and again.

use std::collections::HashSet;

use auth::{
    Account,
    account::AccountVersion,
    revocation::QueueClear,
    store::{AccountChange, Change, DeviceChange, NewRegistration, RegisterOutcome},
};
use keys::{KeyCounts, KeySlot, KeyUpload};
use protocol::{
    Aci, DeviceAddress, DeviceId, Pni, ServiceId,
    keys::{EcPreKey, KeyId},
};
use uuid::Uuid;

use super::{
    Stores,
    made_up::{
        NOW, again, device, hash, identity_keys, later, number, pni, primary, read, register, registration,
    },
};

/// Runs this part of the suite.
pub(super) async fn run(stores: &Stores) {
    a_new_number_makes_an_account(stores).await;
    re_registration_replaces_all_but_the_identities(stores).await;
    a_registration_checked_against_the_past_is_refused(stores).await;
    one_of_many_first_registrations_wins(stores).await;
    a_deleted_account_comes_back_for_a_while(stores).await;
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
