//! The embedded engine's queue against the contract, and what its file shows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use messages::{Append, Batch, Position, QueueStore, QueuedEnvelope, SharedBody};
use protocol::{
    Aci, DeviceAddress, DeviceId,
    ambient::{SeededEntropy, StorageError},
};
use store::sqlite::{Database, Schema, SqliteQueue};
use tempfile::TempDir;
use vault::{Keyring, Vault};

fn vault() -> Vault {
    let entropy = Arc::new(SeededEntropy::new(1));
    Vault::new(Keyring::generate(entropy.as_ref()), entropy)
}

async fn queue(directory: &TempDir, vault: Vault) -> SqliteQueue {
    let database = Database::open(&directory.path().join("messages.sqlite"), Schema::Messages, true);
    SqliteQueue::open(Arc::new(database.unwrap()), &directory.path().join("messages"), vault).await.unwrap()
}

#[tokio::test]
async fn passes_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let vault = vault();
    store::contract::queue::run(|| {
        let opened = queue(&directory, vault.clone());
        async { Arc::new(opened.await) as Arc<dyn QueueStore> }
    })
    .await;
}

#[tokio::test]
async fn a_shared_end_is_stored_once_and_goes_with_the_last_envelope() {
    let directory = tempfile::tempdir().unwrap();
    let queue = queue(&directory, vault()).await;
    let bodies = || {
        let file = rusqlite::Connection::open(directory.path().join("messages.sqlite")).unwrap();
        file.query_row("SELECT count(*), total(length(body)) FROM messages_shared", [], |row| {
            Ok((row.get::<_, u32>(0)?, row.get::<_, f64>(1)?))
        })
        .unwrap()
    };
    let shared = SharedBody::stored(Position(1), Bytes::from(vec![7; 50_000]));
    let device =
        |n: u64| DeviceAddress { aci: Aci(uuid::Uuid::from_u128(n.into())), device_id: DeviceId::PRIMARY };
    let append = |n: u64| Append {
        device: device(n),
        position: Position(n),
        envelope: QueuedEnvelope { head: Bytes::from_static(b"head"), shared: Some(shared.clone()) },
    };
    queue.apply(Batch { appends: (2..102).map(append).collect(), deletes: Vec::new() }).await.unwrap();
    let overhead = f64::from(u32::try_from(Vault::OVERHEAD).unwrap());
    assert_eq!(bodies(), (1, 50_000.0 + overhead));
    let deletes = (2..101).map(|n| (device(n), Position(n))).collect();
    queue.apply(Batch { appends: Vec::new(), deletes }).await.unwrap();
    assert_eq!(bodies().0, 1);
    queue.expire(Position(1_000), 10).await.unwrap();
    assert_eq!(bodies().0, 0);
}

#[tokio::test]
async fn a_row_moved_to_another_device_does_not_open() {
    let directory = tempfile::tempdir().unwrap();
    let queue = queue(&directory, vault()).await;
    let [mine, other] = [1, 2].map(|id| DeviceAddress {
        aci: Aci(uuid::Uuid::from_u128(1)),
        device_id: DeviceId::try_from(id).unwrap(),
    });
    let append =
        Append { device: mine, position: Position(1), envelope: Bytes::from_static(b"in the clear").into() };
    queue.apply(Batch { appends: vec![append], deletes: Vec::new() }).await.unwrap();

    let file = directory.path().join("messages.sqlite");
    rusqlite::Connection::open(&file).unwrap().execute("UPDATE messages_queue SET device = 2", []).unwrap();
    let read = queue.read(other, Position(0), 10, 1000).await;
    assert!(matches!(read, Err(StorageError::Corrupt { table: "messages_queue", column: "envelope", .. })));

    for name in ["messages.sqlite", "messages.sqlite-wal"] {
        let bytes = std::fs::read(directory.path().join(name)).unwrap();
        assert!(!bytes.windows(12).any(|window| window == b"in the clear"), "{name} shows the envelope");
    }
}
