//! Accounts, devices and keys as the suites make them up.

use std::time::Duration;

use auth::{
    Account, Device,
    admission::Admitted,
    capabilities::Capability,
    device::{Agent, Credential, DeviceName, PushService, PushToken},
    secrets::{Password, SaltedHash},
    store::{IdentityKeys, NewRegistration, RegisterOutcome},
};
use protocol::{
    AccessKey, Aci, DeviceAddress, DeviceId, PhoneNumber, Pni, RegistrationId, ServiceId, UnidentifiedAccess,
    ambient::{SeededEntropy, Timestamp},
    keys::{EcPublicKey, EcSignedPreKey, KemPublicKey, KemSignedPreKey, KeyId, Signature},
};
use uuid::Uuid;

use super::{Stores, devices};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(super) fn later(seconds: u64) -> Timestamp {
    NOW.saturating_add(Duration::from_secs(seconds))
}

pub(super) fn number(digits: u32) -> PhoneNumber {
    format!("+1555{digits:07}").parse().unwrap()
}

pub(super) fn hash(secret: &str) -> SaltedHash {
    SaltedHash::new(secret.as_bytes(), &SeededEntropy::new(3))
}

pub(in crate::contract) fn identity_keys(fill: u8) -> IdentityKeys {
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

pub(super) fn device() -> Device {
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

pub(super) fn registration(digits: u32) -> NewRegistration {
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

pub(super) async fn register(stores: &Stores, registration: NewRegistration) -> (Account, Option<Account>) {
    match stores.accounts.register(registration).await.unwrap() {
        RegisterOutcome::Registered { account, replaced } => (*account, replaced.map(|account| *account)),
        RegisterOutcome::Outdated | RegisterOutcome::NotAdmitted => {
            panic!("the registration is not outdated")
        }
    }
}

pub(super) async fn read(stores: &Stores, aci: Aci) -> Option<Account> {
    stores.accounts.account(ServiceId::Aci(aci)).await.unwrap()
}

pub(super) fn pni(account: &Account) -> Pni {
    account.pni().unwrap()
}

pub(super) fn primary(aci: Aci) -> DeviceAddress {
    DeviceAddress { aci, device_id: DeviceId::PRIMARY }
}

/// Replaces `account` by one registered `at`.
pub(super) fn again(account: &Account, digits: u32, at: Timestamp) -> NewRegistration {
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
pub(in crate::contract) async fn account(stores: &Stores, digits: u32) -> Account {
    register(stores, registration(digits)).await.0
}

/// The same with a second device.
pub(in crate::contract) async fn account_with_second_device(stores: &Stores, digits: u32) -> Account {
    let account = account(stores, digits).await;
    devices::link(stores, &account, &format!("a second device of {digits}"), NOW).await
}

/// That account, registered again.
pub(in crate::contract) async fn register_again(
    stores: &Stores,
    account: &Account,
    digits: u32,
    at: Timestamp,
) -> Account {
    let account = read(stores, account.aci).await.unwrap();
    register(stores, again(&account, digits, at)).await.0
}

/// Registers two accounts, for tests of one engine alone.
pub async fn two_accounts(stores: &Stores) -> [Aci; 2] {
    let (first, _) = register(stores, registration(1001)).await;
    let (second, _) = register(stores, registration(1002)).await;
    [first.aci, second.aci]
}
