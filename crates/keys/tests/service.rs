//! The service over a store in memory: who may fetch, what they get, and what each refusal reveals.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use keys::{
    DeviceKeys, DeviceSelector, KeyBundles, KeyChanges, KeyCounts, KeyError, KeyFetchLimit, KeyOwner,
    KeyOwners, KeyService, KeySlot, KeyStore, KeyUpload, KeyUploadBody, Owner, OwnerDevice, RepeatedUseKey,
    Requester,
};
use parking_lot::Mutex;
use protocol::{
    AccessKey, Aci, DeviceAddress, DeviceId, Pni, ServiceId, UnidentifiedAccess, UnidentifiedCredential,
    ambient::StorageError,
    group_send::{GroupSendToken, GroupSendTokens},
    keys::{EcPublicKey, EcSignedPreKey, KemSignedPreKey},
};
use serde_json::Value;
use uuid::Uuid;

const ACI: ServiceId = ServiceId::Aci(Aci(Uuid::from_u128(1)));
const PNI: ServiceId = ServiceId::Pni(Pni(Uuid::from_u128(2)));
const STRANGER: ServiceId = ServiceId::Aci(Aci(Uuid::from_u128(3)));
const ONE: DeviceSelector = DeviceSelector::One(DeviceId::PRIMARY);
const TOKEN: &[u8; 16] = b"a good token....";

#[derive(Default)]
struct Memory(Mutex<HashMap<KeySlot, KeyUpload>>);

#[async_trait]
impl KeyStore for Memory {
    async fn put(&self, slot: KeySlot, keys: KeyUpload) -> Result<(), StorageError> {
        self.0.lock().insert(slot, keys);
        Ok(())
    }

    async fn counts(&self, slot: KeySlot) -> Result<KeyCounts, StorageError> {
        let count = |len: usize| u32::try_from(len).unwrap();
        let slots = self.0.lock();
        let keys = slots.get(&slot);
        Ok(keys.map_or_else(KeyCounts::default, |keys| KeyCounts {
            ec: count(keys.one_time.len()),
            kem: count(keys.kem_one_time.len()),
        }))
    }

    async fn repeated_use(
        &self,
        slot: KeySlot,
    ) -> Result<Option<(EcSignedPreKey, KemSignedPreKey)>, StorageError> {
        let keys = self.0.lock().get(&slot).cloned().unwrap_or_default();
        Ok(keys.signed.zip(keys.last_resort))
    }

    async fn take(&self, identity: Uuid, devices: Vec<DeviceId>) -> Result<Vec<DeviceKeys>, StorageError> {
        let mut slots = self.0.lock();
        let take = |device| {
            let keys = slots.get_mut(&KeySlot { identity, device })?;
            let signed = keys.signed.clone()?;
            let kem = if keys.kem_one_time.is_empty() {
                keys.last_resort.clone()?
            } else {
                keys.kem_one_time.remove(0)
            };
            let one_time = (!keys.one_time.is_empty()).then(|| keys.one_time.remove(0));
            Some(DeviceKeys { device, signed, one_time, kem })
        };
        Ok(devices.into_iter().filter_map(take).collect())
    }

    async fn remove(&self, identities: Vec<Uuid>, device: Option<DeviceId>) -> Result<(), StorageError> {
        let mut slots = self.0.lock();
        slots.retain(|slot, _| {
            !identities.contains(&slot.identity) || device.is_some_and(|d| d != slot.device)
        });
        Ok(())
    }
}

/// One account, whose two identities have the same key, with devices 1 and 3.
struct OneAccount {
    unidentified_access: UnidentifiedAccess,
}

#[async_trait]
impl KeyOwners for OneAccount {
    async fn owner(&self, target: ServiceId) -> Result<Option<Owner>, StorageError> {
        let device = |id: u32, registration_id: u32| OwnerDevice {
            id: id.try_into().unwrap(),
            registration_id: registration_id.try_into().unwrap(),
        };
        Ok((target != STRANGER).then(|| Owner {
            identity_key: identity_key(),
            devices: vec![device(1, 4711), device(3, 815)],
            unidentified_access: self.unidentified_access.clone(),
        }))
    }
}

