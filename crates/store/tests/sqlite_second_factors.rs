//! The embedded engine's second factors against the contract, and what its file shows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, sync::Arc};

use auth::second_factor::totp::TotpKey;
use protocol::ambient::{SeededEntropy, StorageError};
use store::{
    contract::{accounts, second_factors},
    sqlite::{Database, Schema, SqliteAccounts, SqliteKeys},
};
use vault::{Keyring, Vault};

fn vault() -> Vault {
    let entropy = Arc::new(SeededEntropy::new(1));
    Vault::new(Keyring::generate(entropy.as_ref()), entropy)
}

fn stores(directory: &Path, vault: &Vault) -> second_factors::Stores {
    let file = directory.join("accounts.sqlite");
    let database = Arc::new(Database::open(&file, Schema::Accounts, true).unwrap());
    let accounts = Arc::new(SqliteAccounts::new(Arc::clone(&database), vault.clone()));
    second_factors::Stores {
        factors: accounts.clone(),
        accounts: accounts::Stores {
            accounts: accounts.clone(),
            links: accounts.clone(),
            recipients: accounts.clone(),
            targets: accounts.clone(),
            numbers: accounts.clone(),
            numberless: accounts.clone(),
            idle: accounts.clone(),
            owners: accounts,
            keys: Arc::new(SqliteKeys::new(database)),
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn factors_pass_the_contract_and_show_no_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let vault = vault();
    second_factors::run(|| {
        let stores = stores(directory.path(), &vault);
        async { stores }
    })
    .await;
    // While it is open, the engine that the suite let go does not remove files that are being read here.
    let _open = stores(directory.path(), &vault);
    let entries = fs::read_dir(directory.path()).unwrap();
    let bytes: Vec<u8> = entries.flat_map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    let shows = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    assert!(shows(&[1; 160]), "the search finds what the client has encrypted");
    for seed in [2, 10] {
        let key = TotpKey::random(&SeededEntropy::new(seed));
        assert!(!shows(key.as_bytes()) && !shows(&serde_json::to_vec(&key).unwrap()), "a key");
    }
    assert!(!shows(second_factors::credential_id(1).as_bytes()), "the id of a passkey");
    assert!(!shows(b"red key"), "what an owner calls a passkey");
}

#[tokio::test]
async fn a_secret_moved_to_another_row_does_not_open() {
    let directory = tempfile::tempdir().unwrap();
    let stores = stores(directory.path(), &vault());
    let [alice, bob] = accounts::two_accounts(&stores.accounts).await;
    for (number, aci) in (1..).zip([alice, bob]) {
        second_factors::add_passkey(&*stores.factors, aci, number).await;
    }
    let file = rusqlite::Connection::open(directory.path().join("accounts.sqlite")).unwrap();
    file.execute("UPDATE auth_factors SET secret = (SELECT max(secret) FROM auth_factors)", []).unwrap();
    let mut refused = 0;
    for aci in [alice, bob] {
        refused += usize::from(matches!(
            stores.factors.factors(aci).await,
            Err(StorageError::Corrupt { table: "auth_factors", column: "secret", .. })
        ));
    }
    assert_eq!(refused, 1);
}
