//! What every store must do as devices come and go.

use std::time::Duration;

use auth::{
    Account, Device,
    account::AccountVersion,
    device::Agent,
    linking::{
        LinkCode, LinkCodeId,
        store::{LinkOutcome, NewLinkedDevice, SignedKeys},
    },
    revocation::QueueClear,
    store::{IdentityKeys, RegisterOutcome},
};
use keys::{KeyCounts, KeySlot, KeyUpload};
use protocol::{
    Aci, DeviceAddress, DeviceId, RegistrationId, ServiceId,
    ambient::Timestamp,
    keys::{EcPreKey, KeyId},
};
use uuid::Uuid;

use super::{
    Stores,
    made_up::{NOW, again, device, identity_keys, later, pni, primary, read, register, registration},
};

/// Runs this part of the suite.
pub(super) async fn run(stores: &Stores) {
    a_code_lets_one_device_in(stores).await;
    a_device_checked_against_the_past_is_not_linked(stores).await;
    codes_end_with_their_time_and_with_their_account(stores).await;
    one_of_many_devices_uses_a_code(stores).await;
    a_removed_device_leaves_nothing(stores).await;
    rosters_follow_devices(stores).await;
}

pub(super) fn code(text: &str) -> LinkCodeId {
    LinkCode::shown(text.to_owned()).id()
}

pub(super) fn signed_keys(fill: u8) -> SignedKeys {
    let IdentityKeys { signed_pre_key, last_resort_pre_key, .. } = identity_keys(fill);
    SignedKeys { signed_pre_key, last_resort_pre_key }
}

fn linked(id: u32) -> Device {
    Device {
        id: DeviceId::try_from(id).unwrap(),
        registration_id: RegistrationId::try_from(100 + id).unwrap(),
        pni_registration_id: RegistrationId::try_from(200 + id).ok(),
        name: None,
        fetches_messages: true,
        push_token: None,
        agent: Some(Agent::new("OWD")),
        ..device()
    }
}

/// Device 2 of that account as it was read, linked at that moment.
pub(super) fn second(account: &Account, code: LinkCodeId, at: Timestamp) -> NewLinkedDevice {
    NewLinkedDevice {
        code,
        aci: account.aci,
        version: account.version,
        device: linked(2),
        aci_keys: signed_keys(0x55),
        pni_keys: Some(signed_keys(0x66)),
        at,
        remembered_until: at.saturating_add(Duration::from_hours(1)),
    }
}

/// Links device 2 with a code of that text; the account as it is then.
pub(super) async fn link(stores: &Stores, account: &Account, text: &str, at: Timestamp) -> Account {
    stores.links.add_code(code(text), account.aci, at.saturating_add(Duration::from_secs(1))).await.unwrap();
    let outcome = stores.links.link(second(account, code(text), at)).await.unwrap();
    assert_eq!(outcome, LinkOutcome::Linked);
    read(stores, account.aci).await.unwrap()
}

async fn clear_of(stores: &Stores, device: DeviceAddress) -> Option<QueueClear> {
    let clears = stores.accounts.queue_clears(1000).await.unwrap();
    clears.into_iter().find(|clear| (clear.aci, clear.device) == (device.aci, Some(device.device_id)))
}

