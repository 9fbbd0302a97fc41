//! What the audit log needs kept.

use async_trait::async_trait;
use protocol::ambient::{StorageError, Timestamp};

use crate::{
    chain::Head,
    record::{Entry, Record},
    verify::Cut,
};

/// Keeps the log. Nothing in it is ever changed, and nothing removed but the oldest records, in their order.
#[async_trait]
pub trait AuditStore: Send + Sync + 'static {
    /// Adds records to the end of the chain, all or none. They are durable when this answers with the new head.
    ///
    /// Several processes may do this at once: each finds the head that is there.
    async fn append(&self, entries: Vec<Entry>) -> Result<Head, StorageError>;

    /// Where the chain ends.
    async fn head(&self) -> Result<Head, StorageError>;

    /// The records behind that place, in their order, at most `limit`.
    async fn read(&self, after: u64, limit: usize) -> Result<Vec<Record>, StorageError>;

    /// Where the log begins, if records have expired.
    async fn cut(&self) -> Result<Option<Cut>, StorageError>;

    /// Removes the oldest records as long as they are from before that moment, at most `limit`, and notes where the log
    /// begins from then on. Answers how many were removed.
    async fn expire(&self, before: Timestamp, now: Timestamp, limit: usize) -> Result<usize, StorageError>;
}
