//! What reaches the log, and when.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use audit::{
    AuditStore, Recorder,
    chain::{ChainKey, Head},
    record::{Entry, Record},
    verify::Cut,
};
use parking_lot::Mutex;
use protocol::ambient::{Clock, ManualClock, StorageError, Timestamp};

struct Log {
    entries: Mutex<Vec<Entry>>,
    fails: AtomicBool,
}

#[async_trait]
impl AuditStore for Log {
    async fn append(&self, entries: Vec<Entry>) -> Result<Head, StorageError> {
        if self.fails.load(SeqCst) {
            return Err(StorageError::Full);
        }
        self.entries.lock().extend(entries);
        self.head().await
    }

    async fn head(&self) -> Result<Head, StorageError> {
        Ok(ChainKey::new([1; 32]).genesis())
    }

    async fn read(&self, _: u64, _: usize) -> Result<Vec<Record>, StorageError> {
        Ok(Vec::new())
    }

    async fn cut(&self) -> Result<Option<Cut>, StorageError> {
        Ok(None)
    }

    async fn expire(&self, before: Timestamp, _: Timestamp, limit: usize) -> Result<usize, StorageError> {
        let mut entries = self.entries.lock();
        let count = entries.iter().take(limit).take_while(|entry| entry.at < before).count();
        entries.drain(..count);
        Ok(count)
    }
}

fn recorder() -> (Recorder, Arc<Log>, ManualClock) {
    let clock = ManualClock::new(Timestamp::from_millis(1_700_000_000_000));
    let log = Arc::new(Log { entries: Mutex::default(), fails: AtomicBool::new(false) });
    let recorder = Recorder::new(log.clone(), Arc::new(clock.clone()), Duration::from_hours(24));
    (recorder, log, clock)
}

fn entry(by: &'static str, clock: &ManualClock) -> Entry {
    Entry {
        at: clock.now(),
        since: None,
        count: 1,
        by: by.into(),
        action: "register".into(),
        on: None,
        outcome: "success".into(),
        detail: None,
        network: None,
    }
}

#[tokio::test(start_paused = true)]
async fn changes_are_written_at_once_and_others_soon() {
    let (recorder, log, clock) = recorder();
    recorder.note(entry("a", &clock));
    recorder.write(entry("b", &clock)).await;
    assert_eq!(log.entries.lock().len(), 1);
    let running = tokio::spawn({
        let recorder = recorder.clone();
        async move { recorder.run().await }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(log.entries.lock().len(), 2);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn while_the_log_cannot_be_written_changes_are_refused_and_nothing_is_lost() {
    let (recorder, log, clock) = recorder();
    log.fails.store(true, SeqCst);
    recorder.ready().unwrap();
    recorder.write(entry("a", &clock)).await;
    assert!(recorder.ready().is_err());
    let running = tokio::spawn({
        let recorder = recorder.clone();
        async move { recorder.run().await }
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    recorder.write_soon(entry("b", &clock));
    assert!(recorder.ready().is_err());
    log.fails.store(false, SeqCst);
    tokio::time::sleep(Duration::from_secs(2)).await;
    recorder.ready().unwrap();
    assert_eq!(*log.entries.lock(), [entry("a", &clock), entry("b", &clock)]);
    running.abort();
}

#[tokio::test]
async fn what_is_counted_is_written_when_the_program_ends() {
    let (recorder, log, clock) = recorder();
    for _ in 0..5 {
        recorder.note(entry("a", &clock));
    }
    recorder.close().await;
    let counts: Vec<_> = log.entries.lock().iter().map(|entry| entry.count).collect();
    assert_eq!(counts, [1, 4]);
}

#[tokio::test]
async fn what_was_kept_long_enough_goes() {
    let (recorder, log, clock) = recorder();
    for _ in 0..1200 {
        recorder.write_soon(entry("a", &clock));
    }
    recorder.close().await;
    clock.advance(Duration::from_hours(25));
    recorder.write(entry("b", &clock)).await;
    recorder.remove_expired().await.unwrap();
    assert_eq!(*log.entries.lock(), [entry("b", &clock)]);
}
