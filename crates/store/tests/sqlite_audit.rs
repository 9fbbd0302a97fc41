//! The embedded engine's audit log against the contract, and what can be done to its file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::PathBuf, sync::Arc};

use audit::{
    AuditStore,
    record::Entry,
    verify::{Broken, Verifier},
};
use protocol::ambient::{SeededEntropy, StorageError, Timestamp};
use rusqlite::Connection;
use store::sqlite::{AuditReader, Database, Schema, SqliteAudit, audit_chain_key};
use tempfile::TempDir;
use vault::{Keyring, Vault};

fn vault(seed: u64) -> Vault {
    let entropy = Arc::new(SeededEntropy::new(seed));
    Vault::new(Keyring::generate(entropy.as_ref()), entropy)
}

fn path(directory: &TempDir) -> PathBuf {
    directory.path().join("audit.sqlite")
}

fn log(directory: &TempDir) -> SqliteAudit {
    let database = Database::open(&path(directory), Schema::Audit, true).unwrap();
    SqliteAudit::new(Arc::new(database), vault(1))
}

fn entry(by: &'static str) -> Entry {
    Entry {
        at: Timestamp::from_millis(1_700_000_000_000),
        since: None,
        count: 1,
        by: by.into(),
        action: "test".into(),
        on: None,
        outcome: "success".into(),
        detail: None,
        network: Some("192.0.2.0/24".into()),
    }
}

/// A log of ten records, and a connection of somebody who may write to its file.
async fn tampered(directory: &TempDir, statements: &str) -> Result<(), String> {
    let log = log(directory);
    log.append((0..10).map(|_| entry("operator")).collect()).await.unwrap();
    let connection = Connection::open(path(directory)).unwrap();
    for name in [
        "audit_records_keep",
        "audit_records_stay",
        "audit_records_follow",
        "audit_cut_advances",
        "audit_cut_stays",
    ] {
        connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    connection.execute_batch(statements).unwrap();
    verified(directory)
}

fn verified(directory: &TempDir) -> Result<(), String> {
    let reader = AuditReader::open(&path(directory), vault(1)).unwrap();
    let verify = || -> Result<(), Broken> {
        let mut verifier = Verifier::new(reader.key(), reader.cut().unwrap(), vec![])?;
        for record in reader.read(0, 100).map_err(|_| Broken::Altered { seq: 0 })? {
            verifier.next(&record)?;
        }
        verifier.finish().map(drop)
    };
    verify().map_err(|broken| broken.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let store: Arc<dyn AuditStore> = Arc::new(log(&directory));
        async { store }
    };
    store::contract::audit::run(open, audit_chain_key(&vault(1))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_add_to_one_chain() {
    let directory = tempfile::tempdir().unwrap();
    let logs = [log(&directory), log(&directory)];
    let adding = logs.map(|log| {
        tokio::spawn(async move {
            for _ in 0..50 {
                log.append(vec![entry("operator"), entry("server")]).await.unwrap();
            }
        })
    });
    for task in adding {
        task.await.unwrap();
    }
    let reader = AuditReader::open(&path(&directory), vault(1)).unwrap();
    assert_eq!(reader.head().unwrap().seq, 200);
    verified(&directory).unwrap();
}

#[tokio::test]
async fn nothing_is_changed_or_removed_by_mistake() {
    let directory = tempfile::tempdir().unwrap();
    let log = log(&directory);
    log.append(vec![entry("operator"), entry("operator")]).await.unwrap();
    log.expire(Timestamp::from_millis(u64::MAX / 4), Timestamp::from_millis(1), 1).await.unwrap();
    let connection = Connection::open(path(&directory)).unwrap();
    for statement in [
        "UPDATE audit_records SET at = 1",
        "DELETE FROM audit_records",
        "DELETE FROM audit_cut",
        "UPDATE audit_cut SET seq = 0",
        "INSERT INTO audit_records SELECT 77, at, data, mac FROM audit_records",
    ] {
        let refused = connection.execute_batch(statement).unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{statement}: {refused}");
    }
    verified(&directory).unwrap();
}

#[tokio::test]
async fn whatever_a_thief_of_the_file_does_shows() {
    for (statements, broken) in [
        ("DELETE FROM audit_records WHERE seq = 5", "records 4 to 6 do not follow each other"),
        ("DELETE FROM audit_records WHERE seq <= 5", "records 0 to 6 do not follow each other"),
        (
            "DELETE FROM audit_records WHERE seq <= 5;
             INSERT INTO audit_cut SELECT 1, 5, zeroblob(32), 1, zeroblob(32)",
            "not cut off by the server",
        ),
        ("UPDATE audit_records SET mac = zeroblob(32) WHERE seq = 10", "record 10 is not what was written"),
        (
            "DELETE FROM audit_records WHERE seq = 5;
             UPDATE audit_records SET seq = seq - 1 WHERE seq > 5",
            "is not what was written",
        ),
        (
            "UPDATE audit_records SET data = (SELECT data FROM audit_records WHERE seq = 1) WHERE seq = 2",
            "is not what was written",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let told = tampered(&directory, statements).await.unwrap_err();
        assert!(told.contains(broken), "{statements}: {told}");
    }
}

#[tokio::test]
async fn the_file_does_not_show_who_did_what() {
    let directory = tempfile::tempdir().unwrap();
    log(&directory).append(vec![entry("somebody-in-particular")]).await.unwrap();
    for name in ["audit.sqlite", "audit.sqlite-wal"] {
        let bytes = std::fs::read(directory.path().join(name)).unwrap_or_default();
        for text in ["somebody", "192.0.2"] {
            assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{text} in {name}");
        }
    }
    let other = AuditReader::open(&path(&directory), vault(2)).unwrap();
    assert!(matches!(other.read(0, 1), Err(StorageError::Corrupt { .. })));
}
