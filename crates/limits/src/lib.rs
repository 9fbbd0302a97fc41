//! Rate limits: how often somebody may do something.
//!
//! Every limit is a token bucket per key: it holds `size` permits and regains one every `interval`. The
//! buckets live in this process, so each node of a cluster limits by itself. What may be guessed has a
//! [`Backoff`] besides, whose waits grow.

mod backoff;
mod buckets;
mod known;
mod table;

use std::{fmt, sync::Arc, time::Duration};

use protocol::ambient::Clock;

pub use backoff::{Backoff, BackoffPolicy};
use buckets::Buckets;
pub use known::Known;
pub use table::{LimitId, UnknownLimit};

/// How much a bucket holds and how fast it refills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Permits in a full bucket: what may be done in one burst.
    pub size: u64,
    /// Time in which one permit comes back. Zero switches the limit off.
    pub interval: Duration,
}

/// A limit was reached; the wait after which the same request would pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

impl RetryAfter {
    /// Whole seconds for a `Retry-After` header: rounded up, and at least one, so that a client that
    /// obeys it is not refused again.
    pub fn seconds(self) -> u64 {
        self.0.as_millis().div_ceil(1000).clamp(1, u128::from(u32::MAX)).try_into().unwrap_or(u64::MAX)
    }
}

/// The limits of this process.
pub struct RateLimits {
    limits: [Limit; LimitId::ALL.len()],
    buckets: Buckets,
    clock: Arc<dyn Clock>,
}

impl RateLimits {
    /// The default limits, with some of them replaced.
    pub fn new(clock: Arc<dyn Clock>, overrides: impl IntoIterator<Item = (LimitId, Limit)>) -> Self {
        let mut limits = LimitId::ALL.map(LimitId::default_limit);
        for (id, limit) in overrides {
            limits[id as usize] = limit;
        }
        Self { limits, buckets: Buckets::default(), clock }
    }

    /// Takes `amount` permits for that key, or none of them and says how long to wait.
    ///
    /// More permits than the bucket holds are never granted.
    pub fn check(&self, id: LimitId, key: &[u8], amount: u64) -> Result<(), RetryAfter> {
        self.buckets.take(id, key, self.limits[id as usize], amount, self.clock.now())
    }

    /// Whether [`check`](Self::check) would grant that now; takes nothing.
    pub fn permits(&self, id: LimitId, key: &[u8], amount: u64) -> bool {
        self.buckets.permits(id, key, self.limits[id as usize], amount, self.clock.now())
    }

    /// Fills the bucket of that key again.
    pub fn clear(&self, id: LimitId, key: &[u8]) {
        self.buckets.clear(id, key);
    }
}

impl fmt::Debug for RateLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimits").field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use protocol::ambient::{ManualClock, Timestamp};

    use super::*;

    fn limits(size: u64, interval: Duration) -> (RateLimits, ManualClock) {
        let clock = ManualClock::new(Timestamp::from_millis(1_700_000_000_000));
        let limits =
            RateLimits::new(Arc::new(clock.clone()), [(LimitId::Registration, Limit { size, interval })]);
        (limits, clock)
    }

    #[test]
    fn a_bucket_empties_and_refills_one_permit_per_interval() {
        let (limits, clock) = limits(2, Duration::from_secs(30));
        let take = || limits.check(LimitId::Registration, b"a", 1);
        assert_eq!((take(), take()), (Ok(()), Ok(())));
        assert_eq!(take(), Err(RetryAfter(Duration::from_secs(30))));
        clock.advance(Duration::from_secs(29));
        assert_eq!(take(), Err(RetryAfter(Duration::from_secs(1))));
        clock.advance(Duration::from_secs(1));
        assert_eq!(take(), Ok(()));
        assert!(take().is_err());
        clock.advance(Duration::from_hours(1));
        assert_eq!((take(), take()), (Ok(()), Ok(())));
        assert!(take().is_err(), "a bucket does not hold more than its size");
    }

    #[test]
    fn keys_and_limits_have_buckets_of_their_own() {
        let (limits, _) = limits(1, Duration::from_secs(30));
        assert!(limits.check(LimitId::Registration, b"a", 1).is_ok());
        assert!(limits.check(LimitId::Registration, b"b", 1).is_ok());
        assert!(limits.check(LimitId::Pin, b"a", 1).is_ok());
        assert!(limits.check(LimitId::Registration, b"a", 1).is_err());
        assert!(!limits.permits(LimitId::Registration, b"a", 1));
        limits.clear(LimitId::Registration, b"a");
        assert!(limits.permits(LimitId::Registration, b"a", 1), "asking takes nothing");
        assert!(!limits.permits(LimitId::Registration, b"a", 2));
        assert!(limits.check(LimitId::Registration, b"a", 1).is_ok());
        assert!(limits.check(LimitId::Registration, b"b", 1).is_err());
    }

    #[test]
    fn an_amount_is_granted_whole_or_not_at_all() {
        let (limits, clock) = limits(1000, Duration::from_micros(500));
        assert!(limits.check(LimitId::Registration, b"a", 900).is_ok());
        assert_eq!(
            limits.check(LimitId::Registration, b"a", 200),
            Err(RetryAfter(Duration::from_millis(50)))
        );
        assert!(limits.check(LimitId::Registration, b"a", 100).is_ok());
        clock.advance(Duration::from_secs(10));
        assert!(limits.check(LimitId::Registration, b"a", 1001).is_err());
    }

    #[test]
    fn an_interval_of_zero_switches_a_limit_off() {
        let (limits, _) = limits(1, Duration::ZERO);
        assert!((0..100).all(|_| limits.check(LimitId::Registration, b"a", 1).is_ok()));
    }

    #[test]
    fn the_header_value_is_rounded_up_and_positive() {
        let seconds = |millis| RetryAfter(Duration::from_millis(millis)).seconds();
        assert_eq!((seconds(0), seconds(1), seconds(1000), seconds(1001)), (1, 1, 1, 2));
        assert_eq!(RetryAfter(Duration::MAX).seconds(), u64::from(u32::MAX));
    }
}