/// Grants a number of fetches per key.
struct Limit(Mutex<HashMap<Vec<u8>, u32>>, u32);

impl KeyFetchLimit for Limit {
    fn check(&self, key: &[u8]) -> Result<(), Duration> {
        let mut counts = self.0.lock();
        let count = counts.entry(key.to_vec()).or_default();
        *count += 1;
        if *count <= self.1 { Ok(()) } else { Err(Duration::from_mins(10)) }
    }
}

struct OneToken;

impl GroupSendTokens for OneToken {
    fn admits(&self, token: &GroupSendToken, _recipients: &[ServiceId]) -> bool {
        token.proof() == TOKEN
    }
}

fn token(proof: &[u8; 16]) -> GroupSendToken {
    let bytes = [&[0], &16_u64.to_le_bytes()[..], proof, &[0; 8]].concat();
    GroupSendToken::try_from(&bytes[..]).unwrap()
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../protocol/tests/vectors/keys.json")).unwrap()
}

fn identity_key() -> EcPublicKey {
    let bytes = hex::decode(vectors()["identityKey_hex"].as_str().unwrap()).unwrap();
    EcPublicKey::try_from(&bytes[..]).unwrap()
}

fn upload() -> KeyUpload {
    let body: KeyUploadBody = serde_json::from_value(vectors()["putBody"].clone()).unwrap();
    body.try_into().unwrap()
}

fn device(identity: ServiceId, id: u32) -> KeyOwner {
    KeyOwner { identity, identity_key: identity_key(), device: id.try_into().unwrap() }
}

fn access_key(byte: u8) -> AccessKey {
    AccessKey::try_from(&[byte; 16][..]).unwrap()
}

fn by_key(byte: u8) -> Requester {
    UnidentifiedCredential::AccessKey(access_key(byte)).into()
}

/// Which keys were replaced.
#[derive(Default)]
struct Told(Mutex<Vec<(ServiceId, DeviceId, RepeatedUseKey)>>);

#[async_trait]
impl KeyChanges for Told {
    async fn replaced(&self, identity: ServiceId, device: DeviceId, key: RepeatedUseKey) {
        self.0.lock().push((identity, device, key));
    }
}

fn with_access(key: Option<AccessKey>, unrestricted: bool) -> KeyService {
    telling(Arc::default(), key, unrestricted)
}

fn telling(told: Arc<Told>, key: Option<AccessKey>, unrestricted: bool) -> KeyService {
    let owners = OneAccount { unidentified_access: UnidentifiedAccess { key, unrestricted } };
    let limit = Limit(Mutex::default(), 3);
    KeyService::new(Arc::<Memory>::default(), Arc::new(owners), Arc::new(limit), Arc::new(OneToken), told)
}

/// A service with keys for device 1 of the account, none for device 3.
async fn service() -> KeyService {
    let service = with_access(Some(access_key(7)), false);
    service.upload(device(ACI, 1), upload()).await.unwrap();
    service.upload(device(PNI, 1), upload()).await.unwrap();
    service
}

fn caller(device_id: u32) -> Requester {
    let aci = Aci(Uuid::from_u128(9));
    Requester::Device(DeviceAddress { aci, device_id: device_id.try_into().unwrap() })
}

#[expect(clippy::needless_pass_by_value, reason = "calls read better")]
fn outcome(result: Result<KeyBundles, KeyError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(KeyError::Unauthorized) => "unauthorized",
        Err(KeyError::NotFound) => "not found",
        Err(KeyError::RateLimited(_)) => "limited",
        Err(_) => "another error",
    }
}

#[tokio::test]
async fn fetches_answer_as_officially_until_only_the_last_resort_is_left() {
    let (service, file) = (service().await, vectors());
    let answers = [&file["firstFetchResponse"], &Value::Null, &Value::Null, &file["exhaustedFetchResponse"]];
    for (n, expected) in answers.into_iter().enumerate() {
        let requester = caller(u32::try_from(n).unwrap() + 1);
        let fetched = service.fetch(&requester, ACI, DeviceSelector::All).await.unwrap();
        if expected.is_null() {
            continue;
        }
        // The file repeats the padding that the uploading client chose; the server writes signatures without.
        let expected: Value = serde_json::from_str(&expected.to_string().replace("==\"", "\"")).unwrap();
        assert_eq!(serde_json::to_value(&fetched).unwrap(), expected, "fetch {n}");
    }
}

