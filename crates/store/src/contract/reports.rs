//! What every [`ReportStore`] must do.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::{sync::Arc, time::Duration};

use messages::report::{Report, ReportStore, ReportedMessage, ReportedSource};
use protocol::{Aci, ambient::Timestamp};
use uuid::Uuid;

type Store = Arc<dyn ReportStore>;

const BEGIN: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const MAX: u32 = 5;

/// A report of that message of that account, made so many seconds after the beginning.
fn report(source: u128, recipient: u128, guid: u128, seconds: u64) -> Report {
    let [guid, source, recipient] = [guid, source, recipient].map(Uuid::from_u128);
    Report {
        message: ReportedMessage { guid, source: Aci(source), recipient: Aci(recipient) },
        at: at(seconds),
    }
}

fn at(seconds: u64) -> Timestamp {
    BEGIN.saturating_add(Duration::from_secs(seconds))
}

fn reported(source: u128, reports: u64, first: u64, last: u64) -> ReportedSource {
    ReportedSource { source: Aci(Uuid::from_u128(source)), reports, first: at(first), last: at(last) }
}

/// Runs the whole suite; `open` opens the same store anew, as after a restart.
pub async fn run<F, R>(open: F)
where
    F: Fn() -> R,
    R: Future<Output = Store>,
{
    let store = open().await;
    assert_eq!(store.sources().await.unwrap(), []);
    counts_a_report_once(&store).await;
    drop(store);
    let store = open().await;
    let known = [reported(2, 2, 1, 3), reported(1, 1, 0, 0)];
    assert_eq!(store.sources().await.unwrap(), known);
    one_of_many_counts(&store).await;
    forgets_what_is_old(&store).await;
    forgets_the_oldest_when_there_are_too_many(&store).await;
}

async fn counts_a_report_once(store: &Store) {
    for (report, new) in [
        (report(1, 10, 100, 0), true),
        (report(2, 10, 101, 1), true),
        (report(2, 10, 101, 2), false),
        // The same message at another recipient is another report.
        (report(2, 11, 101, 3), true),
    ] {
        assert_eq!(store.insert(report, MAX).await.unwrap(), new);
    }
}

async fn one_of_many_counts(store: &Store) {
    let tries = (0..8).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.insert(report(1, 10, 102, 4), MAX).await })
    });
    let mut new = 0;
    for outcome in tries.collect::<Vec<_>>() {
        new += usize::from(outcome.await.unwrap().unwrap());
    }
    assert_eq!(new, 1);
}

async fn forgets_what_is_old(store: &Store) {
    assert_eq!(store.remove_before(at(1)).await.unwrap(), 1);
    assert_eq!(store.sources().await.unwrap(), [reported(2, 2, 1, 3), reported(1, 1, 4, 4)]);
    assert_eq!(store.remove_before(at(1)).await.unwrap(), 0);
}

async fn forgets_the_oldest_when_there_are_too_many(store: &Store) {
    for guid in 0..4 {
        assert!(store.insert(report(3, 10, 200 + guid, 5), MAX).await.unwrap());
    }
    assert_eq!(store.sources().await.unwrap(), [reported(3, 4, 5, 5), reported(1, 1, 4, 4)]);
}
