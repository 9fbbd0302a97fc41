//! redb, a copy-on-write tree.

use std::path::Path;

use redb::{Database, Durability, ReadableDatabase as _, TableDefinition, WriteTransaction};

use crate::engine::{Device, Engine, Key, Message, key, position};

const QUEUE: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("queue");

/// As much as fjall takes. redb's own default is 1 GiB.
const CACHE_LEN: usize = 32 * 1024 * 1024;

pub(crate) struct Redb {
    database: Database,
}

impl Redb {
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let database = Database::builder().set_cache_size(CACHE_LEN).create(folder.join("queue.redb"))?;
        let redb = Self { database };
        let made = redb.begin()?;
        made.open_table(QUEUE)?;
        made.commit()?;
        Ok(redb)
    }

    /// A transaction that is synced when its commit returns.
    fn begin(&self) -> anyhow::Result<WriteTransaction> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        Ok(transaction)
    }
}

impl Engine for Redb {
    fn append(&mut self, batch: &[Message]) -> anyhow::Result<()> {
        let transaction = self.begin()?;
        let mut queue = transaction.open_table(QUEUE)?;
        for message in batch {
            queue.insert(key(message.device, message.position), message.value.as_slice())?;
        }
        drop(queue);
        Ok(transaction.commit()?)
    }

    fn read(&mut self, device: Device, after: u64, limit: usize) -> anyhow::Result<Vec<Message>> {
        let queue = self.database.begin_read()?.open_table(QUEUE)?;
        let range = key(device, after.saturating_add(1))..=key(device, u64::MAX);
        let found = queue.range(range)?.take(limit).map(|found| {
            let (key, value) = found?;
            Ok(Message { device, position: position(&key.value())?, value: value.value().to_vec() })
        });
        found.collect()
    }

    fn delete(&mut self, batch: &[Message]) -> anyhow::Result<()> {
        let transaction = self.begin()?;
        let mut queue = transaction.open_table(QUEUE)?;
        for message in batch {
            queue.remove(key(message.device, message.position))?;
        }
        drop(queue);
        Ok(transaction.commit()?)
    }
}