#[tokio::test]
async fn an_upload_with_one_bad_signature_stores_nothing() {
    let service = with_access(None, false);
    let mut bad = upload();
    bad.kem_one_time[1].signature = bad.kem_one_time[0].signature;
    let refused = service.upload(device(ACI, 1), bad).await;
    assert!(matches!(refused, Err(KeyError::InvalidSignature)));
    assert_eq!(service.counts(device(ACI, 1)).await.unwrap(), KeyCounts::default());
}

#[tokio::test]
async fn counts_leave_out_repeated_use_keys_and_go_down_with_fetches() {
    let service = service().await;
    assert_eq!(service.counts(device(ACI, 1)).await.unwrap(), KeyCounts { ec: 3, kem: 2 });
    service.fetch(&caller(1), ACI, ONE).await.unwrap();
    assert_eq!(service.counts(device(ACI, 1)).await.unwrap(), KeyCounts { ec: 2, kem: 1 });
    assert_eq!(service.counts(device(PNI, 1)).await.unwrap(), KeyCounts { ec: 3, kem: 2 });
}

#[tokio::test]
async fn the_check_compares_digests_and_fails_where_keys_are_missing() {
    let service = service().await;
    let digest: [u8; 32] =
        hex::decode(vectors()["check"]["digest_hex"].as_str().unwrap()).unwrap().try_into().unwrap();
    assert!(service.check(device(ACI, 1), &digest).await.unwrap());
    let mut other = digest;
    other[31] ^= 1;
    assert!(!service.check(device(ACI, 1), &other).await.unwrap());
    assert!(!service.check(device(ACI, 3), &digest).await.unwrap());
}

#[tokio::test]
async fn an_authenticated_caller_learns_what_exists() {
    let service = service().await;
    let fetch = async |target, device: &str| {
        outcome(service.fetch(&caller(1), target, device.parse().unwrap()).await)
    };
    assert_eq!(fetch(ACI, "1").await, "ok");
    assert_eq!(fetch(PNI, "*").await, "ok");
    assert_eq!(fetch(ACI, "2").await, "not found");
    assert_eq!(fetch(ACI, "3").await, "not found", "a device without keys");
    assert_eq!(fetch(STRANGER, "*").await, "not found");
}

#[tokio::test]
async fn an_access_key_tells_nothing_unless_it_fits() {
    let service = service().await;
    let fetch = async |key, target, device: &str| {
        let requester = by_key(key);
        outcome(service.fetch(&requester, target, device.parse().unwrap()).await)
    };
    assert_eq!(fetch(7, ACI, "*").await, "ok");
    assert_eq!(fetch(8, ACI, "*").await, "unauthorized");
    assert_eq!(fetch(7, PNI, "*").await, "unauthorized");
    assert_eq!(fetch(7, STRANGER, "*").await, "unauthorized");
    assert_eq!(fetch(7, ACI, "2").await, "unauthorized");
    assert_eq!(fetch(7, ACI, "3").await, "not found", "a device without keys");
    let unrestricted = service.fetch(&UnidentifiedCredential::Unrestricted.into(), ACI, ONE).await;
    assert_eq!(outcome(unrestricted), "unauthorized");
}

#[tokio::test]
async fn accounts_without_access_key_refuse_and_unrestricted_ones_take_any() {
    let no_key = with_access(None, false);
    let unrestricted = with_access(Some(access_key(7)), true);
    for service in [&no_key, &unrestricted] {
        service.upload(device(ACI, 1), upload()).await.unwrap();
    }
    let zeros = by_key(0);
    assert_eq!(outcome(no_key.fetch(&zeros, ACI, ONE).await), "unauthorized");
    assert_eq!(outcome(unrestricted.fetch(&zeros, ACI, ONE).await), "ok");
    assert_eq!(
        outcome(unrestricted.fetch(&UnidentifiedCredential::Unrestricted.into(), ACI, ONE).await),
        "ok"
    );
    assert_eq!(
        outcome(unrestricted.fetch(&UnidentifiedCredential::Unrestricted.into(), PNI, ONE).await),
        "unauthorized"
    );
    assert_eq!(outcome(unrestricted.fetch(&zeros, STRANGER, ONE).await), "unauthorized");
}

