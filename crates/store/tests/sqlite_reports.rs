//! The embedded engine's reports against the contract, and what its file shows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use messages::report::{Report, ReportStore, ReportedMessage};
use protocol::{
    Aci,
    ambient::{SeededEntropy, Timestamp},
};
use store::sqlite::{Database, Schema, SqliteReports, read_report_sources};
use tempfile::TempDir;
use uuid::Uuid;
use vault::{Keyring, Vault};

fn vault() -> Vault {
    let entropy = Arc::new(SeededEntropy::new(1));
    Vault::new(Keyring::generate(entropy.as_ref()), entropy)
}

fn reports(directory: &TempDir, vault: Vault) -> SqliteReports {
    let database = Database::open(&directory.path().join("accounts.sqlite"), Schema::Accounts, true);
    SqliteReports::new(Arc::new(database.unwrap()), vault)
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let vault = vault();
    store::contract::reports::run(|| {
        let reports: Arc<dyn ReportStore> = Arc::new(reports(&directory, vault.clone()));
        async { reports }
    })
    .await;
}

#[tokio::test]
async fn an_operator_sees_who_was_reported_and_nobody_who_reported() {
    let directory = tempfile::tempdir().unwrap();
    let reports = reports(&directory, vault());
    let [guid, source, recipient] = [
        "0b2d6b0c-8a4e-4d0c-9f5e-1c2f3a4b5c6d",
        "796abedb-ca4e-4f18-8803-1fde5b921f9f",
        "f1d3a8a2-6c1f-4b57-9a43-8f1f5f0d2c11",
    ]
    .map(|text| Uuid::try_parse(text).unwrap());
    let message = ReportedMessage { guid, source: Aci(source), recipient: Aci(recipient) };
    reports.insert(Report { message, at: Timestamp::from_millis(1) }, 10).await.unwrap();

    // As another process would, while this one has the file open.
    let seen = read_report_sources(&directory.path().join("accounts.sqlite")).unwrap();
    assert_eq!(seen.iter().map(|seen| (seen.source, seen.reports)).collect::<Vec<_>>(), [(Aci(source), 1)]);
    let mut found = [false; 3];
    for name in ["accounts.sqlite", "accounts.sqlite-wal"] {
        let bytes = std::fs::read(directory.path().join(name)).unwrap();
        for (found, id) in found.iter_mut().zip([source, recipient, guid]) {
            *found |= bytes.windows(16).any(|window| window == id.as_bytes());
        }
    }
    assert_eq!(found, [true, false, false], "source, recipient, message");
}
