//! Counting equal events together, so that whoever makes many of them does not fill the disk.
//!
//! The first of its kind is written at once. Equal ones within [`WINDOW`] are counted, and written as one record when
//! it is over. There is a bound on kinds counted at once, and a budget for records of this sort altogether: what is
//! beyond is counted by action alone and written once a minute, saying how many there were and no longer by whom. At
//! worst this comes to [`BUDGET_PER_SECOND`] records a second, some 20 MB a day.

use std::{collections::HashMap, mem, time::Duration};

use protocol::ambient::Timestamp;

use crate::record::{Entry, Text};

/// How long equal events are counted together.
pub const WINDOW: Duration = Duration::from_mins(10);

/// Kinds counted at once. Each takes some 300 bytes.
const WINDOWS_MAX: usize = 8192;

/// Records of counted events at once, and then for each second.
const BUDGET_MAX: u64 = 600;
/// See above.
pub const BUDGET_PER_SECOND: u64 = 1;

/// Records that wait to be written. They pile up only while the log cannot be written.
const DUE_MAX: usize = 16_384;

/// How often what was beyond the budget is written, and how many sorts of it are told apart.
const SPILL_INTERVAL: Duration = Duration::from_mins(1);
const SPILLS_MAX: usize = 256;

/// Whoever they are: what stands in a record for those who were not told apart.
const MANY: Text = Text::Borrowed("many");

/// Decides what is written when. Does no I/O.
#[derive(Debug)]
pub struct Coalescer {
    windows: HashMap<Kind, Window>,
    spills: HashMap<(Text, Text, Option<Text>), Count>,
    spilled_at: Timestamp,
    budget: Budget,
    due: Vec<Entry>,
}

/// What makes events equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    by: Text,
    action: Text,
    on: Option<Text>,
    outcome: Text,
    detail: Option<Text>,
    network: Option<Text>,
}

#[derive(Debug)]
struct Window {
    opened: Timestamp,
    /// Those after the first, which was written.
    more: Option<Count>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    events: u32,
    first: Timestamp,
    last: Timestamp,
}

impl Coalescer {
    /// With nothing in it.
    pub fn new(now: Timestamp) -> Self {
        Self {
            windows: HashMap::new(),
            spills: HashMap::new(),
            spilled_at: now,
            budget: Budget { left: BUDGET_MAX, at: now },
            due: Vec::new(),
        }
    }

    /// Takes an event of which there may be many.
    pub fn note(&mut self, entry: Entry) {
        let kind = Kind::of(&entry);
        if let Some(window) = self.windows.get_mut(&kind) {
            Count::add(&mut window.more, &entry);
        } else if self.windows.len() < WINDOWS_MAX && self.budget.take(entry.at) {
            self.windows.insert(kind, Window { opened: entry.at, more: None });
            self.push(entry);
        } else {
            self.spill(&entry);
        }
    }

    /// Takes an event of a change. Answers with it if it is to be written now, whatever the budget; the same change made
    /// again and again is counted like anything else.
    pub fn change(&mut self, entry: Entry) -> Option<Entry> {
        let kind = Kind::of(&entry);
        if let Some(window) = self.windows.get_mut(&kind) {
            Count::add(&mut window.more, &entry);
            return None;
        }
        if self.windows.len() < WINDOWS_MAX {
            self.windows.insert(kind, Window { opened: entry.at, more: None });
        }
        Some(entry)
    }

    /// Takes an event that is to be written by itself.
    pub fn push(&mut self, entry: Entry) {
        if self.due.len() < DUE_MAX { self.due.push(entry) } else { self.spill(&entry) }
    }

    /// Takes back what could not be written.
    pub fn restore(&mut self, entries: Vec<Entry>) {
        let later = mem::take(&mut self.due);
        for entry in entries.into_iter().chain(later) {
            self.push(entry);
        }
    }

    /// What is to be written now.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<Entry> {
        self.close_windows(|window| now.saturating_since(window.opened) >= WINDOW);
        if now.saturating_since(self.spilled_at) >= SPILL_INTERVAL {
            self.spilled_at = now;
            self.write_spills();
        }
        mem::take(&mut self.due)
    }

    /// Everything, because the program ends.
    pub fn take_all(&mut self) -> Vec<Entry> {
        self.close_windows(|_| true);
        self.write_spills();
        mem::take(&mut self.due)
    }

    fn close_windows(&mut self, over: impl Fn(&Window) -> bool) {
        let closed: Vec<_> = self.windows.extract_if(|_, window| over(window)).collect();
        for (kind, Window { more, .. }) in closed {
            if let Some(count) = more {
                self.push(kind.counted(count));
            }
        }
    }

    fn write_spills(&mut self) {
        let spills = mem::take(&mut self.spills);
        // Past the bound of what waits: there are few of them, and counting them again would lose nothing but order.
        self.due.extend(spills.into_iter().map(|((action, outcome, detail), count)| {
            let kind = Kind { by: MANY, action, on: None, outcome, detail, network: None };
            kind.counted(count)
        }));
        self.due.truncate(DUE_MAX + SPILLS_MAX);
    }

    fn spill(&mut self, entry: &Entry) {
        let key = (entry.action.clone(), entry.outcome.clone(), entry.detail.clone());
        let key = if self.spills.len() < SPILLS_MAX || self.spills.contains_key(&key) {
            key
        } else {
            (MANY, entry.outcome.clone(), None)
        };
        let mut count = self.spills.remove(&key);
        Count::add(&mut count, entry);
        if let Some(count) = count {
            self.spills.insert(key, count);
        }
    }
}

