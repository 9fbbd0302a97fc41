//! The buckets: one number each, in shards, at most so many.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use parking_lot::Mutex;
use protocol::ambient::Timestamp;

use crate::{Limit, LimitId, RetryAfter};

/// Locks over which the buckets are spread, so that cores rarely wait for each other.
const SHARDS: usize = 64;

/// Buckets kept per shard, 262,144 in all (about 12 MB). When a shard is full, the buckets that would
/// have been full again soonest are forgotten: somebody may then do a little more than the limit says.
const BUCKETS_PER_SHARD: usize = 4096;

/// All buckets. An absent bucket is a full one.
pub(crate) struct Buckets {
    /// Two hashes of the key make its name: 128 keyed bits do not collide, take little room, and leave no
    /// phone number in memory.
    hashers: [RandomState; 2],
    shards: [Mutex<HashMap<u128, FullAt>>; SHARDS],
}

/// When the bucket will be full again, in nanoseconds since the epoch.
///
/// This one number is the bucket: what is missing from it is the time until then, divided by the interval.
/// Fractions of a permit are thereby kept, which Signal's own limiter throws away at each take.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct FullAt(u64);

impl FullAt {
    /// A bucket that is full from then on.
    fn at(moment: Timestamp) -> Self {
        Self(moment.as_millis().saturating_mul(1_000_000))
    }

    /// The bucket without so many permits, or how long to wait for them.
    fn after_taking(self, limit: Limit, amount: u64, now: Self) -> Result<Self, RetryAfter> {
        let interval = nanos(limit.interval);
        let room = interval.saturating_mul(limit.size);
        let full_at = self.max(now).0.saturating_add(interval.saturating_mul(amount));
        let owed = full_at - now.0;
        if owed > room { Err(RetryAfter(Duration::from_nanos(owed - room))) } else { Ok(Self(full_at)) }
    }
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            hashers: [RandomState::new(), RandomState::new()],
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Buckets {
    pub(crate) fn take(
        &self,
        id: LimitId,
        key: &[u8],
        limit: Limit,
        amount: u64,
        now: Timestamp,
    ) -> Result<(), RetryAfter> {
        let name = self.name(id, key);
        let mut shard = self.shard(name).lock();
        let now = FullAt::at(now);
        let full_at = shard.get(&name).copied().unwrap_or(now).after_taking(limit, amount, now)?;
        if full_at > now {
            make_room(&mut shard, now);
            shard.insert(name, full_at);
        }
        Ok(())
    }

    pub(crate) fn permits(&self, id: LimitId, key: &[u8], limit: Limit, amount: u64, now: Timestamp) -> bool {
        let name = self.name(id, key);
        let now = FullAt::at(now);
        let bucket = self.shard(name).lock().get(&name).copied().unwrap_or(now);
        bucket.after_taking(limit, amount, now).is_ok()
    }

    pub(crate) fn clear(&self, id: LimitId, key: &[u8]) {
        let name = self.name(id, key);
        self.shard(name).lock().remove(&name);
    }

    fn name(&self, id: LimitId, key: &[u8]) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|hasher| hasher.hash_one((id, key)));
        u128::from(high) << 64 | u128::from(low)
    }

    fn shard(&self, name: u128) -> &Mutex<HashMap<u128, FullAt>> {
        &self.shards[name as usize % SHARDS]
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Forgets full buckets when the shard is full; if most are in use, also the quarter nearest to full, so
/// that the next sweep is a thousand takes away.
fn make_room(shard: &mut HashMap<u128, FullAt>, now: FullAt) {
    if shard.len() < BUCKETS_PER_SHARD {
        return;
    }
    shard.retain(|_, full_at| *full_at > now);
    let surplus = shard.len().saturating_sub(BUCKETS_PER_SHARD * 3 / 4);
    if surplus > 0 {
        let mut times: Vec<FullAt> = shard.values().copied().collect();
        let (_, last_to_go, _) = times.select_nth_unstable(surplus - 1);
        let last_to_go = *last_to_go;
        shard.retain(|_, full_at| *full_at > last_to_go);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Limit = Limit { size: 3, interval: Duration::from_secs(1) };

    fn held(buckets: &Buckets) -> usize {
        buckets.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    #[test]
    fn a_flood_of_keys_does_not_grow_without_bound() {
        let buckets = Buckets::default();
        let now = Timestamp::from_millis(1_700_000_000_000);
        for key in 0..(2 * SHARDS * BUCKETS_PER_SHARD) as u64 {
            buckets.take(LimitId::Messages, &key.to_be_bytes(), LIMIT, 1, now).unwrap();
        }
        assert!(held(&buckets) <= SHARDS * BUCKETS_PER_SHARD);
    }

    #[test]
    fn the_emptiest_buckets_are_remembered_longest() {
        let mut shard = HashMap::new();
        for name in 0..BUCKETS_PER_SHARD as u128 {
            let at = u64::try_from(name).unwrap();
            shard.insert(name, FullAt(at));
        }
        make_room(&mut shard, FullAt(100));
        assert_eq!(shard.len(), BUCKETS_PER_SHARD * 3 / 4);
        assert!(shard.contains_key(&(BUCKETS_PER_SHARD as u128 - 1)));
    }

    proptest! {
        /// In no stretch of time is more granted than a full bucket and what flows in.
        #[test]
        fn never_more_than_the_limit(steps in proptest::collection::vec((0u64..3000, 1u64..4), 1..100)) {
            let buckets = Buckets::default();
            let (mut now, mut granted, start) = (1_700_000_000_000, 0, 1_700_000_000_000);
            for (millis, amount) in steps {
                now += millis;
                if buckets.take(LimitId::Pin, b"k", LIMIT, amount, Timestamp::from_millis(now)).is_ok() {
                    granted += amount;
                }
                prop_assert!(granted <= LIMIT.size + (now - start) / 1000);
            }
        }

        /// Waiting as long as told is enough.
        #[test]
        fn the_wait_is_long_enough(takes in 0usize..4, amount in 1u64..4) {
            let buckets = Buckets::default();
            let now = Timestamp::from_millis(1_700_000_000_000);
            for _ in 0..takes {
                buckets.take(LimitId::Pin, b"k", LIMIT, 1, now).ok();
            }
            if let Err(RetryAfter(wait)) = buckets.take(LimitId::Pin, b"k", LIMIT, amount, now) {
                let later = now.saturating_add(wait);
                prop_assert!(buckets.take(LimitId::Pin, b"k", LIMIT, amount, later).is_ok());
            }
        }
    }
}
