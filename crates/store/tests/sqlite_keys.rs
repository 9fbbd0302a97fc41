//! The embedded engine's pre-keys against the contract, and what it says of damaged rows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use keys::{KeySlot, KeyStore, KeyUpload};
use protocol::{DeviceId, ambient::StorageError};
use store::sqlite::{Database, Schema, SqliteKeys};
use tempfile::TempDir;

fn keys(directory: &TempDir) -> SqliteKeys {
    let database = Database::open(&directory.path().join("accounts.sqlite"), Schema::Accounts, true);
    SqliteKeys::new(Arc::new(database.unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    store::contract::keys::run(|| {
        let keys: Arc<dyn KeyStore> = Arc::new(keys(&directory));
        async { keys }
    })
    .await;
}

#[tokio::test]
async fn a_damaged_key_is_reported_and_not_handed_out() {
    let directory = tempfile::tempdir().unwrap();
    let keys = keys(&directory);
    let slot = KeySlot { identity: uuid::Uuid::from_u128(1), device: DeviceId::PRIMARY };
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../protocol/tests/vectors/keys.json")).unwrap();
    let upload = KeyUpload {
        signed: serde_json::from_value(vectors["putBody"]["signedPreKey"].clone()).unwrap(),
        last_resort: serde_json::from_value(vectors["putBody"]["pqLastResortPreKey"].clone()).unwrap(),
        ..KeyUpload::default()
    };
    keys.put(slot, upload).await.unwrap();

    let file = directory.path().join("accounts.sqlite");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute("UPDATE keys_pre_keys SET public_key = x'05' WHERE kind = 1", []).unwrap();
    let taken = keys.take(slot.identity, vec![slot.device]).await;
    assert!(matches!(taken, Err(StorageError::Corrupt { table: "keys_pre_keys", column: "public_key", .. })));
}
