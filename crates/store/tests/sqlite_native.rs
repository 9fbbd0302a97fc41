//! The embedded engine's logins and sessions against the contract, and what its file shows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, sync::Arc};

use protocol::ambient::SeededEntropy;
use store::{
    contract::native::Stores,
    sqlite::{Database, Schema, SqliteAccounts, SqliteKeys, SqliteProfiles},
};
use vault::{Keyring, Vault};

fn stores(directory: &Path, vault: &Vault) -> Stores {
    let file = directory.join("accounts.sqlite");
    let database = Arc::new(Database::open(&file, Schema::Accounts, true).unwrap());
    let accounts = Arc::new(SqliteAccounts::new(Arc::clone(&database), vault.clone()));
    Stores {
        native: accounts.clone(),
        operated: accounts.clone(),
        accounts: accounts.clone(),
        recipients: accounts.clone(),
        owners: accounts.clone(),
        factors: accounts,
        profiles: Arc::new(SqliteProfiles::new(Arc::clone(&database), vault.clone())),
        keys: Arc::new(SqliteKeys::new(database)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn native_accounts_pass_the_contract_and_show_no_names() {
    let directory = tempfile::tempdir().unwrap();
    let entropy = Arc::new(SeededEntropy::new(1));
    let vault = Vault::new(Keyring::generate(entropy.as_ref()), entropy);
    store::contract::native::run(|| {
        let stores = stores(directory.path(), &vault);
        async { stores }
    })
    .await;
    let _open = stores(directory.path(), &vault);
    let bytes: Vec<u8> = fs::read_dir(directory.path())
        .unwrap()
        .flat_map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    let shows = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(shows("auth_native_sessions"), "the search finds what is not sealed");
    for secret in ["person-", "phone's", "tablet", "argon2id"] {
        assert!(!shows(secret), "{secret}");
    }
}
