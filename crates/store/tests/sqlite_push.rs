//! The embedded engine's wake-ups against the contract.

use std::sync::Arc;

use protocol::ambient::SeededEntropy;
use store::sqlite::{Database, Schema, SqliteQueue, SqliteWakeLog};
use vault::{Keyring, Vault};

#[tokio::test]
async fn wake_ups_pass_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let entropy = Arc::new(SeededEntropy::new(1));
    let vault = Vault::new(Keyring::generate(entropy.as_ref()), entropy);
    let database = Database::open(&directory.path().join("messages.sqlite"), Schema::Messages, true);
    let database = Arc::new(database.unwrap());
    let folder = directory.path().join("messages");
    let queue = SqliteQueue::open(Arc::clone(&database), &folder, vault).await.unwrap();
    store::contract::push::wake_log(Arc::new(SqliteWakeLog::new(database)), Arc::new(queue)).await;
}
