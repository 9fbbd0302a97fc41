//! Remembering, for a while and in bounded memory, that something has been seen.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
};

use parking_lot::Mutex;
use protocol::ambient::Timestamp;

/// Keys remembered, about 3 MB. Beyond it those seen longest ago are forgotten.
const KEYS_MAX: usize = 65_536;

/// Keys that have been seen. Their names are kept as keyed hashes.
#[derive(Default)]
pub struct Known {
    hashers: [RandomState; 2],
    keys: Mutex<HashMap<u128, Timestamp>>,
}

impl Known {
    /// Remembers the key as seen now.
    pub fn remember(&self, key: impl Hash, now: Timestamp) {
        let name = self.name(key);
        let mut keys = self.keys.lock();
        if keys.len() >= KEYS_MAX && !keys.contains_key(&name) {
            let mut times: Vec<_> = keys.values().copied().collect();
            let (_, last_to_go, _) = times.select_nth_unstable(KEYS_MAX / 4);
            let last_to_go = *last_to_go;
            keys.retain(|_, seen| *seen > last_to_go);
        }
        keys.insert(name, now);
    }

    /// Whether the key has been seen and not been forgotten.
    pub fn contains(&self, key: impl Hash) -> bool {
        self.keys.lock().contains_key(&self.name(key))
    }

    fn name(&self, key: impl Hash) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|hasher| hasher.hash_one(&key));
        u128::from(high) << 64 | u128::from(low)
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_last_is_remembered_longest() {
        let known = Known::default();
        for key in 0..2 * KEYS_MAX {
            known.remember(key, Timestamp::from_millis(key as u64));
        }
        assert!(known.keys.lock().len() <= KEYS_MAX);
        assert!(known.contains(2 * KEYS_MAX - 1) && !known.contains(0_usize) && !known.contains("other"));
    }
}
