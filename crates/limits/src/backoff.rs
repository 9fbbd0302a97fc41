//! Waiting longer after every failure: for what may be guessed.
//!
//! An attempt counts as a failure from its beginning, so that many at once win nothing, and is taken back when
//! it turns out right.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use protocol::ambient::{Clock, Timestamp};

use crate::RetryAfter;

/// Keys remembered, about 5 MB. Beyond it those that failed longest ago are forgotten first.
const KEYS_MAX: usize = 65_536;

/// How the wait grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffPolicy {
    /// Failures without a wait.
    pub free: u32,
    /// The wait after the first failure beyond those; it doubles with each that follows.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// A key that has not failed for so long starts anew.
    pub forget: Duration,
}

impl BackoffPolicy {
    /// How long to wait after that many failures in a row.
    pub fn wait_after(&self, failures: u32) -> Duration {
        let beyond = failures.saturating_sub(self.free);
        if beyond == 0 {
            return Duration::ZERO;
        }
        let factor = 1_u32.checked_shl(beyond - 1).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }
}

/// Failures by key.
pub struct Backoff {
    policy: BackoffPolicy,
    clock: Arc<dyn Clock>,
    hashers: [RandomState; 2],
    keys: Mutex<HashMap<u128, Failures>>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Timestamp,
}

impl Backoff {
    /// Nobody has failed yet.
    pub fn new(policy: BackoffPolicy, clock: Arc<dyn Clock>) -> Self {
        let hashers = [RandomState::new(), RandomState::new()];
        Self { policy, clock, hashers, keys: Mutex::default() }
    }

    /// Begins an attempt, which counts as failed until [`right`](Self::right) is said of it; or says how long
    /// to wait, and counts nothing.
    pub fn attempt(&self, key: impl Hash) -> Result<(), RetryAfter> {
        let (name, now) = (self.name(key), self.clock.now());
        let mut keys = self.keys.lock();
        let before = self.failures(&keys, name, now);
        if let Some(Failures { count, last }) = before {
            let wait = self.policy.wait_after(count).saturating_sub(now.saturating_since(last));
            if !wait.is_zero() {
                return Err(RetryAfter(wait));
            }
        }
        make_room(&mut keys);
        let count = before.map_or(0, |before| before.count).saturating_add(1);
        keys.insert(name, Failures { count, last: now });
        Ok(())
    }

    /// How long an attempt would have to wait now; zero if it would not.
    pub fn wait(&self, key: impl Hash) -> Duration {
        let (name, now) = (self.name(key), self.clock.now());
        self.failures(&self.keys.lock(), name, now).map_or(Duration::ZERO, |before| {
            self.policy.wait_after(before.count).saturating_sub(now.saturating_since(before.last))
        })
    }

    /// An attempt was right: the key starts anew.
    pub fn right(&self, key: impl Hash) {
        self.keys.lock().remove(&self.name(key));
    }

    /// An attempt came to nothing, neither right nor wrong: it does not count.
    pub fn void(&self, key: impl Hash) {
        if let Some(failures) = self.keys.lock().get_mut(&self.name(key)) {
            failures.count = failures.count.saturating_sub(1);
        }
    }

    fn failures(&self, keys: &HashMap<u128, Failures>, name: u128, now: Timestamp) -> Option<Failures> {
        keys.get(&name).copied().filter(|failures| now.saturating_since(failures.last) < self.policy.forget)
    }

    /// Two keyed hashes: they do not collide, and leave no name in memory.
    fn name(&self, key: impl Hash) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|hasher| hasher.hash_one(&key));
        u128::from(high) << 64 | u128::from(low)
    }
}

/// When there are too many keys, the quarter of them that failed longest ago is forgotten.
fn make_room(keys: &mut HashMap<u128, Failures>) {
    if keys.len() < KEYS_MAX {
        return;
    }
    let mut times: Vec<_> = keys.values().map(|failures| failures.last).collect();
    let (_, last_to_go, _) = times.select_nth_unstable(KEYS_MAX / 4);
    let last_to_go = *last_to_go;
    keys.retain(|_, failures| failures.last > last_to_go);
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff").field("policy", &self.policy).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::ambient::ManualClock;

    use super::*;

    const POLICY: BackoffPolicy = BackoffPolicy {
        free: 3,
        first: Duration::from_secs(1),
        longest: Duration::from_mins(1),
        forget: Duration::from_hours(1),
    };

    fn backoff() -> (Backoff, ManualClock) {
        let clock = ManualClock::new(Timestamp::from_millis(1_700_000_000_000));
        (Backoff::new(POLICY, Arc::new(clock.clone())), clock)
    }

    #[test]
    fn the_wait_doubles_up_to_the_longest_and_ends_with_success() {
        let (backoff, clock) = backoff();
        for _ in 0..4 {
            backoff.attempt("a").unwrap();
        }
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let RetryAfter(wait) = backoff.attempt("a").unwrap_err();
            assert_eq!(wait.as_secs(), expected);
            assert_eq!(backoff.wait("a"), wait);
            clock.advance(wait);
            backoff.attempt("a").unwrap();
        }
        backoff.attempt("b").unwrap();
        backoff.right("a");
        backoff.attempt("a").unwrap();
    }

    #[test]
    fn what_was_neither_right_nor_wrong_does_not_count() {
        let (backoff, _) = backoff();
        for _ in 0..10 {
            backoff.attempt("a").unwrap();
            backoff.void("a");
        }
    }

    #[test]
    fn failures_are_forgotten_after_a_while() {
        let (backoff, clock) = backoff();
        for _ in 0..4 {
            backoff.attempt("a").unwrap();
        }
        clock.advance(POLICY.forget);
        assert_eq!(backoff.wait("a"), Duration::ZERO);
        for _ in 0..4 {
            backoff.attempt("a").unwrap();
        }
        assert!(backoff.attempt("a").is_err());
    }

    #[test]
    fn a_flood_of_keys_does_not_grow_without_bound() {
        let (backoff, clock) = backoff();
        for key in 0..2 * KEYS_MAX {
            clock.advance(Duration::from_millis(1));
            backoff.attempt(key).unwrap();
        }
        assert!(backoff.keys.lock().len() <= KEYS_MAX);
    }

    proptest! {
        /// However attempts are spaced, no more are let in than the waits leave room for, and waiting as long as
        /// told is enough.
        #[test]
        fn guesses_are_bounded(pauses in proptest::collection::vec(0u64..100_000, 1..200)) {
            let (backoff, clock) = backoff();
            let (mut granted, mut needed) = (0u32, Duration::ZERO);
            let start = clock.now();
            for pause in pauses {
                clock.advance(Duration::from_millis(pause));
                match backoff.attempt("a") {
                    Ok(()) => {
                        needed += POLICY.wait_after(granted);
                        granted += 1;
                    }
                    Err(RetryAfter(wait)) => {
                        clock.advance(wait);
                        prop_assert!(backoff.attempt("a").is_ok());
                        needed += POLICY.wait_after(granted);
                        granted += 1;
                    }
                }
                prop_assert!(clock.now().saturating_since(start) >= needed);
            }
        }
    }
}
