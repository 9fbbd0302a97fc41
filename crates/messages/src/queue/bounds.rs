//! Holding accounts to what their queues may hold, without asking the store for every message.
//!
//! What an account's queues hold is counted by the store; between two counts, what was appended is added and
//! nothing subtracted. So the sum is never too low, and only when it passes the bound is the store asked
//! again. An account that has not been counted since the start may receive a few envelopes before it is.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use protocol::Aci;
use quick_cache::sync::Cache;
use tokio::time::Instant;

use super::QueueError;
use crate::store::{QueueStore, Volume};

/// Accounts whose sums are kept. Others start anew.
const ACCOUNTS_MAX: usize = 65_536;

/// What an account that was not counted yet may receive, unless its bound is lower than eight times that.
const UNCOUNTED: Volume = Volume { envelopes: 64, bytes: 8 * 1024 * 1024 };

/// How long a count that found no room stands. Counting costs, and a stranger must not make it happen for
/// every message.
const FULL_FOR: Duration = Duration::from_secs(1);

/// The sums of all accounts.
pub(super) struct Bounds {
    account_max: Volume,
    accounts: Cache<Aci, Arc<Mutex<Sum>>>,
}

/// What an account's queues hold at most.
#[derive(Debug, Default)]
struct Sum {
    counted: Option<Volume>,
    appended: Volume,
    full_until: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Admitted,
    Full,
    Count,
}

impl Bounds {
    pub(super) fn new(account_max: Volume) -> Self {
        Self { account_max, accounts: Cache::new(ACCOUNTS_MAX) }
    }

    pub(super) async fn admit(
        &self,
        store: &dyn QueueStore,
        account: Aci,
        more: Volume,
    ) -> Result<(), QueueError> {
        let sum = self.sum(account);
        let mut verdict = sum.lock().admit(more, self.account_max, Instant::now());
        if verdict == Verdict::Count {
            let counted = store.volume(account).await?;
            verdict = sum.lock().recount(counted, more, self.account_max, Instant::now());
        }
        if verdict == Verdict::Admitted { Ok(()) } else { Err(QueueError::Full) }
    }

    fn sum(&self, account: Aci) -> Arc<Mutex<Sum>> {
        if let Some(sum) = self.accounts.get(&account) {
            return sum;
        }
        let sum = Arc::<Mutex<Sum>>::default();
        self.accounts.insert(account, Arc::clone(&sum));
        sum
    }
}

impl Sum {
    fn admit(&mut self, more: Volume, max: Volume, now: Instant) -> Verdict {
        if self.full_until.is_some_and(|until| now < until) {
            return Verdict::Full;
        }
        let (counted, max) = match self.counted {
            Some(counted) => (counted, max),
            None => (Volume::default(), uncounted(max)),
        };
        let after = sum(sum(counted, self.appended), more);
        if !fits(after, max) {
            return Verdict::Count;
        }
        self.appended = sum(self.appended, more);
        Verdict::Admitted
    }

    /// Starts anew from what the store has counted.
    fn recount(&mut self, counted: Volume, more: Volume, max: Volume, now: Instant) -> Verdict {
        if !fits(sum(counted, more), max) {
            self.full_until = Some(now + FULL_FOR);
            return Verdict::Full;
        }
        *self = Self { counted: Some(counted), appended: more, full_until: None };
        Verdict::Admitted
    }
}

fn uncounted(max: Volume) -> Volume {
    Volume {
        envelopes: UNCOUNTED.envelopes.min(max.envelopes / 8),
        bytes: UNCOUNTED.bytes.min(max.bytes / 8),
    }
}

fn sum(a: Volume, b: Volume) -> Volume {
    Volume { envelopes: a.envelopes.saturating_add(b.envelopes), bytes: a.bytes.saturating_add(b.bytes) }
}

fn fits(volume: Volume, max: Volume) -> bool {
    volume.envelopes <= max.envelopes && volume.bytes <= max.bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Volume = Volume { envelopes: 80, bytes: 8_000 };
    const ONE: Volume = Volume { envelopes: 1, bytes: 100 };

    fn stored(envelopes: u64) -> Volume {
        Volume { envelopes, bytes: 100 * envelopes }
    }

    #[test]
    fn the_store_is_asked_after_a_few_and_then_only_at_the_bound() {
        let (mut sum, now) = (Sum::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(sum.admit(ONE, MAX, now), Verdict::Admitted);
        }
        assert_eq!(sum.admit(ONE, MAX, now), Verdict::Count);
        assert_eq!(sum.recount(stored(10), ONE, MAX, now), Verdict::Admitted);
        for _ in 0..69 {
            assert_eq!(sum.admit(ONE, MAX, now), Verdict::Admitted);
        }
        assert_eq!(sum.admit(ONE, MAX, now), Verdict::Count, "80 may be there");
        assert_eq!(sum.recount(stored(5), ONE, MAX, now), Verdict::Admitted, "most were acknowledged");
    }

    #[test]
    fn a_full_account_is_counted_once_a_second() {
        let (mut sum, now) = (Sum::default(), Instant::now());
        assert_eq!(sum.recount(stored(80), ONE, MAX, now), Verdict::Full);
        assert_eq!(sum.admit(ONE, MAX, now), Verdict::Full);
        assert_eq!(sum.recount(stored(80), ONE, MAX, now), Verdict::Full);
        let later = now + FULL_FOR;
        sum.appended = stored(80);
        assert_eq!(sum.admit(ONE, MAX, later), Verdict::Count);
        assert_eq!(sum.recount(stored(79), ONE, MAX, later), Verdict::Admitted);
    }

    #[test]
    fn bytes_count_as_well() {
        let (mut sum, now) = (Sum::default(), Instant::now());
        let large = Volume { envelopes: 1, bytes: 8_001 };
        assert_eq!(sum.admit(large, MAX, now), Verdict::Count);
        assert_eq!(sum.recount(Volume::default(), large, MAX, now), Verdict::Full);
    }
}
