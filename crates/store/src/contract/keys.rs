//! What every [`KeyStore`] must do.

#![expect(clippy::expect_used, reason = "a suite fails by panicking")]

use std::{collections::BTreeSet, sync::Arc};

use keys::{DeviceKeys, KeyCounts, KeySlot, KeyStore, KeyUpload};
use protocol::{
    DeviceId,
    keys::{EcPreKey, EcPublicKey, EcSignedPreKey, KemPublicKey, KemSignedPreKey, KeyId, Signature},
};
use uuid::Uuid;

type Store = Arc<dyn KeyStore>;

const ALL_DEVICES: Option<DeviceId> = None;
const TAKERS: usize = 64;
const LAST_KEYS: u32 = 10;
const SIGNED: u32 = 7_000;
const LAST_RESORT: u32 = 8_000;

/// Runs the whole suite; `open` opens the same store anew, as after a restart.
pub async fn run<F, R>(open: F)
where
    F: Fn() -> R,
    R: Future<Output = Store>,
{
    let store = open().await;
    an_upload_replaces_the_kinds_it_holds(&store).await;
    a_key_id_given_twice_is_kept_once(&store).await;
    one_time_keys_go_lowest_first_and_then_the_last_resort(&store).await;
    devices_without_a_full_set_are_left_out_and_lose_nothing(&store).await;
    one_call_takes_from_several_devices(&store).await;
    concurrent_takers_never_share_a_key(&store).await;
    removal_keeps_to_device_and_identity(&store).await;
    drop(store);
    remembers(open).await;
}

async fn an_upload_replaces_the_kinds_it_holds(store: &Store) {
    let slot = slot(1, 1);
    assert_eq!(counts(store, slot).await, (0, 0));
    store.put(slot, upload(1..=5, 11..=13)).await.expect("the store accepts");
    assert_eq!(counts(store, slot).await, (5, 3));

    let one_time = KeyUpload { one_time: vec![ec(20)], ..KeyUpload::default() };
    store.put(slot, one_time).await.expect("the store accepts");
    assert_eq!(counts(store, slot).await, (1, 3), "only what was given is replaced");
    store.put(slot, KeyUpload::default()).await.expect("the store accepts");
    assert_eq!(counts(store, slot).await, (1, 3), "nothing given, nothing replaced");

    let signed = KeyUpload { signed: Some(ec_signed(7_001)), ..KeyUpload::default() };
    store.put(slot, signed).await.expect("the store accepts");
    assert_eq!(
        store.repeated_use(slot).await.expect("the store reads"),
        Some((ec_signed(7_001), kem(LAST_RESORT)))
    );
    let taken = take(store, slot).await.expect("a full set");
    assert_eq!((taken.signed, taken.one_time), (ec_signed(7_001), Some(ec(20))));
}

async fn a_key_id_given_twice_is_kept_once(store: &Store) {
    let slot = slot(2, 1);
    let one_time = vec![ec(1), ec(2), ec(1)];
    let keys = KeyUpload { one_time, ..upload(0..=0, 5..=5) };
    store.put(slot, keys).await.expect("the store accepts");
    assert_eq!(counts(store, slot).await, (2, 1));
}

async fn one_time_keys_go_lowest_first_and_then_the_last_resort(store: &Store) {
    let slot = slot(3, 1);
    let one_time = vec![ec(3), ec(1), ec(2)];
    store.put(slot, KeyUpload { one_time, ..upload(0..=0, 11..=12) }).await.expect("the store accepts");
    let expected =
        [(Some(1), 11), (Some(2), 12), (Some(3), LAST_RESORT), (None, LAST_RESORT), (None, LAST_RESORT)];
    for expected in expected {
        let taken = take(store, slot).await.expect("a full set");
        assert_eq!(taken.signed, ec_signed(SIGNED));
        assert_eq!((taken.one_time.map(|key| key.key_id.get()), taken.kem.key_id.get()), expected);
    }
}

