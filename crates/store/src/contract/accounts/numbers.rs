//! What every store must do when an account gets another number.

use std::time::Duration;

use auth::{
    Account,
    change_number::store::{NewNotice, NoticeContent, NumberChange, NumberChanged, NumberNotice},
    linking::store::SignedKeys,
    revocation::QueueClear,
    store::RegisterOutcome,
};
use keys::{KeySlot, KeyUpload};
use protocol::{
    DeviceAddress, DeviceId, Pni, RegistrationId, ServiceId,
    keys::{EcPreKey, KeyId},
};
use uuid::Uuid;

use super::{
    Stores,
    devices::signed_keys,
    made_up::{
        NOW, account, account_with_second_device, again, hash, identity_keys, later, number, pni, read,
        register, register_again, registration,
    },
};

/// Runs this part of the suite.
pub(super) async fn run(stores: &Stores) {
    a_free_number_comes_with_its_pni_and_new_keys(stores).await;
    a_number_is_taken_from_its_account(stores).await;
    a_change_checked_against_the_past_is_refused(stores).await;
    the_same_number_only_gets_new_keys(stores).await;
    notices_wait_until_delivered_or_void(stores).await;
}

fn second() -> DeviceId {
    DeviceId::try_from(2).unwrap()
}

/// A change of that account to a number, with keys that begin with 0x71 and 0x72, and a notice for every other device.
fn change(account: &Account, digits: u32) -> NumberChange {
    let part = |device: &auth::Device| {
        let fill = 0x70 + device.id.get();
        let registration_id = RegistrationId::try_from(u32::from(fill)).unwrap();
        (device.id, registration_id, signed_keys(fill))
    };
    let others = account.devices.iter().filter(|device| !device.id.is_primary());
    NumberChange {
        aci: account.aci,
        version: account.version,
        number: number(digits),
        displaces: None,
        new_pni: Pni(Uuid::from_u128(u128::from(digits) << 32 | 0xC)),
        identity_key: identity_keys(0x77).identity_key,
        devices: account.devices.iter().map(part).collect(),
        notices: others.map(|device| NewNotice { device_id: device.id, content: content() }).collect(),
        at: later(5),
    }
}

fn content() -> NoticeContent {
    NoticeContent { source: 1, kind: 1, ciphertext: b"secret to the number".to_vec(), at: later(5) }
}

async fn changed(stores: &Stores, change: NumberChange) -> (Account, Vec<NumberNotice>) {
    match stores.numbers.change_number(change).await.unwrap() {
        NumberChanged::Changed { account, notices } => (*account, notices),
        NumberChanged::Outdated => panic!("the change is not outdated"),
    }
}

async fn outdated(stores: &Stores, change: NumberChange) -> bool {
    matches!(stores.numbers.change_number(change).await.unwrap(), NumberChanged::Outdated)
}

async fn keys_of(stores: &Stores, Pni(identity): Pni, device: DeviceId) -> Option<SignedKeys> {
    let found = stores.keys.repeated_use(KeySlot { identity, device }).await.unwrap();
    found.map(|(signed_pre_key, last_resort_pre_key)| SignedKeys { signed_pre_key, last_resort_pre_key })
}

async fn a_free_number_comes_with_its_pni_and_new_keys(stores: &Stores) {
    let before = account_with_second_device(stores, 400).await;
    let former = pni(&before);
    let slot = KeySlot { identity: former.0, device: second() };
    let one_time =
        EcPreKey { key_id: KeyId::try_from(1).unwrap(), public_key: identity_keys(1).identity_key };
    stores.keys.put(slot, KeyUpload { one_time: vec![one_time], ..Default::default() }).await.unwrap();
    for id in [ServiceId::Aci(before.aci), ServiceId::Pni(former)] {
        stores.recipients.roster(id).await.unwrap().unwrap();
    }

    let (account, notices) = changed(stores, change(&before, 401)).await;
    let found = read(stores, before.aci).await.unwrap();
    assert_eq!(
        (&found.number, &found.devices, found.version),
        (&account.number, &account.devices, account.version)
    );
    assert!(found.version > before.version);
    let held = found.number.clone().unwrap();
    assert_eq!((held.number, held.identity_key), (number(401), identity_keys(0x77).identity_key));
    assert_eq!(held.pni, change(&before, 401).new_pni);
    let registration_ids: Vec<_> =
        found.devices.iter().map(|device| device.pni_registration_id.unwrap().get()).collect();
    assert_eq!(registration_ids, [0x71, 0x72]);
    assert_eq!(
        (found.identity_key, found.registration_lock),
        (before.identity_key, before.registration_lock)
    );
    for (device, fill) in [(DeviceId::PRIMARY, 0x71), (second(), 0x72)] {
        let keys = keys_of(stores, held.pni, device).await.unwrap();
        assert_eq!(keys.signed_pre_key, signed_keys(fill).signed_pre_key);
        assert!(keys_of(stores, former, device).await.is_none());
        let slot = KeySlot { identity: found.aci.0, device };
        assert!(stores.keys.repeated_use(slot).await.unwrap().is_some(), "the ACI's keys stay");
    }
    assert_eq!(stores.keys.counts(slot).await.unwrap(), keys::KeyCounts::default());
    assert!(stores.recipients.roster(former.into()).await.unwrap().is_none());
    let roster = stores.recipients.roster(before.aci.into()).await.unwrap().unwrap();
    assert_eq!(roster.pni, Some(held.pni));
    assert_eq!(roster.devices[1].pni_registration_id, RegistrationId::try_from(0x72).ok());

    let device = DeviceAddress { aci: found.aci, device_id: second() };
    let [notice] = &notices[..] else { panic!("{} notices", notices.len()) };
    assert_eq!((notice.device, notice.pni, &notice.content), (device, held.pni, &content()));
    stores.numbers.delivered(notice.id).await.unwrap();

    // Its recovery password is that of the new number, and the former is as if nobody had ever had it.
    let record = stores.accounts.number(&number(401)).await.unwrap();
    assert_eq!(record.recovery_password, Some(hash("recovery")));
    assert_eq!(record.account.unwrap().aci, found.aci);
    let record = stores.accounts.number(&number(400)).await.unwrap();
    assert!(record.account.is_none() && record.recovery_password.is_none());
    let stranger = auth::store::NewRegistration {
        new_aci: protocol::Aci(Uuid::from_u128(0x0400_FFFF)),
        ..registration(400)
    };
    let (stranger, replaced) = register(stores, stranger).await;
    assert!(replaced.is_none() && stranger.aci != found.aci);
    assert_eq!(pni(&stranger), former, "a number keeps its PNI");
    // A registration of the number that was changed meanwhile must be decided anew.
    let late = again(&before, 401, later(6));
    assert!(matches!(stores.accounts.register(late).await.unwrap(), RegisterOutcome::Outdated));
}

