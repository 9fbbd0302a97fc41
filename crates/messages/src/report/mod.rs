//! Reports of spam: which accounts recipients complain about.
//!
//! A report counts if it brings the token that came with the message, see [`ReportTokens`]. Who reported is
//! told to nobody, the operator included.

mod token;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use protocol::{
    Aci,
    ambient::{Clock, StorageError, Timestamp},
};

use crate::metrics::MessageMetrics;

pub use token::{ReportTokens, ReportedMessage, TOKEN_LIFE};

/// How long a report counts.
pub const REPORT_LIFE: Duration = Duration::from_hours(30 * 24);

/// Reports remembered, some 100 bytes each. Beyond it the oldest are forgotten.
pub const REPORTS_MAX: u32 = 100_000;

/// A report that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was reported, and by whom: its recipient.
    pub message: ReportedMessage,
    /// When it was reported.
    pub at: Timestamp,
}

/// The reports about one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportedSource {
    /// The account.
    pub source: Aci,
    /// How many of its messages were reported.
    pub reports: u64,
    /// When the first of them was.
    pub first: Timestamp,
    /// When the last of them was.
    pub last: Timestamp,
}

/// Remembers reports, but not who made them.
#[async_trait]
pub trait ReportStore: Send + Sync + 'static {
    /// Remembers a report; says whether it is new. A recipient's report of a message counts once. When there
    /// are more than `max`, the oldest are forgotten.
    async fn insert(&self, report: Report, max: u32) -> Result<bool, StorageError>;

    /// All accounts that were reported, the most reported first.
    async fn sources(&self) -> Result<Vec<ReportedSource>, StorageError>;

    /// Forgets reports made before that moment; says how many.
    async fn remove_before(&self, moment: Timestamp) -> Result<usize, StorageError>;
}

/// Takes reports.
#[derive(Clone)]
pub struct ReportService {
    tokens: ReportTokens,
    store: Arc<dyn ReportStore>,
    metrics: MessageMetrics,
    clock: Arc<dyn Clock>,
}

impl ReportService {
    /// The service that remembers reports there.
    pub fn new(
        tokens: ReportTokens,
        store: Arc<dyn ReportStore>,
        metrics: MessageMetrics,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { tokens, store, metrics, clock }
    }

    /// The recipient of a message reports it. Whether that counts is nothing the caller should learn.
    pub async fn report(&self, message: ReportedMessage, token: &[u8]) -> Result<(), StorageError> {
        let at = self.clock.now();
        if !self.tokens.accepts(token, &message, at) {
            self.metrics.reports_refused.inc();
            return Ok(());
        }
        if self.store.insert(Report { message, at }, REPORTS_MAX).await? {
            self.metrics.reports.inc();
        }
        Ok(())
    }

    /// Forgets what is older than [`REPORT_LIFE`].
    pub async fn remove_expired(&self) -> Result<usize, StorageError> {
        let life = u64::try_from(REPORT_LIFE.as_millis()).unwrap_or(u64::MAX);
        let moment = Timestamp::from_millis(self.clock.now().as_millis().saturating_sub(life));
        self.store.remove_before(moment).await
    }
}