#[tokio::test]
async fn a_group_send_token_is_judged_before_the_target_is_looked_up() {
    let service = service().await;
    let fetch = async |proof: &[u8; 16], target, device: &str| {
        let requester = UnidentifiedCredential::GroupSendToken(token(proof)).into();
        outcome(service.fetch(&requester, target, device.parse().unwrap()).await)
    };
    assert_eq!(fetch(TOKEN, ACI, "*").await, "ok");
    assert_eq!(fetch(TOKEN, STRANGER, "*").await, "not found");
    assert_eq!(fetch(TOKEN, ACI, "2").await, "not found");
    assert_eq!(fetch(b"not a good token", ACI, "*").await, "unauthorized");
    assert_eq!(fetch(b"not a good token", STRANGER, "*").await, "unauthorized");
}

#[tokio::test]
async fn only_authenticated_fetches_are_limited_and_each_pair_by_itself() {
    let service = service().await;
    for _ in 0..3 {
        assert_eq!(outcome(service.fetch(&caller(1), ACI, ONE).await), "ok");
    }
    assert_eq!(outcome(service.fetch(&caller(1), ACI, ONE).await), "limited");
    assert_eq!(outcome(service.fetch(&caller(1), ACI, DeviceSelector::All).await), "ok");
    assert_eq!(outcome(service.fetch(&caller(1), PNI, ONE).await), "ok");
    assert_eq!(outcome(service.fetch(&caller(2), ACI, ONE).await), "ok");
    let anonymous = by_key(7);
    for _ in 0..10 {
        assert_eq!(outcome(service.fetch(&anonymous, ACI, ONE).await), "ok");
    }
}

#[test]
fn credentials_are_weighed_in_their_order() {
    let key = || Some(access_key(7));
    let token = || Some(token(TOKEN));
    let Requester::Device(address) = caller(1) else { unreachable!("a device") };
    let decide = |device, key, token| Requester::from_credentials(device, key, token);

    assert!(matches!(decide(Some(address), key(), None), Ok(Requester::Device(_))));
    assert!(matches!(
        decide(None, key(), None),
        Ok(Requester::Unidentified(UnidentifiedCredential::AccessKey(_)))
    ));
    let by_token = decide(None, None, token());
    assert!(matches!(by_token, Ok(Requester::Unidentified(UnidentifiedCredential::GroupSendToken(_)))));
    assert!(matches!(decide(None, None, None), Err(KeyError::Unauthorized)));
    for (device, key) in [(Some(address), None), (None, key()), (Some(address), key())] {
        assert!(matches!(decide(device, key, token()), Err(KeyError::ContradictoryCredentials)));
    }
}

#[test]
fn selectors_are_a_star_or_a_device() {
    assert_eq!("*".parse(), Ok(DeviceSelector::All));
    assert_eq!("1".parse(), Ok(ONE));
    for text in ["", "**", "0", "128", "-1", "one"] {
        assert!(text.parse::<DeviceSelector>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn keys_that_start_many_sessions_are_told_of_and_others_are_not() {
    let told = Arc::<Told>::default();
    let service = telling(Arc::clone(&told), None, false);
    let all = upload();
    let one_time = KeyUpload { signed: None, last_resort: None, ..all.clone() };
    service.upload(device(ACI, 1), one_time).await.unwrap();
    assert!(told.0.lock().is_empty());
    service.upload(device(PNI, 2), all.clone()).await.unwrap();
    let id = DeviceId::try_from(2).unwrap();
    let both = [(PNI, id, RepeatedUseKey::Signed), (PNI, id, RepeatedUseKey::LastResort)];
    assert_eq!(*told.0.lock(), both);
    let foreign = KeyOwner { identity_key: all.signed.as_ref().unwrap().public_key, ..device(ACI, 1) };
    service.upload(foreign, all).await.unwrap_err();
    assert_eq!(*told.0.lock(), both, "nothing was replaced");
}