async fn a_number_is_taken_from_its_account(stores: &Stores) {
    let (mine, other) = (account(stores, 402).await, account(stores, 403).await);
    let displaces = Some((other.aci, other.version));
    assert!(outdated(stores, change(&mine, 403)).await, "the number is not free");
    let (found, notices) = changed(stores, NumberChange { displaces, ..change(&mine, 403) }).await;
    assert!(notices.is_empty());
    assert_eq!((found.aci, pni(&found)), (mine.aci, pni(&other)), "the PNI is the number's");
    assert!(read(stores, other.aci).await.is_none());
    assert!(stores.recipients.roster(other.aci.into()).await.unwrap().is_none());
    let roster = stores.recipients.roster(pni(&other).into()).await.unwrap().unwrap();
    assert_eq!(roster.aci, mine.aci);
    let clears = stores.accounts.queue_clears(1000).await.unwrap();
    assert!(clears.contains(&QueueClear { aci: other.aci, device: None, cutoff: later(5) }));
    let keys = keys_of(stores, pni(&other), DeviceId::PRIMARY).await.unwrap();
    assert_eq!(keys.signed_pre_key, signed_keys(0x71).signed_pre_key);
    assert!(stores.accounts.number(&number(402)).await.unwrap().account.is_none());
    // Who is deleted now leaves the new number behind, and comes back with it.
    stores.accounts.delete(mine.aci, later(6)).await.unwrap();
    let returning = auth::store::NewRegistration { at: later(6), ..registration(403) };
    assert_eq!(register(stores, returning).await.0.aci, mine.aci);
}

async fn a_change_checked_against_the_past_is_refused(stores: &Stores) {
    let (mine, other) = (account(stores, 404).await, account(stores, 405).await);
    let displaces = Some((other.aci, other.version));
    let other = register_again(stores, &other, 405, later(1)).await;
    assert!(outdated(stores, NumberChange { displaces, ..change(&mine, 405) }).await);
    let displaces = Some((other.aci, other.version));
    let newer = register_again(stores, &mine, 404, later(1)).await;
    assert!(outdated(stores, NumberChange { displaces, ..change(&mine, 405) }).await);
    assert_eq!(read(stores, newer.aci).await.unwrap().number.unwrap().number, number(404));
    assert_eq!(read(stores, other.aci).await.unwrap().number.unwrap().number, number(405));
    changed(stores, NumberChange { displaces, ..change(&newer, 405) }).await;
}

async fn the_same_number_only_gets_new_keys(stores: &Stores) {
    let before = account_with_second_device(stores, 406).await;
    let (found, notices) = changed(stores, change(&before, 406)).await;
    assert_eq!((pni(&found), notices.len()), (pni(&before), 1));
    assert_eq!(found.number.clone().unwrap().identity_key, identity_keys(0x77).identity_key);
    let keys = keys_of(stores, pni(&found), second()).await.unwrap();
    assert_eq!(keys.signed_pre_key, signed_keys(0x72).signed_pre_key);
    let record = stores.accounts.number(&number(406)).await.unwrap();
    assert_eq!(record.recovery_password, Some(hash("recovery")));
    stores.numbers.delivered(notices[0].id).await.unwrap();
}

async fn notices_wait_until_delivered_or_void(stores: &Stores) {
    let undelivered = async |at| stores.numbers.undelivered(at, 10).await.unwrap();
    assert!(undelivered(later(3600)).await.is_empty());
    let before = account_with_second_device(stores, 407).await;
    let (found, notices) = changed(stores, change(&before, 408)).await;
    assert!(undelivered(later(5)).await.is_empty(), "they are left alone for a while");
    assert_eq!(undelivered(later(6)).await, notices);
    assert!(stores.numbers.undelivered(later(6), 0).await.unwrap().is_empty());
    stores.numbers.delivered(notices[0].id).await.unwrap();
    assert!(undelivered(later(6)).await.is_empty());

    let again = NumberChange { at: later(6), ..change(&found, 409) };
    let (found, notices) = changed(stores, again).await;
    assert_eq!(undelivered(later(7)).await, notices);
    assert!(stores.accounts.remove_device(notices[0].device, later(7)).await.unwrap());
    assert!(undelivered(later(3600)).await.is_empty(), "there is nobody to be told");
    stores.accounts.delete(found.aci, NOW.saturating_add(Duration::from_secs(8))).await.unwrap();
}