impl Kind {
    fn of(entry: &Entry) -> Self {
        let Entry { by, action, on, outcome, detail, network, .. } = entry.clone();
        Self { by, action, on, outcome, detail, network }
    }

    fn counted(self, Count { events: count, first, last }: Count) -> Entry {
        let Self { by, action, on, outcome, detail, network } = self;
        Entry { at: last, since: Some(first), count, by, action, on, outcome, detail, network }
    }
}

impl Count {
    fn add(count: &mut Option<Self>, entry: &Entry) {
        let first = entry.since.unwrap_or(entry.at);
        let count = count.get_or_insert(Self { events: 0, first, last: entry.at });
        count.events = count.events.saturating_add(entry.count);
        count.first = count.first.min(first);
        count.last = count.last.max(entry.at);
    }
}

/// How many more records may be written.
#[derive(Debug)]
struct Budget {
    left: u64,
    at: Timestamp,
}

impl Budget {
    fn take(&mut self, now: Timestamp) -> bool {
        let whole_seconds = now.saturating_since(self.at).as_secs();
        if whole_seconds > 0 {
            self.left =
                whole_seconds.saturating_mul(BUDGET_PER_SECOND).saturating_add(self.left).min(BUDGET_MAX);
            self.at = self.at.saturating_add(Duration::from_secs(whole_seconds));
        }
        self.left.checked_sub(1).map(|left| self.left = left).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn at(seconds: u64) -> Timestamp {
        START.saturating_add(Duration::from_secs(seconds))
    }

    fn failure(by: usize, seconds: u64) -> Entry {
        Entry {
            at: at(seconds),
            since: None,
            count: 1,
            by: format!("device:{by}").into(),
            action: "sign_in".into(),
            on: None,
            outcome: "refused".into(),
            detail: None,
            network: Some("192.0.2.0/24".into()),
        }
    }

    fn total(entries: &[Entry]) -> u64 {
        entries.iter().map(|entry| u64::from(entry.count)).sum()
    }

    #[test]
    fn the_first_is_written_at_once_and_the_rest_counted() {
        let mut coalescer = Coalescer::new(START);
        coalescer.note(failure(1, 0));
        assert_eq!(coalescer.take_due(at(0)), [failure(1, 0)]);
        for second in 1..500 {
            coalescer.note(failure(1, second));
        }
        assert_eq!(coalescer.take_due(at(500)), []);
        let counted = Entry { count: 499, since: Some(at(1)), ..failure(1, 499) };
        assert_eq!(coalescer.take_due(at(600)), [counted]);
        coalescer.note(failure(1, 601));
        assert_eq!(coalescer.take_due(at(601)), [failure(1, 601)], "a new window");
    }

    #[test]
    fn a_change_is_written_whatever_the_budget_and_its_repetition_counted() {
        let mut coalescer = Coalescer::new(START);
        for by in 0..usize::try_from(BUDGET_MAX).unwrap() + 10 {
            coalescer.note(failure(by, 0));
        }
        let change = |seconds| Entry { action: "change_keys".into(), ..failure(1, seconds) };
        assert_eq!(coalescer.change(change(1)), Some(change(1)));
        assert_eq!(coalescer.change(change(2)), None);
        assert_eq!(coalescer.change(change(3)), None);
        coalescer.take_due(at(1));
        let counted = Entry { count: 2, since: Some(at(2)), ..change(3) };
        assert!(coalescer.take_due(at(601)).contains(&counted));
    }

    #[test]
    fn those_that_differ_are_not_counted_together() {
        let mut coalescer = Coalescer::new(START);
        let elsewhere = Entry { network: Some("198.51.100.0/24".into()), ..failure(1, 0) };
        for entry in [failure(1, 0), failure(2, 0), elsewhere] {
            coalescer.note(entry);
        }
        assert_eq!(coalescer.take_due(at(0)).len(), 3);
    }

    #[test]
    fn a_storm_writes_little_and_loses_no_count() {
        let mut coalescer = Coalescer::new(START);
        let (mut written, mut noted) = (Vec::new(), 0);
        for second in 0..1000 {
            for by in 0..200 {
                coalescer.note(failure(noted + by, second));
            }
            noted += 200;
            written.extend(coalescer.take_due(at(second)));
        }
        written.extend(coalescer.take_all());
        assert_eq!(total(&written), noted as u64);
        let bound = BUDGET_MAX + 1000 * BUDGET_PER_SECOND + 1000 / 60 + 2;
        assert!(written.len() as u64 <= bound, "{} records", written.len());
        assert!(written.iter().any(|entry| entry.by == "many" && entry.count > 1000));
    }

    #[test]
    fn what_could_not_be_written_is_kept_in_order_and_bounded() {
        let mut coalescer = Coalescer::new(START);
        for by in 0..10 {
            coalescer.push(failure(by, 0));
        }
        let taken = coalescer.take_due(at(0));
        coalescer.push(failure(10, 1));
        coalescer.restore(taken);
        let due = coalescer.take_due(at(1));
        assert_eq!(due, (0..=10).map(|by| failure(by, u64::from(by == 10))).collect::<Vec<_>>());

        for by in 0..DUE_MAX + 1000 {
            coalescer.push(failure(by, 2));
        }
        let due = coalescer.take_due(at(100));
        assert_eq!((due.len(), total(&due)), (DUE_MAX + 1, DUE_MAX as u64 + 1000));
    }
}
