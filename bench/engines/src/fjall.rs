//! fjall, a log-structured tree: its defaults, which are compression and 32 MiB of cache.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use crate::engine::{Device, Engine, Message, key, position};

pub(crate) struct Fjall {
    database: Database,
    queue: Keyspace,
}

impl Fjall {
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let database = Database::builder(folder).open()?;
        let queue = database.keyspace("queue", KeyspaceCreateOptions::default)?;
        Ok(Self { database, queue })
    }

    /// A batch that is synced when its commit returns.
    fn batch(&self) -> OwnedWriteBatch {
        self.database.batch().durability(Some(PersistMode::SyncAll))
    }
}

impl Engine for Fjall {
    fn append(&mut self, batch: &[Message]) -> anyhow::Result<()> {
        let mut writes = self.batch();
        for message in batch {
            writes.insert(&self.queue, key(message.device, message.position), message.value.as_slice());
        }
        Ok(writes.commit()?)
    }

    fn read(&mut self, device: Device, after: u64, limit: usize) -> anyhow::Result<Vec<Message>> {
        let range = key(device, after.saturating_add(1))..=key(device, u64::MAX);
        let found = self.queue.range(range).take(limit).map(|found| {
            let (key, value) = found.into_inner()?;
            Ok(Message { device, position: position(&key)?, value: value.to_vec() })
        });
        found.collect()
    }

    fn delete(&mut self, batch: &[Message]) -> anyhow::Result<()> {
        let mut writes = self.batch();
        for message in batch {
            writes.remove(&self.queue, key(message.device, message.position));
        }
        Ok(writes.commit()?)
    }
}
