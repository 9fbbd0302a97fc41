//! The embedded engine's logins and sessions against the contract, and what its file shows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, sync::Arc};

use auth::native::EmailStore;
use protocol::ambient::SeededEntropy;
use store::{
    contract::native::Stores,
    sqlite::{Database, Schema, SqliteAccounts, SqliteKeys, SqliteProfiles},
};
use vault::{Keyring, Vault};

fn stores(directory: &Path, vault: &Vault) -> Stores {
    let file = directory.join("accounts.sqlite");
    stores_on(Arc::new(Database::open(&file, Schema::Accounts, true).unwrap()), vault)
}

fn stores_on(database: Arc<Database>, vault: &Vault) -> Stores {
    let accounts = Arc::new(SqliteAccounts::new(Arc::clone(&database), vault.clone()));
    Stores {
        native: accounts.clone(),
        operated: accounts.clone(),
        devices: accounts.clone(),
        links: accounts.clone(),
        targets: accounts.clone(),
        accounts: accounts.clone(),
        recipients: accounts.clone(),
        owners: accounts.clone(),
        factors: accounts,
        profiles: Arc::new(SqliteProfiles::new(Arc::clone(&database), vault.clone())),
        keys: Arc::new(SqliteKeys::new(database)),
    }
}

fn vault() -> Vault {
    let entropy = Arc::new(SeededEntropy::new(1));
    Vault::new(Keyring::generate(entropy.as_ref()), entropy)
}

/// Whether a text is in a file of the folder, in clear.
fn shows(directory: &Path, text: &str) -> bool {
    fs::read_dir(directory).unwrap().any(|entry| {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn native_accounts_pass_the_contract_and_show_no_names() {
    let directory = tempfile::tempdir().unwrap();
    let vault = vault();
    store::contract::native::run(|| {
        let stores = stores(directory.path(), &vault);
        async { stores }
    })
    .await;
    let _open = stores(directory.path(), &vault);
    assert!(shows(directory.path(), "auth_native_sessions"), "the search finds what is not sealed");
    for secret in ["person-", "phone's", "tablet", "den's", "argon2id"] {
        assert!(!shows(directory.path(), secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_pass_the_contract_and_are_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let vault = vault();
    let open = || {
        let file = directory.path().join("accounts.sqlite");
        let database = Arc::new(Database::open(&file, Schema::Accounts, true).unwrap());
        let emails: Arc<dyn EmailStore> = Arc::new(SqliteAccounts::new(Arc::clone(&database), vault.clone()));
        (stores_on(database, &vault), emails)
    };
    store::contract::emails::run(|| {
        let opened = open();
        async { opened }
    })
    .await;
    let _open = open();
    assert!(shows(directory.path(), "auth_password_resets"), "the search finds what is not sealed");
    for secret in ["@example.org", "example.org"] {
        assert!(!shows(directory.path(), secret), "{secret}");
    }
}
