//! The embedded engine's invitations and applications against the contract, and what its file shows.

use std::sync::Arc;

use auth::admission::AdmissionStore;
use protocol::ambient::SeededEntropy;
use store::sqlite::{Database, Schema, SqliteAdmission};
use vault::{Keyring, Vault};

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accounts.sqlite");
    let entropy = Arc::new(SeededEntropy::new(1));
    let vault = Vault::new(Keyring::generate(entropy.as_ref()), entropy);
    store::contract::admission::run(|| {
        let database = Arc::new(Database::open(&path, Schema::Accounts, true).unwrap());
        let store: Arc<dyn AdmissionStore> = Arc::new(SqliteAdmission::new(database, vault.clone()));
        async { store }
    })
    .await;
    for name in ["accounts.sqlite", "accounts.sqlite-wal"] {
        let bytes = std::fs::read(directory.path().join(name)).unwrap_or_default();
        for text in ["+1555010", "somebody", "a friend", "123456789012"] {
            assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{text} in {name}");
        }
    }
}
