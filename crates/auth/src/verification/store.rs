//! What verification needs remembered.

use async_trait::async_trait;
use protocol::ambient::{StorageError, Timestamp};

use super::{Session, SessionId};

/// Remembers verification sessions, also over a restart in the middle of a registration. The id and the
/// content of a session are secrets.
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// Keeps a new session. The id must be fresh.
    async fn insert(&self, id: &SessionId, session: Session) -> Result<(), StorageError>;

    /// The session, unless it has expired.
    async fn load(&self, id: &SessionId, now: Timestamp) -> Result<Option<StoredSession>, StorageError>;

    /// Replaces the session if it still has that version, and answers whether it had.
    async fn replace(&self, id: &SessionId, version: u64, session: Session) -> Result<bool, StorageError>;

    /// Forgets sessions that have expired, and says how many there were.
    async fn remove_expired(&self, now: Timestamp) -> Result<usize, StorageError>;
}

/// A session as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// Its state.
    pub session: Session,
    /// Differs after every replacement.
    pub version: u64,
}
