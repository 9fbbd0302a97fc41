//! What somebody has been asked and has not answered yet: one thing each, for a while, and at most so many.

use std::{collections::HashMap, hash::Hash, time::Duration};

use parking_lot::Mutex;
use protocol::ambient::Timestamp;

/// Questions remembered at once. Beyond that those whose time ends soonest are forgotten: their answers are
/// refused, and people are asked anew.
const ENTRIES_MAX: usize = 65_536;

/// One `T` per key, such as an account. It lives in this process; after a restart people are asked anew.
pub(crate) struct Pending<K, T> {
    lifetime: Duration,
    entries: Mutex<HashMap<K, Entry<T>>>,
}

struct Entry<T> {
    value: T,
    /// The last moment at which it may be answered.
    until: Timestamp,
}

/// What somebody is asked now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked<T> {
    /// Since this call.
    Anew(T),
    /// Still, since an earlier one.
    Before(T),
}

impl<K: Copy + Eq + Hash + Ord, T: Clone> Pending<K, T> {
    /// Remembers each for that long.
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { lifetime, entries: Mutex::default() }
    }

    /// What is asked under that key, which is made up if it is nothing.
    pub(crate) fn ask(&self, key: K, now: Timestamp, make: impl FnOnce() -> T) -> Asked<T> {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get(&key).filter(|entry| now <= entry.until) {
            return Asked::Before(entry.value.clone());
        }
        make_room(&mut entries, now);
        let value = make();
        entries.insert(key, Entry { value: value.clone(), until: now.saturating_add(self.lifetime) });
        Asked::Anew(value)
    }

    /// What is asked under that key, if anything.
    pub(crate) fn get(&self, key: K, now: Timestamp) -> Option<T> {
        let entries = self.entries.lock();
        entries.get(&key).filter(|entry| now <= entry.until).map(|entry| entry.value.clone())
    }

    /// What is asked under that key, if anything; from now on nothing.
    pub(crate) fn take(&self, key: K, now: Timestamp) -> Option<T> {
        self.entries.lock().remove(&key).filter(|entry| now <= entry.until).map(|entry| entry.value)
    }

    /// Asks that under that key until that moment, in the place of what was asked before.
    pub(crate) fn put(&self, key: K, value: T, until: Timestamp, now: Timestamp) {
        let mut entries = self.entries.lock();
        make_room(&mut entries, now);
        entries.insert(key, Entry { value, until });
    }

    /// Forgets what is asked under that key.
    pub(crate) fn forget(&self, key: K) {
        self.entries.lock().remove(&key);
    }
}

/// Forgets what is over when there are too many; if most are not, also the quarter that ends soonest.
fn make_room<K: Copy + Eq + Hash + Ord, T>(entries: &mut HashMap<K, Entry<T>>, now: Timestamp) {
    if entries.len() < ENTRIES_MAX {
        return;
    }
    entries.retain(|_, entry| now <= entry.until);
    let surplus = entries.len().saturating_sub(ENTRIES_MAX * 3 / 4);
    if surplus > 0 {
        let mut ends: Vec<_> = entries.iter().map(|(key, entry)| (entry.until, *key)).collect();
        let (_, last_to_go, _) = ends.select_nth_unstable(surplus - 1);
        let last_to_go = *last_to_go;
        entries.retain(|key, entry| (entry.until, *key) > last_to_go);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_is_asked_one_thing_at_a_time_and_not_for_ever() {
        let pending = Pending::new(Duration::from_secs(1));
        let start = Timestamp::from_millis(1000);
        let end = Timestamp::from_millis(2000);
        assert_eq!(pending.ask(1, start, || 'a'), Asked::Anew('a'));
        assert_eq!(pending.ask(1, end, || 'b'), Asked::Before('a'));
        assert_eq!(pending.get(1, end), Some('a'));
        assert_eq!(pending.get(2, end), None);
        let late = Timestamp::from_millis(2001);
        assert_eq!(pending.get(1, late), None);
        assert_eq!(pending.ask(1, late, || 'b'), Asked::Anew('b'));
        assert_eq!(pending.take(1, late), Some('b'));
        assert_eq!(pending.take(1, late), None);
        pending.put(1, 'b', Timestamp::from_millis(2500), late);
        assert_eq!(pending.get(1, Timestamp::from_millis(2501)), None, "no longer than was meant");
        pending.put(1, 'd', Timestamp::from_millis(2500), late);
        assert_eq!(pending.get(1, late), Some('d'), "in the place of the other");
        pending.forget(1);
        pending.ask(1, late, || 'c');
        pending.forget(1);
        assert_eq!(pending.get(1, late), None);
    }

    #[test]
    fn a_crowd_does_not_grow_without_bound_and_the_latest_are_kept() {
        let pending = Pending::new(Duration::from_secs(1));
        // All at the same moment, which is the worst case.
        for number in 0..2 * ENTRIES_MAX {
            pending.ask(number, Timestamp::from_millis(0), || ());
        }
        let held = pending.entries.lock().len();
        assert!((ENTRIES_MAX * 3 / 4..=ENTRIES_MAX).contains(&held), "{held}");
        assert!(pending.get(2 * ENTRIES_MAX - 1, Timestamp::from_millis(0)).is_some());
    }
}
