//! What takes events and brings them to the log.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use protocol::ambient::{Clock, StorageError};

use crate::{AuditStore, coalesce::Coalescer, record::Entry};

/// How often what waits is written.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// Records in one write: bounds how long one of a change waits for those that were counted.
const WRITE_MAX: usize = 256;

/// Records removed by one write when they have expired.
const EXPIRE_MAX: usize = 512;

/// Brings events to the log: those of changes at once, others counted together and soon. Cheap to clone.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    /// How long records are kept.
    life: Duration,
    waiting: Mutex<Coalescer>,
    /// The last write failed. What it was about waits, so that it is tried again.
    failing: AtomicBool,
}

impl Recorder {
    /// Brings them to that store, where they are kept for so long.
    pub fn new(store: Arc<dyn AuditStore>, clock: Arc<dyn Clock>, life: Duration) -> Self {
        let waiting = Mutex::new(Coalescer::new(clock.now()));
        Self(Arc::new(Inner { store, clock, life, waiting, failing: AtomicBool::new(false) }))
    }

    /// An error while the log cannot be written.
    pub fn ready(&self) -> Result<(), StorageError> {
        if self.0.failing.load(Ordering::Acquire) {
            return Err(StorageError::unavailable("the audit log cannot be written"));
        }
        Ok(())
    }

    /// Takes a change that was made; it is durable when this returns. If that fails, it waits for the next time. The same
    /// change made again within minutes is counted.
    pub async fn write(&self, entry: Entry) {
        let Some(entry) = self.0.waiting.lock().change(entry) else { return };
        let outcome = self.0.store.append(vec![entry.clone()]).await;
        self.settle(outcome.map(drop), vec![entry]);
    }

    /// Takes a record that is written soon.
    pub fn write_soon(&self, entry: Entry) {
        self.0.waiting.lock().push(entry);
    }

    /// Takes an event of which there may be many: equal ones are counted together.
    pub fn note(&self, entry: Entry) {
        self.0.waiting.lock().note(entry);
    }

    /// Writes what waits, again and again; does not end.
    pub async fn run(&self) {
        loop {
            tokio::time::sleep(WRITE_INTERVAL).await;
            let due = self.0.waiting.lock().take_due(self.0.clock.now());
            self.write_all(due).await;
        }
    }

    /// Writes everything there is, because the program ends.
    pub async fn close(&self) {
        let all = self.0.waiting.lock().take_all();
        self.write_all(all).await;
    }

    /// Removes what has been kept long enough. For calling from time to time.
    pub async fn remove_expired(&self) -> Result<(), StorageError> {
        let Inner { store, clock, life, .. } = &*self.0;
        let now = clock.now();
        let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        let before = protocol::ambient::Timestamp::from_millis(now.as_millis().saturating_sub(life));
        while store.expire(before, now, EXPIRE_MAX).await? == EXPIRE_MAX {}
        Ok(())
    }

    async fn write_all(&self, mut entries: Vec<Entry>) {
        while !entries.is_empty() {
            let rest = entries.split_off(entries.len().min(WRITE_MAX));
            let outcome = self.0.store.append(entries.clone()).await.map(drop);
            let failed = outcome.is_err();
            let unwritten = if failed { [entries, rest.clone()].concat() } else { entries };
            self.settle(outcome, unwritten);
            if failed {
                return;
            }
            entries = rest;
        }
    }

    fn settle(&self, outcome: Result<(), StorageError>, entries: Vec<Entry>) {
        let failed = outcome.is_err();
        let failed_before = self.0.failing.swap(failed, Ordering::AcqRel);
        match outcome {
            Ok(()) if failed_before => tracing::info!("the audit log is written again"),
            Ok(()) => {}
            Err(error) => {
                if !failed_before {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the audit log cannot be written: changes to accounts are refused until it can"
                    );
                }
                self.0.waiting.lock().restore(entries);
            }
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}