async fn a_code_lets_one_device_in(stores: &Stores) {
    let (account, _) = register(stores, registration(20)).await;
    let id = code("first");
    stores.links.add_code(id, account.aci, later(600)).await.unwrap();
    assert_eq!(stores.links.code_owner(id, NOW).await.unwrap(), Some(account.aci));
    assert_eq!(stores.links.code_owner(code("another"), NOW).await.unwrap(), None);
    assert!(stores.links.linked(id, account.aci, NOW).await.unwrap().is_none());

    // An earlier device of that id may have left one-time keys.
    let slots = [account.aci.0, pni(&account).0].map(|identity| KeySlot { identity, device: linked(2).id });
    let one_time =
        EcPreKey { key_id: KeyId::try_from(1).unwrap(), public_key: identity_keys(1).identity_key };
    for slot in slots {
        stores
            .keys
            .put(slot, KeyUpload { one_time: vec![one_time.clone()], ..Default::default() })
            .await
            .unwrap();
    }
    assert_eq!(stores.links.link(second(&account, id, later(5))).await.unwrap(), LinkOutcome::Linked);

    let found = read(stores, account.aci).await.unwrap();
    assert_eq!(found.devices, [device(), linked(2)]);
    assert!(found.version > account.version);
    for (slot, fill) in slots.into_iter().zip([0x55, 0x66]) {
        let SignedKeys { signed_pre_key, last_resort_pre_key } = signed_keys(fill);
        let keys = stores.keys.repeated_use(slot).await.unwrap();
        assert_eq!(keys, Some((signed_pre_key, last_resort_pre_key)));
        assert_eq!(stores.keys.counts(slot).await.unwrap(), KeyCounts::default());
    }
    keys_are_of_primary(stores, &account).await;
    let address = DeviceAddress { aci: account.aci, device_id: linked(2).id };
    let sign_in = stores.accounts.sign_in(address).await.unwrap().unwrap();
    assert_eq!((sign_in.credential, sign_in.pni), (device().credential, account.pni()));
    assert_eq!(clear_of(stores, address).await.unwrap().cutoff, later(5));

    assert_eq!(stores.links.code_owner(id, NOW).await.unwrap(), None, "a code is good for one device");
    let mut third = second(&found, id, later(6));
    third.device = linked(3);
    assert_eq!(stores.links.link(third).await.unwrap(), LinkOutcome::CodeUsed);
    assert_eq!(stores.links.linked(id, account.aci, later(3604)).await.unwrap(), Some(linked(2).id));
    assert_eq!(stores.links.linked(id, account.aci, later(3605)).await.unwrap(), None);
    let (other, _) = register(stores, registration(21)).await;
    assert_eq!(stores.links.linked(id, other.aci, NOW).await.unwrap(), None, "it is nobody else's device");
}

async fn keys_are_of_primary(stores: &Stores, account: &Account) {
    let slot = KeySlot { identity: account.aci.0, device: DeviceId::PRIMARY };
    let IdentityKeys { signed_pre_key, last_resort_pre_key, .. } = identity_keys(0x11);
    let keys = stores.keys.repeated_use(slot).await.unwrap();
    assert_eq!(keys, Some((signed_pre_key, last_resort_pre_key)));
}

async fn a_device_checked_against_the_past_is_not_linked(stores: &Stores) {
    let (account, _) = register(stores, registration(22)).await;
    let id = code("past");
    stores.links.add_code(id, account.aci, later(600)).await.unwrap();
    let past = AccountVersion(account.version.0 - 1);
    let outdated = NewLinkedDevice { version: past, ..second(&account, id, NOW) };
    assert_eq!(stores.links.link(outdated).await.unwrap(), LinkOutcome::Outdated);
    assert_eq!(stores.links.code_owner(id, NOW).await.unwrap(), Some(account.aci), "the code is still good");
    let nobody = NewLinkedDevice { aci: Aci(Uuid::from_u128(0x2200)), ..second(&account, id, NOW) };
    assert_eq!(stores.links.link(nobody).await.unwrap(), LinkOutcome::CodeUsed);
    let (other, _) = register(stores, registration(23)).await;
    assert_eq!(stores.links.link(second(&other, id, NOW)).await.unwrap(), LinkOutcome::CodeUsed);
    assert_eq!(read(stores, other.aci).await.unwrap().devices, [device()]);

    // A registration that was checked before the device came must see it first.
    link(stores, &account, "newer", NOW).await;
    let outcome = stores.accounts.register(again(&account, 22, NOW)).await.unwrap();
    assert!(matches!(outcome, RegisterOutcome::Outdated));
}

async fn codes_end_with_their_time_and_with_their_account(stores: &Stores) {
    let (account, _) = register(stores, registration(24)).await;
    let ids = [code("short"), code("long")];
    for (id, expires) in ids.into_iter().zip([later(10), later(20)]) {
        stores.links.add_code(id, account.aci, expires).await.unwrap();
    }
    let owners = async |at| {
        let mut owners = Vec::new();
        for id in ids {
            owners.push(stores.links.code_owner(id, at).await.unwrap().is_some());
        }
        owners
    };
    assert_eq!(owners(later(9)).await, [true, true]);
    assert_eq!(owners(later(10)).await, [false, true]);
    stores.links.remove_expired_codes(later(10)).await.unwrap();
    assert_eq!(owners(NOW).await, [false, true]);
    let (account, _) = register(stores, again(&account, 24, later(1))).await;
    assert_eq!(owners(NOW).await, [false, false], "the account has passed to somebody else");
    stores.links.add_code(ids[0], account.aci, later(20)).await.unwrap();
    stores.accounts.delete(account.aci, later(2)).await.unwrap();
    assert_eq!(owners(NOW).await, [false, false]);
    stores.links.add_code(ids[1], account.aci, later(20)).await.unwrap();
    assert_eq!(owners(NOW).await, [false, false], "there is no account to link to");
}

