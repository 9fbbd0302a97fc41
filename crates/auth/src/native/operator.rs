//! What an operator does about sessions, by a command beside a server that may be running.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use protocol::{
    Aci, DeviceAddress,
    ambient::{Clock, StorageError, Timestamp},
};

use super::{Username, session::SessionInfo};
use crate::{
    audit::{Action, AuditTrail, Detail, Party},
    revocation::Revocations,
};

/// How often a running server looks whether a command has ended sessions.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Sessions that are ended, or devices that are taken, in one transaction: others who write wait no longer than that.
const BATCH: usize = 1000;

/// Remembers sessions, for commands. Another process may be serving them.
#[async_trait]
pub trait OperatedSessions: Send + Sync + 'static {
    /// The account that logs in by that name.
    async fn account_named(&self, username: &Username) -> Result<Option<Aci>, StorageError>;

    /// The sessions of an account that are not over, the longest first.
    async fn sessions_of(&self, aci: Aci, now: Timestamp) -> Result<Vec<SessionInfo>, StorageError>;

    /// Ends up to so many sessions that were opened until `until`, of that account or of everybody, and records in the same
    /// transaction that the connections of their devices are to be closed. Answers how many.
    async fn end_sessions_of(
        &self,
        whose: Option<Aci>,
        until: Timestamp,
        limit: usize,
    ) -> Result<usize, StorageError>;

    /// Takes up to so many devices whose connections are to be closed. Those that have logged in again since are left out:
    /// logging in has closed what was open.
    async fn take_logged_out(&self, limit: usize) -> Result<Vec<DeviceAddress>, StorageError>;
}

/// Sees and ends sessions in the operator's name.
pub struct SessionOperator {
    store: Arc<dyn OperatedSessions>,
    audit: Arc<dyn AuditTrail>,
    clock: Arc<dyn Clock>,
}

impl SessionOperator {
    /// Over that store.
    pub fn new(store: Arc<dyn OperatedSessions>, audit: Arc<dyn AuditTrail>, clock: Arc<dyn Clock>) -> Self {
        Self { store, audit, clock }
    }

    /// The account that logs in by that name.
    pub async fn account_named(&self, username: &Username) -> Result<Option<Aci>, StorageError> {
        self.store.account_named(username).await
    }

    /// The sessions of an account.
    pub async fn sessions(&self, aci: Aci) -> Result<Vec<SessionInfo>, StorageError> {
        self.store.sessions_of(aci, self.clock.now()).await
    }

    /// Ends every session there is of that account, or of everybody. Answers how many. A running server closes their
    /// connections after [`LOOK_INTERVAL`] at most.
    pub async fn end(&self, whose: Option<Aci>) -> Result<usize, StorageError> {
        self.audit.ready()?;
        // Whoever logs in meanwhile stays: there is an end to it.
        let until = self.clock.now();
        let mut ended = 0;
        let outcome = loop {
            match self.store.end_sessions_of(whose, until, BATCH).await {
                Ok(0) => break Ok(ended),
                Ok(some) => ended += some,
                Err(error) => break Err(error),
            }
        };
        // Also of what an error has interrupted.
        if ended > 0 {
            let event = Action::RevokeSession.by(Party::Operator).detail(Detail::All);
            self.audit.record(if let Some(aci) = whose { event.on(aci) } else { event }).await;
        }
        outcome
    }
}

/// Closes the connections of devices that an operator has logged out.
pub struct LoggedOut {
    store: Arc<dyn OperatedSessions>,
    revocations: Revocations,
}

impl LoggedOut {
    /// Of that store's devices.
    pub fn new(store: Arc<dyn OperatedSessions>, revocations: Revocations) -> Self {
        Self { store, revocations }
    }

    /// Closes the connections of those who were logged out since the last time. For calling every [`LOOK_INTERVAL`].
    pub async fn disconnect(&self) -> Result<(), StorageError> {
        loop {
            let devices = self.store.take_logged_out(BATCH).await?;
            if devices.is_empty() {
                return Ok(());
            }
            for device in devices {
                self.revocations.session_ended(device);
            }
        }
    }
}

impl fmt::Debug for SessionOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionOperator").finish_non_exhaustive()
    }
}

impl fmt::Debug for LoggedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedOut").finish_non_exhaustive()
    }
}
