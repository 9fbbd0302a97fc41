//! The embedded engine's accounts and sessions against the contract, and what its file shows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, sync::Arc};

use auth::verification::{Session, SessionId, SessionStore, VerificationPolicy};
use protocol::{
    ServiceId,
    ambient::{SeededEntropy, StorageError, Timestamp},
};
use store::{
    contract::accounts::Stores,
    sqlite::{Database, Schema, SqliteAccounts, SqliteHandovers, SqliteKeys, SqliteSessions},
};
use vault::{Keyring, Vault};

fn vault() -> Vault {
    let entropy = Arc::new(SeededEntropy::new(1));
    Vault::new(Keyring::generate(entropy.as_ref()), entropy)
}

fn database(directory: &Path) -> Arc<Database> {
    Arc::new(Database::open(&directory.join("accounts.sqlite"), Schema::Accounts, true).unwrap())
}

fn stores(directory: &Path, vault: &Vault) -> Stores {
    let database = database(directory);
    let accounts = Arc::new(SqliteAccounts::new(Arc::clone(&database), vault.clone()));
    Stores {
        accounts: accounts.clone(),
        links: accounts.clone(),
        targets: accounts.clone(),
        numbers: accounts.clone(),
        numberless: accounts.clone(),
        idle: accounts.clone(),
        recipients: accounts.clone(),
        owners: accounts,
        keys: Arc::new(SqliteKeys::new(database)),
    }
}

/// Everything the engine wrote, in one piece.
fn bytes_on_disk(directory: &Path) -> Vec<u8> {
    // While it is open, the engine that the suite let go does not remove files that are being read here.
    let _open = database(directory);
    fs::read_dir(directory).unwrap().flat_map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn shows(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_pass_the_contract_and_show_no_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let vault = vault();
    store::contract::accounts::run(|| {
        let stores = stores(directory.path(), &vault);
        async { stores }
    })
    .await;
    let bytes = bytes_on_disk(directory.path());
    assert!(shows(&bytes, "OWA"), "the search finds what is not sealed");
    assert!(!shows(&bytes, "1555000000"), "a phone number");
    assert!(!shows(&bytes, "token-of-a-push"), "a push token");
    assert!(!shows(&bytes, "secret to the number"), "what devices are told of a new number");
    assert!(!bytes.windows(16).any(|window| window == [9; 16]), "an access key");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_pass_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let vault = vault();
    store::contract::sessions::run(|| {
        let store: Arc<dyn SessionStore> =
            Arc::new(SqliteSessions::new(database(directory.path()), vault.clone()));
        async { store }
    })
    .await;
    let bytes = bytes_on_disk(directory.path());
    assert!(!shows(&bytes, "1555010000"), "a phone number");
    assert!(!shows(&bytes, "captcha"), "the content of a session");
    let id = SessionId::random(&SeededEntropy::new(90));
    assert!(!bytes.windows(SessionId::LEN).any(|window| window == id.as_bytes()), "a session id");
}

#[tokio::test(flavor = "multi_thread")]
async fn handovers_pass_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let vault = vault();
    store::contract::handover::run(store::contract::handover::Stores {
        handovers: Arc::new(SqliteHandovers::new(database(directory.path()), vault.clone())),
        accounts: stores(directory.path(), &vault),
    })
    .await;
    let bytes = bytes_on_disk(directory.path());
    assert!(!shows(&bytes, "secrettoken"), "a token");
    assert!(!shows(&bytes, "secretbootstraps"), "a choice");
}

#[tokio::test]
async fn a_session_moved_to_another_row_does_not_open() {
    let directory = tempfile::tempdir().unwrap();
    let sessions = SqliteSessions::new(database(directory.path()), vault());
    let now = Timestamp::from_millis(1_700_000_000_000);
    let [mine, other] = [1, 2].map(|seed| SessionId::random(&SeededEntropy::new(seed)));
    for (id, number) in [(&mine, "+15550100001"), (&other, "+15550100002")] {
        let session = Session::new(number.parse().unwrap(), &VerificationPolicy::default(), now);
        sessions.insert(id, session).await.unwrap();
    }
    let file = rusqlite::Connection::open(directory.path().join("accounts.sqlite")).unwrap();
    file.execute("UPDATE auth_sessions SET data = (SELECT max(data) FROM auth_sessions)", []).unwrap();
    let mut refused = 0;
    for id in [mine, other] {
        refused += usize::from(matches!(
            sessions.load(&id, now).await,
            Err(StorageError::Corrupt { table: "auth_sessions", column: "data", .. })
        ));
    }
    assert_eq!(refused, 1);
}

#[tokio::test]
async fn a_number_moved_to_another_account_does_not_open() {
    let directory = tempfile::tempdir().unwrap();
    let stores = stores(directory.path(), &vault());
    let accounts = store::contract::accounts::two_accounts(&stores).await;
    let file = rusqlite::Connection::open(directory.path().join("accounts.sqlite")).unwrap();
    file.execute("UPDATE auth_accounts SET number = (SELECT number FROM auth_accounts WHERE id = 1)", [])
        .unwrap();
    let read = |index: usize| stores.accounts.account(ServiceId::Aci(accounts[index]));
    assert!(read(0).await.is_ok());
    assert!(matches!(
        read(1).await,
        Err(StorageError::Corrupt { table: "auth_accounts", column: "number", .. })
    ));
}
