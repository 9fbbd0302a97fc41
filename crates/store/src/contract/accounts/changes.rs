//! What every store must do with changes of an account, and what follows from them.

use auth::{
    Device,
    account::AccountVersion,
    capabilities::Capabilities,
    device::{DeviceName, PushService, PushToken},
    revocation::QueueClear,
    store::{AccountChange, Change, ChangeOutcome, DeviceChange, PushTokenChange},
};
use protocol::{Aci, DeviceAddress, DeviceId, RegistrationId, ServiceId, UnidentifiedAccess};
use uuid::Uuid;

use super::{
    Stores,
    made_up::{NOW, again, device, hash, later, number, pni, primary, read, register, registration},
};

/// Runs this part of the suite.
pub(super) async fn run(stores: &Stores) {
    changes_reach_what_they_name(stores).await;
    a_lock_shuts_every_device_out(stores).await;
    days_move_forward_only(stores).await;
    queue_clears_wait_until_done(stores).await;
    rosters_follow_every_write(stores).await;
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