async fn devices_without_a_full_set_are_left_out_and_lose_nothing(store: &Store) {
    let full = upload(1..=2, 11..=12);
    let slot = slot(4, 1);
    assert_eq!(take(store, slot).await, None);
    store.put(slot, KeyUpload { signed: None, ..full.clone() }).await.expect("the store accepts");
    assert_eq!(store.repeated_use(slot).await.expect("the store reads"), None);
    assert_eq!(take(store, slot).await, None);
    assert_eq!(counts(store, slot).await, (2, 2));

    let slot = KeySlot { identity: Uuid::from_u128(5), ..slot };
    let without_kem = KeyUpload { kem_one_time: Vec::new(), last_resort: None, ..full.clone() };
    store.put(slot, without_kem).await.expect("the store accepts");
    assert_eq!(take(store, slot).await, None);
    assert_eq!(counts(store, slot).await, (2, 0));

    let one_kem = KeyUpload { kem_one_time: vec![kem(11)], ..KeyUpload::default() };
    store.put(slot, one_kem).await.expect("the store accepts");
    assert_eq!(
        take(store, slot).await.map(|keys| keys.kem),
        Some(kem(11)),
        "a last resort is not needed yet"
    );
    assert_eq!(take(store, slot).await, None, "now it would be");
    assert_eq!(counts(store, slot).await, (1, 0));
}

async fn one_call_takes_from_several_devices(store: &Store) {
    let [first, second, empty] = [1, 2, 3].map(|device| slot(6, device));
    store.put(first, upload(1..=1, 11..=11)).await.expect("the store accepts");
    store.put(second, upload(2..=2, 12..=12)).await.expect("the store accepts");
    let devices = vec![second.device, empty.device, first.device];
    let taken = store.take(first.identity, devices).await.expect("the store takes");
    let taken: Vec<_> =
        taken.into_iter().map(|keys| (keys.device, keys.one_time.map(|key| key.key_id.get()))).collect();
    assert_eq!(taken, [(second.device, Some(2)), (first.device, Some(1))]);
    assert_eq!((counts(store, first).await, counts(store, second).await), ((0, 0), (0, 0)));
}

async fn concurrent_takers_never_share_a_key(store: &Store) {
    let slot = slot(7, 1);
    store.put(slot, upload(1..=LAST_KEYS, 101..=100 + LAST_KEYS)).await.expect("the store accepts");
    let takers: Vec<_> = (0..TAKERS)
        .map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move { take(&store, slot).await })
        })
        .collect();
    let (mut ec_ids, mut kem_ids, mut last_resort) = (Vec::new(), Vec::new(), 0);
    for taker in takers {
        let keys = taker.await.expect("the taker ends").expect("a full set");
        ec_ids.extend(keys.one_time.map(|key| key.key_id.get()));
        match keys.kem.key_id.get() {
            LAST_RESORT => last_resort += 1,
            id => kem_ids.push(id),
        }
    }
    let keys = LAST_KEYS as usize;
    assert_eq!((ec_ids.len(), kem_ids.len(), last_resort), (keys, keys, TAKERS - keys));
    assert_eq!(ec_ids.into_iter().collect::<BTreeSet<_>>(), (1..=LAST_KEYS).collect());
    assert_eq!(kem_ids.into_iter().collect::<BTreeSet<_>>(), (101..=100 + LAST_KEYS).collect());
    assert_eq!(counts(store, slot).await, (0, 0));
}

