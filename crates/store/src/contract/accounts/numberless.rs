//! What every store must do with accounts that have no number.

use auth::{
    Account, Device,
    registration::{ReceiptSerial, store::NewNumberless},
    revocation::QueueClear,
    store::RegisterOutcome,
};
use keys::KeySlot;
use protocol::{Aci, DeviceId, RegistrationId, ServiceId, UnidentifiedAccess, ambient::Timestamp};
use uuid::Uuid;

use super::{
    Stores,
    made_up::{NOW, account, device, hash, identity_keys, later, primary, read},
};

/// Runs this part of the suite.
pub(super) async fn run(stores: &Stores) {
    a_receipt_makes_one_account(stores).await;
    recovery_replaces_the_devices_and_nothing_of_the_past(stores).await;
}

fn new(aci: u128, fill: u8, password: &str, at: Timestamp) -> NewNumberless {
    NewNumberless {
        aci: Aci(Uuid::from_u128(aci)),
        keys: identity_keys(fill),
        device: Device {
            pni_registration_id: None,
            registration_id: RegistrationId::try_from(u32::from(fill)).unwrap(),
            ..device()
        },
        unidentified_access: UnidentifiedAccess { key: None, unrestricted: true },
        recovery_password: hash(password),
        at,
    }
}

async fn create(stores: &Stores, serial: u8, new: NewNumberless) -> Option<Account> {
    stores.numberless.create_numberless(ReceiptSerial::from([serial; 16]), new).await.unwrap()
}

async fn a_receipt_makes_one_account(stores: &Stores) {
    let account = create(stores, 1, new(0x6001, 0x61, "first", NOW)).await.unwrap();
    let found = read(stores, account.aci).await.unwrap();
    assert!(found.number.is_none() && !found.discoverable && found.registration_lock.is_none());
    assert_eq!(found.identity_key, Some(identity_keys(0x61).identity_key));
    assert_eq!(found.devices, account.devices);
    assert_eq!(found.devices[0].pni_registration_id, None);
    let password = stores.numberless.recovery_password(account.aci).await.unwrap();
    assert_eq!(password, Some(hash("first")));
    let sign_in = stores.accounts.sign_in(primary(account.aci)).await.unwrap().unwrap();
    assert!(sign_in.pni.is_none());
    let slot = KeySlot { identity: account.aci.0, device: DeviceId::PRIMARY };
    assert!(stores.keys.repeated_use(slot).await.unwrap().is_some());
    let roster = stores.recipients.roster(account.aci.into()).await.unwrap().unwrap();
    assert!(roster.pni.is_none());
    assert!(create(stores, 1, new(0x6002, 0x62, "second", NOW)).await.is_none(), "it is used up");
    assert!(read(stores, Aci(Uuid::from_u128(0x6002))).await.is_none());
    create(stores, 2, new(0x6002, 0x62, "second", NOW)).await.unwrap();
}

async fn recovery_replaces_the_devices_and_nothing_of_the_past(stores: &Stores) {
    let account_with_number = account(stores, 600).await;
    let password = stores.numberless.recovery_password(account_with_number.aci).await.unwrap();
    assert_eq!(password, Some(hash("recovery")));
    let nobody = Aci(Uuid::from_u128(0x6FFF));
    assert_eq!(stores.numberless.recovery_password(nobody).await.unwrap(), None);

    let before = create(stores, 3, new(0x6003, 0x63, "before", NOW)).await.unwrap();
    stores.recipients.roster(before.aci.into()).await.unwrap().unwrap();
    let replace = async |version, new| stores.numberless.replace_numberless(version, new).await.unwrap();
    let outcome = replace(before.version, new(0x6003, 0x64, "after", later(5))).await;
    let RegisterOutcome::Registered { account: after, replaced } = outcome else {
        panic!("it is not outdated")
    };
    assert_eq!(replaced.unwrap().devices, before.devices);
    assert!(after.version > before.version);
    let found = read(stores, before.aci).await.unwrap();
    assert_eq!((&found.devices, found.version), (&after.devices, after.version));
    assert_eq!(found.devices[0].registration_id.get(), 0x64);
    assert_eq!(found.identity_key, Some(identity_keys(0x64).identity_key));
    let password = stores.numberless.recovery_password(before.aci).await.unwrap();
    assert_eq!(password, Some(hash("after")));
    let roster = stores.recipients.roster(ServiceId::Aci(before.aci)).await.unwrap().unwrap();
    assert_eq!(roster.devices[0].registration_id.get(), 0x64);
    let clears = stores.accounts.queue_clears(1000).await.unwrap();
    assert!(clears.contains(&QueueClear { aci: before.aci, device: None, cutoff: later(5) }));

    let late = replace(before.version, new(0x6003, 0x65, "late", later(6))).await;
    assert!(matches!(late, RegisterOutcome::Outdated));
    let numbered = NewNumberless { aci: account_with_number.aci, ..new(0, 0x66, "number", later(6)) };
    let outcome = replace(account_with_number.version, numbered).await;
    assert!(matches!(outcome, RegisterOutcome::Outdated), "it has a number");
    assert!(read(stores, account_with_number.aci).await.unwrap().number.is_some());
}
