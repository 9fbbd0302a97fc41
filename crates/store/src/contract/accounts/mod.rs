//! What every [`AccountStore`] must do, and what others read of accounts: [`Recipients`] and [`KeyOwners`].

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

mod changes;
mod devices;
mod idle;
mod made_up;
mod numberless;
mod numbers;
mod registrations;

use std::sync::Arc;

use ::push::PushTargets;
use auth::{
    change_number::store::NumberStore, idle::IdleStore, linking::store::LinkStore,
    registration::store::NumberlessStore, store::AccountStore,
};
use keys::{KeyOwners, KeyStore};
use messages::Recipients;

use made_up::{primary, read, register, registration};

pub use made_up::two_accounts;
pub(super) use made_up::{account, account_with_second_device, identity_keys, register_again};

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

/// Runs the whole suite; `open` opens the same store anew, as after a restart.
pub async fn run<F, R>(open: F)
where
    F: Fn() -> R,
    R: Future<Output = Stores>,
{
    let stores = open().await;
    registrations::run(&stores).await;
    changes::run(&stores).await;
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