async fn one_of_many_devices_uses_a_code(stores: &Stores) {
    let (account, _) = register(stores, registration(25)).await;
    let id = code("many");
    stores.links.add_code(id, account.aci, later(600)).await.unwrap();
    let tries = (2..10).map(|device| {
        let (stores, new) =
            (stores.clone(), NewLinkedDevice { device: linked(device), ..second(&account, id, NOW) });
        tokio::spawn(async move { stores.links.link(new).await.unwrap() })
    });
    let mut linked = 0;
    for outcome in tries.collect::<Vec<_>>() {
        linked += usize::from(outcome.await.unwrap() == LinkOutcome::Linked);
    }
    assert_eq!(linked, 1);
    assert_eq!(read(stores, account.aci).await.unwrap().devices.len(), 2);
}

async fn a_removed_device_leaves_nothing(stores: &Stores) {
    let (account, _) = register(stores, registration(26)).await;
    let account = link(stores, &account, "leaving", NOW).await;
    let address = DeviceAddress { aci: account.aci, device_id: linked(2).id };
    let remove = async |device| stores.accounts.remove_device(device, later(7)).await.unwrap();
    assert!(!remove(primary(account.aci)).await, "the primary goes only with its account");
    assert!(!remove(DeviceAddress { device_id: linked(3).id, ..address }).await);
    assert!(!remove(DeviceAddress { aci: Aci(Uuid::from_u128(0x2600)), ..address }).await);
    assert!(remove(address).await);
    assert!(!remove(address).await);

    let found = read(stores, account.aci).await.unwrap();
    assert_eq!(found.devices, [device()]);
    assert!(found.version > account.version);
    assert!(stores.accounts.sign_in(address).await.unwrap().is_none());
    for identity in [account.aci.0, pni(&account).0] {
        let slot = KeySlot { identity, device: address.device_id };
        assert_eq!(stores.keys.repeated_use(slot).await.unwrap(), None);
    }
    keys_are_of_primary(stores, &account).await;
    let clear = clear_of(stores, address).await.unwrap();
    assert_eq!(clear.cutoff, later(7));
    assert!(stores.links.linked(code("leaving"), account.aci, NOW).await.unwrap().is_none());

    // The next device of that id is not the one that somebody still waits for.
    let next = link(stores, &found, "next", later(8)).await;
    assert!(stores.links.linked(code("leaving"), account.aci, NOW).await.unwrap().is_none());
    assert_eq!(next.devices.len(), 2);
    stores.accounts.queue_cleared(clear).await.unwrap();
    let pending = clear_of(stores, address).await.unwrap();
    assert_eq!(pending.cutoff, later(8), "the later one is still to be done");
    stores.accounts.queue_cleared(QueueClear { device: None, ..pending }).await.unwrap();
    assert_eq!(clear_of(stores, address).await, Some(pending), "that was another one");
    stores.accounts.queue_cleared(pending).await.unwrap();
    assert_eq!(clear_of(stores, address).await, None);
}

async fn rosters_follow_devices(stores: &Stores) {
    let (mut account, _) = register(stores, registration(27)).await;
    let ids = [ServiceId::Aci(account.aci), ServiceId::Pni(pni(&account))];
    let devices = async |id| {
        let roster = stores.recipients.roster(id).await.unwrap().unwrap();
        roster.devices.iter().map(|device| device.id.get()).collect::<Vec<_>>()
    };
    for round in 0..10 {
        for id in ids {
            assert_eq!(devices(id).await, [1]);
        }
        account = link(stores, &account, &format!("round {round}"), later(round)).await;
        for id in ids {
            assert_eq!(devices(id).await, [1, 2]);
        }
        let address = DeviceAddress { aci: account.aci, device_id: linked(2).id };
        assert!(stores.accounts.remove_device(address, later(round)).await.unwrap());
        account = read(stores, account.aci).await.unwrap();
    }
}
