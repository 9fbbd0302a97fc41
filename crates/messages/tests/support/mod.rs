//! A store in memory that does as it is told, and a queue on it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses its part, and a test fails by panicking"
)]

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use messages::{
    Append, Batch, MessageMetrics, MessageQueue, Page, Position, QueueConfig, QueueParts, QueueStore,
    QueuedEnvelope, SharedBody, StoredEnvelope, Volume, WakeUps,
};
use parking_lot::Mutex;
use protocol::{
    Aci, DeviceAddress, DeviceId,
    ambient::{ManualClock, StorageError, Timestamp},
};
use tokio::sync::watch;
use uuid::Uuid;

type Rows = BTreeMap<(DeviceAddress, Position), QueuedEnvelope>;

/// Remembers until the test ends; a clone remembers the same.
#[derive(Clone, Default)]
pub(crate) struct TestStore(Arc<Inner>);

#[derive(Default)]
struct Inner {
    rows: Mutex<Rows>,
    commits: Mutex<usize>,
    counts: Mutex<usize>,
    failing: Mutex<bool>,
    held: watch::Sender<bool>,
}

impl TestStore {
    pub(crate) fn commits(&self) -> usize {
        *self.0.commits.lock()
    }

    /// How often an account's volume was asked for.
    pub(crate) fn counts(&self) -> usize {
        *self.0.counts.lock()
    }

    pub(crate) fn stored(&self, device: DeviceAddress) -> usize {
        self.0.rows.lock().keys().filter(|(owner, _)| *owner == device).count()
    }

    /// What the envelopes of a device say.
    pub(crate) fn labels(&self, device: DeviceAddress) -> Vec<u32> {
        let rows = self.0.rows.lock();
        rows.iter().filter(|((owner, _), _)| *owner == device).map(|(_, envelope)| number(envelope)).collect()
    }

    /// Another store that holds the same now.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::default();
        copy.0.rows.lock().clone_from(&self.0.rows.lock());
        copy
    }

    pub(crate) fn fail(&self, failing: bool) {
        *self.0.failing.lock() = failing;
    }

    pub(crate) fn hold(&self) {
        self.0.held.send_replace(true);
    }

    pub(crate) fn release(&self) {
        self.0.held.send_replace(false);
    }
}

#[async_trait]
impl QueueStore for TestStore {
    async fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        let _ = self.0.held.subscribe().wait_for(|held| !held).await;
        if *self.0.failing.lock() {
            return Err(StorageError::unavailable("on purpose"));
        }
        let mut rows = self.0.rows.lock();
        for Append { device, position, envelope: QueuedEnvelope { head, shared } } in batch.appends {
            // As it will be read back: a store keeps no part of the queue's memory alive.
            let shared = shared.map(|body| SharedBody::stored(body.id, body.bytes));
            assert!(rows.insert((device, position), QueuedEnvelope { head, shared }).is_none());
        }
        for row in batch.deletes {
            rows.remove(&row);
        }
        *self.0.commits.lock() += 1;
        Ok(())
    }

    async fn read(
        &self,
        device: DeviceAddress,
        after: Position,
        messages: usize,
        _bytes: usize,
    ) -> Result<Page, StorageError> {
        // A real store answers later than it is asked.
        tokio::task::yield_now().await;
        let rows = self.0.rows.lock();
        let mut rows = rows.range((device, Position(after.0 + 1))..=(device, Position(u64::MAX))).map(
            |((_, position), envelope)| StoredEnvelope { position: *position, envelope: envelope.clone() },
        );
        let envelopes = rows.by_ref().take(messages).collect();
        Ok(Page { envelopes, more: rows.next().is_some() })
    }

    async fn clear(&self, aci: Aci, device: Option<DeviceId>, up_to: Position) -> Result<(), StorageError> {
        self.0.rows.lock().retain(|(owner, position), _| {
            owner.aci != aci || device.is_some_and(|device| device != owner.device_id) || *position > up_to
        });
        Ok(())
    }

    async fn expire(&self, up_to: Position, limit: usize) -> Result<Volume, StorageError> {
        let mut rows = self.0.rows.lock();
        let mut old: Vec<_> = rows.keys().copied().filter(|(_, position)| *position <= up_to).collect();
        old.sort_by_key(|(_, position)| *position);
        let mut expired = Volume::default();
        for row in old.into_iter().take(limit) {
            let bytes = rows.remove(&row).map_or(0, |envelope| envelope.len());
            expired = Volume { envelopes: expired.envelopes + 1, bytes: expired.bytes + bytes as u64 };
        }
        Ok(expired)
    }

    async fn volume(&self, aci: Aci) -> Result<Volume, StorageError> {
        *self.0.counts.lock() += 1;
        let rows = self.0.rows.lock();
        let own = rows.iter().filter(|((owner, _), _)| owner.aci == aci);
        Ok(own.fold(Volume::default(), |sum, (_, envelope)| Volume {
            envelopes: sum.envelopes + 1,
            bytes: sum.bytes + envelope.len() as u64,
        }))
    }

    async fn last_position(&self) -> Result<Position, StorageError> {
        Ok(self.0.rows.lock().keys().map(|(_, position)| *position).max().unwrap_or_default())
    }
}

pub(crate) fn device(account: u128) -> DeviceAddress {
    DeviceAddress { aci: Aci(Uuid::from_u128(account)), device_id: DeviceId::PRIMARY }
}

/// An envelope that says which one it is.
pub(crate) fn label(number: u32) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// Which one an envelope is, whether its end is shared or not.
pub(crate) fn number(envelope: &QueuedEnvelope) -> u32 {
    u32::from_be_bytes(envelope.to_bytes()[..].try_into().unwrap())
}

pub(crate) fn start() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

pub(crate) fn later() -> Timestamp {
    Timestamp::from_millis(1_700_000_001_000)
}

pub(crate) async fn open() -> (MessageQueue, TestStore) {
    open_with(TestStore::default(), QueueConfig::default()).await
}

/// The queue with its committer running.
pub(crate) async fn open_with(store: TestStore, config: QueueConfig) -> (MessageQueue, TestStore) {
    let queue = open_at(&store, config, ManualClock::new(start())).await;
    (queue, store)
}

/// The same, by that clock.
pub(crate) async fn open_at(store: &TestStore, config: QueueConfig, clock: ManualClock) -> MessageQueue {
    open_waking(store, config, clock, None).await
}

/// The same, telling of devices that are away.
pub(crate) async fn open_waking(
    store: &TestStore,
    config: QueueConfig,
    clock: ManualClock,
    wake_ups: Option<WakeUps>,
) -> MessageQueue {
    let parts = QueueParts {
        store: Arc::new(store.clone()),
        clock: Arc::new(clock),
        config,
        metrics: MessageMetrics::default(),
        wake_ups,
    };
    let queue = MessageQueue::open(parts).await.unwrap();
    let committer = queue.clone();
    tokio::spawn(async move { committer.run_committer().await });
    queue
}
