//! What every [`HandoverStore`] must do.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::{sync::Arc, time::Duration};

use auth::{
    Account,
    handover::{
        ArchiveAddress, ArchiveError, RestoreChoice, RestoreMethod, RestoreToken, TransferArchive,
        store::{HandoverStore, NewChoice},
    },
};
use protocol::{Aci, DeviceAddress, DeviceId, ambient::Timestamp};
use uuid::Uuid;

use super::accounts;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// One store seen through the traits that meet here.
#[derive(Clone)]
pub struct Stores {
    /// What is left.
    pub handovers: Arc<dyn HandoverStore>,
    /// The accounts of the same store.
    pub accounts: accounts::Stores,
}

/// Runs the suite on an empty store.
pub async fn run(stores: Stores) {
    word_of_an_archive_is_for_one_installation(&stores).await;
    word_of_an_archive_goes_with_its_device_and_account(&stores).await;
    choices_are_kept_until_they_expire_and_no_more_than_fit(&stores).await;
}

fn later(seconds: u64) -> Timestamp {
    NOW.saturating_add(Duration::from_secs(seconds))
}

fn address(aci: Aci, device: u32, registration_id: u16) -> ArchiveAddress {
    ArchiveAddress { aci, device_id: DeviceId::try_from(device).unwrap(), registration_id }
}

fn uploaded(key: &str) -> TransferArchive {
    TransferArchive::Uploaded { cdn: 3, key: key.to_owned() }
}

async fn word_of_an_archive_is_for_one_installation(stores: &Stores) {
    let Account { aci, .. } = accounts::account(&stores.accounts, 900).await;
    let store = &stores.handovers;
    let to = address(aci, 2, 7);
    assert_eq!(store.archive(to, NOW).await.unwrap(), None);
    assert!(store.put_archive(to, uploaded("one"), later(10)).await.unwrap());
    for other in [address(aci, 2, 8), address(aci, 3, 7), address(Aci(Uuid::from_u128(1)), 2, 7)] {
        assert_eq!(store.archive(other, NOW).await.unwrap(), None);
    }
    assert_eq!(store.archive(to, later(9)).await.unwrap(), Some(uploaded("one")));
    assert_eq!(store.archive(to, later(10)).await.unwrap(), None);

    let missing = TransferArchive::Missing { error: ArchiveError::RelinkRequested };
    assert!(store.put_archive(to, missing.clone(), later(20)).await.unwrap());
    assert_eq!(store.archive(to, later(19)).await.unwrap(), Some(missing.clone()));
    store.remove_expired(later(19)).await.unwrap();
    assert_eq!(store.archive(to, NOW).await.unwrap(), Some(missing));
    store.remove_expired(later(20)).await.unwrap();
    assert_eq!(store.archive(to, NOW).await.unwrap(), None);

    let nobody = address(Aci(Uuid::from_u128(2)), 2, 7);
    assert!(!store.put_archive(nobody, uploaded("one"), later(10)).await.unwrap());
}

async fn word_of_an_archive_goes_with_its_device_and_account(stores: &Stores) {
    let account = accounts::account_with_second_device(&stores.accounts, 901).await;
    let store = &stores.handovers;
    let put = async |device| {
        assert!(store.put_archive(address(account.aci, device, 7), uploaded("a"), later(60)).await.unwrap());
    };
    let kept = async |device| store.archive(address(account.aci, device, 7), NOW).await.unwrap().is_some();
    put(2).await;
    put(3).await;
    let second = DeviceAddress { aci: account.aci, device_id: DeviceId::try_from(2).unwrap() };
    assert!(stores.accounts.accounts.remove_device(second, later(1)).await.unwrap());
    assert_eq!((kept(2).await, kept(3).await), (false, true));
    let account = accounts::register_again(&stores.accounts, &account, 901, later(2)).await;
    assert!(!kept(3).await, "the account has passed to somebody else");
    put(2).await;
    stores.accounts.accounts.delete(account.aci, later(3)).await.unwrap();
    accounts::account(&stores.accounts, 901).await;
    assert!(!kept(2).await);
}

async fn choices_are_kept_until_they_expire_and_no_more_than_fit(stores: &Stores) {
    let store = &stores.handovers;
    let token = |text: &str| RestoreToken::new(text).unwrap();
    let choice =
        |method| RestoreChoice { method, device_transfer_bootstrap: Some("secretbootstraps".to_owned()) };
    let put = async |text: &str, method, at, seconds| {
        let expires = later(seconds);
        let new = NewChoice { token: token(text), choice: choice(method), at, expires, max: 2 };
        store.put_choice(new).await.unwrap()
    };
    assert_eq!(store.choice(&token("secrettoken"), NOW).await.unwrap(), None);
    assert!(put("secrettoken", RestoreMethod::Decline, NOW, 10).await);
    assert!(put("other", RestoreMethod::Decline, NOW, 20).await);
    assert!(!put("third", RestoreMethod::Decline, NOW, 20).await, "there is no room");
    assert!(put("secrettoken", RestoreMethod::DeviceTransfer, NOW, 10).await, "in place of its own");
    let found = store.choice(&token("secrettoken"), later(9)).await.unwrap();
    assert_eq!(found, Some(choice(RestoreMethod::DeviceTransfer)));
    assert_eq!(store.choice(&token("secrettoken"), later(10)).await.unwrap(), None);
    assert!(put("third", RestoreMethod::LocalBackup, later(10), 30).await, "what is over takes no room");
    store.remove_expired(later(20)).await.unwrap();
    assert_eq!(store.choice(&token("other"), NOW).await.unwrap(), None);
    assert_eq!(store.choice(&token("third"), NOW).await.unwrap(), Some(choice(RestoreMethod::LocalBackup)));
}
