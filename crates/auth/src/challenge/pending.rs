//! What accounts have been asked and not answered yet: one thing each, for a while, and at most so many.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use protocol::{Aci, ambient::Timestamp};

/// Accounts remembered at once. Beyond that those whose time ends soonest are forgotten: their answers are
/// refused, and they are asked anew.
const ACCOUNTS_MAX: usize = 65_536;

/// One `T` per account. It lives in this process; after a restart people are asked anew.
pub(super) struct Pending<T> {
    lifetime: Duration,
    entries: Mutex<HashMap<Aci, Entry<T>>>,
}

struct Entry<T> {
    value: T,
    /// The last moment at which it may be answered.
    until: Timestamp,
}

/// What an account is asked now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked<T> {
    /// Since this call.
    Anew(T),
    /// Still, since an earlier one.
    Before(T),
}

impl<T: Clone> Pending<T> {
    /// Remembers each for that long.
    pub(super) fn new(lifetime: Duration) -> Self {
        Self { lifetime, entries: Mutex::default() }
    }

    /// What the account is asked, which is made up if it is asked nothing.
    pub(super) fn ask(&self, aci: Aci, now: Timestamp, make: impl FnOnce() -> T) -> Asked<T> {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get(&aci).filter(|entry| now <= entry.until) {
            return Asked::Before(entry.value.clone());
        }
        make_room(&mut entries, now);
        let value = make();
        entries.insert(aci, Entry { value: value.clone(), until: now.saturating_add(self.lifetime) });
        Asked::Anew(value)
    }

    /// What the account is asked, if anything.
    pub(super) fn get(&self, aci: Aci, now: Timestamp) -> Option<T> {
        let entries = self.entries.lock();
        entries.get(&aci).filter(|entry| now <= entry.until).map(|entry| entry.value.clone())
    }

    /// Forgets what the account is asked.
    pub(super) fn forget(&self, aci: Aci) {
        self.entries.lock().remove(&aci);
    }
}

/// Forgets what is over when there are too many; if most are not, also the quarter that ends soonest.
fn make_room<T>(entries: &mut HashMap<Aci, Entry<T>>, now: Timestamp) {
    if entries.len() < ACCOUNTS_MAX {
        return;
    }
    entries.retain(|_, entry| now <= entry.until);
    let surplus = entries.len().saturating_sub(ACCOUNTS_MAX * 3 / 4);
    if surplus > 0 {
        let mut ends: Vec<_> = entries.iter().map(|(aci, entry)| (entry.until, aci.0)).collect();
        let (_, last_to_go, _) = ends.select_nth_unstable(surplus - 1);
        let last_to_go = *last_to_go;
        entries.retain(|aci, entry| (entry.until, aci.0) > last_to_go);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn aci(number: usize) -> Aci {
        Aci(Uuid::from_u128(number as u128))
    }

    #[test]
    fn an_account_is_asked_one_thing_at_a_time_and_not_for_ever() {
        let pending = Pending::new(Duration::from_secs(1));
        let start = Timestamp::from_millis(1000);
        let end = Timestamp::from_millis(2000);
        assert_eq!(pending.ask(aci(1), start, || 'a'), Asked::Anew('a'));
        assert_eq!(pending.ask(aci(1), end, || 'b'), Asked::Before('a'));
        assert_eq!(pending.get(aci(1), end), Some('a'));
        assert_eq!(pending.get(aci(2), end), None);
        let late = Timestamp::from_millis(2001);
        assert_eq!(pending.get(aci(1), late), None);
        assert_eq!(pending.ask(aci(1), late, || 'b'), Asked::Anew('b'));
        pending.forget(aci(1));
        assert_eq!(pending.get(aci(1), late), None);
    }

    #[test]
    fn a_crowd_does_not_grow_without_bound_and_the_latest_are_kept() {
        let pending = Pending::new(Duration::from_secs(1));
        // All at the same moment, which is the worst case.
        for number in 0..2 * ACCOUNTS_MAX {
            pending.ask(aci(number), Timestamp::from_millis(0), || ());
        }
        let held = pending.entries.lock().len();
        assert!((ACCOUNTS_MAX * 3 / 4..=ACCOUNTS_MAX).contains(&held), "{held}");
        assert!(pending.get(aci(2 * ACCOUNTS_MAX - 1), Timestamp::from_millis(0)).is_some());
    }
}
