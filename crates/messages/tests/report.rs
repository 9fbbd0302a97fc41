//! Which reports count.

use std::sync::Arc;

use async_trait::async_trait;
use messages::{
    MessageMetrics, ReportService, ReportTokens,
    report::{REPORT_LIFE, Report, ReportStore, ReportedMessage, ReportedSource, TOKEN_LIFE},
};
use parking_lot::Mutex;
use protocol::{
    Aci,
    ambient::{ManualClock, StorageError, Timestamp},
};
use uuid::Uuid;

#[derive(Default)]
struct TestStore(Mutex<Vec<Report>>);

#[async_trait]
impl ReportStore for TestStore {
    async fn insert(&self, report: Report, _: u32) -> Result<bool, StorageError> {
        let mut reports = self.0.lock();
        let new = reports.iter().all(|known| known.message != report.message);
        reports.extend(new.then_some(report));
        Ok(new)
    }

    async fn sources(&self) -> Result<Vec<ReportedSource>, StorageError> {
        unreachable!("the service does not ask")
    }

    async fn remove_before(&self, moment: Timestamp) -> Result<usize, StorageError> {
        let mut reports = self.0.lock();
        let before = reports.len();
        reports.retain(|report| report.at >= moment);
        Ok(before - reports.len())
    }
}

#[tokio::test]
async fn a_report_counts_once_while_its_token_is_good_and_then_for_a_time() {
    let sent = Timestamp::from_millis(1_700_000_000_000);
    let clock = ManualClock::new(sent);
    let (tokens, store, metrics) =
        (ReportTokens::new(&[1; 32]), Arc::new(TestStore::default()), MessageMetrics::default());
    let service = ReportService::new(tokens.clone(), store.clone(), metrics.clone(), Arc::new(clock.clone()));
    let message = |guid| ReportedMessage {
        guid: Uuid::from_u128(guid),
        source: Aci(Uuid::from_u128(10)),
        recipient: Aci(Uuid::from_u128(11)),
    };
    let counted = || (metrics.reports.get(), metrics.reports_refused.get(), store.0.lock().len());

    let token = tokens.issue(&message(1), sent);
    service.report(message(1), &token).await.unwrap();
    service.report(message(1), &token).await.unwrap();
    assert_eq!(counted(), (1, 0, 1));
    service.report(message(2), &token).await.unwrap();
    service.report(message(2), &[]).await.unwrap();
    assert_eq!(counted(), (1, 2, 1));

    let token = tokens.issue(&message(2), sent);
    clock.advance(TOKEN_LIFE);
    service.report(message(2), &token).await.unwrap();
    assert_eq!(counted(), (2, 2, 2));
    let token = tokens.issue(&message(3), sent);
    clock.advance(std::time::Duration::from_secs(1));
    service.report(message(3), &token).await.unwrap();
    assert_eq!(counted(), (2, 3, 2), "too late");

    clock.advance(REPORT_LIFE.saturating_sub(TOKEN_LIFE));
    assert_eq!(service.remove_expired().await.unwrap(), 1);
    assert_eq!(service.remove_expired().await.unwrap(), 0);
}