async fn removal_keeps_to_device_and_identity(store: &Store) {
    let slots = [slot(8, 1), slot(8, 2), slot(9, 1), slot(9, 2), slot(10, 1)];
    for slot in slots {
        store.put(slot, upload(1..=2, 11..=12)).await.expect("the store accepts");
    }
    let [first, second] = [8, 9].map(Uuid::from_u128);
    let left = async || {
        let mut left = Vec::new();
        for slot in slots {
            left.push(take(store, slot).await.is_some());
        }
        left
    };
    // A linked device goes: its keys under both identities, the primary's stay.
    store.remove(vec![first, second], Some(slots[1].device)).await.expect("the store removes");
    assert_eq!(left().await, [true, false, true, false, true]);
    // A phone-number identity is replaced: all devices' keys under it.
    store.remove(vec![second], ALL_DEVICES).await.expect("the store removes");
    assert_eq!(left().await, [true, false, false, false, true]);
    // The account goes, or is registered anew.
    store.remove(vec![first, second], ALL_DEVICES).await.expect("what is gone already is passed over");
    assert_eq!(left().await, [false, false, false, false, true]);
    store.remove(Vec::new(), ALL_DEVICES).await.expect("the store removes nothing");
    assert_eq!(left().await, [false, false, false, false, true]);
}

async fn remembers<F, R>(open: F)
where
    F: Fn() -> R,
    R: Future<Output = Store>,
{
    let slot = slot(11, 1);
    {
        let store = open().await;
        store.put(slot, upload(1..=2, 11..=12)).await.expect("the store accepts");
        assert!(take(&store, slot).await.is_some());
    }
    let store = open().await;
    assert_eq!(counts(&store, slot).await, (1, 1));
    let taken = take(&store, slot).await.expect("a full set");
    assert_eq!((taken.one_time, taken.kem), (Some(ec(2)), kem(12)), "the first ones were taken before");
}

async fn counts(store: &Store, slot: KeySlot) -> (u32, u32) {
    let KeyCounts { ec, kem } = store.counts(slot).await.expect("the store counts");
    (ec, kem)
}

async fn take(store: &Store, slot: KeySlot) -> Option<DeviceKeys> {
    let mut taken = store.take(slot.identity, vec![slot.device]).await.expect("the store takes");
    assert!(taken.len() <= 1);
    taken.pop()
}

fn slot(identity: u128, device: u32) -> KeySlot {
    KeySlot { identity: Uuid::from_u128(identity), device: device.try_into().expect("a device id") }
}

/// Keys of all kinds; the repeated-use ones have ids of their own.
fn upload(one_time: impl Iterator<Item = u32>, kem_one_time: impl Iterator<Item = u32>) -> KeyUpload {
    KeyUpload {
        one_time: one_time.map(ec).collect(),
        signed: Some(ec_signed(SIGNED)),
        kem_one_time: kem_one_time.map(kem).collect(),
        last_resort: Some(kem(LAST_RESORT)),
    }
}

fn key_id(id: u32) -> KeyId {
    id.try_into().expect("a key id")
}

/// A key whose bytes follow from its id. A store does not ask whether it is a point of the curve.
fn public_key(id: u32) -> EcPublicKey {
    let mut bytes = [0; EcPublicKey::LEN];
    bytes[0] = 5;
    bytes[1..5].copy_from_slice(&id.to_be_bytes());
    EcPublicKey::try_from(&bytes[..]).expect("a key")
}

fn ec(id: u32) -> EcPreKey {
    EcPreKey { key_id: key_id(id), public_key: public_key(id) }
}

fn ec_signed(id: u32) -> EcSignedPreKey {
    EcSignedPreKey { key_id: key_id(id), public_key: public_key(id), signature: signature(id) }
}

fn kem(id: u32) -> KemSignedPreKey {
    let mut bytes = vec![0; KemPublicKey::LEN];
    bytes[0] = 8;
    bytes[1..5].copy_from_slice(&id.to_be_bytes());
    KemSignedPreKey {
        key_id: key_id(id),
        public_key: bytes.try_into().expect("a key"),
        signature: signature(id),
    }
}

fn signature(id: u32) -> Signature {
    let mut bytes = [0; Signature::LEN];
    bytes[..4].copy_from_slice(&id.to_be_bytes());
    bytes.into()
}
