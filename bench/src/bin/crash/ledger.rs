//! What the server has promised, and what it has kept.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use testkit::Account;
use tokio::{sync::watch, time::Instant};

use crate::{Control, sender::Way};

/// An acknowledgement that was written to the socket this long before the connection ended must have been
/// heard: it travels one way, and nothing tells the reader when it has arrived. With many senders the server has more
/// to do than the machine has room for.
pub(crate) const ACK_GRACE: Duration = Duration::from_secs(1);

/// A message: who sent it to which device of whom, and which one it is. Its bytes are the same for all devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MessageKey {
    pub(crate) sender: u16,
    pub(crate) reader: u16,
    pub(crate) number: u32,
    pub(crate) device: u8,
}

impl MessageKey {
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        let upper = u64::from(self.sender) << 48 | u64::from(self.reader) << 32;
        (upper | u64::from(self.number)).to_be_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8], device: u8) -> Option<Self> {
        let [s0, s1, r0, r1, n0, n1, n2, n3] = *bytes.first_chunk()?;
        Some(Self {
            sender: u16::from_be_bytes([s0, s1]),
            reader: u16::from_be_bytes([r0, r1]),
            number: u32::from_be_bytes([n0, n1, n2, n3]),
            device,
        })
    }
}

/// An account whose registration was answered with success.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) account: Account,
    /// One-time EC and Kyber keys whose upload was answered with success.
    pub(crate) keys: Option<(u32, u32)>,
    /// Whether an upload was sent that was not answered.
    pub(crate) unsure: bool,
}

/// Shared by all actors.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    round: AtomicU32,
    last_kill: Mutex<Option<Instant>>,
    /// Messages answered with 200, and the round it was in.
    accepted: Mutex<HashMap<MessageKey, u32>>,
    /// Requests answered with 200, by the way they were sent.
    accepted_requests: Mutex<BTreeMap<Way, u64>>,
    /// How often each message was delivered.
    delivered: Mutex<HashMap<MessageKey, u32>>,
    pub(crate) registered: Mutex<Vec<Registered>>,
    /// How many of them had been made at the last look.
    looked_at: AtomicUsize,
    pub(crate) busy_senders: AtomicUsize,
    /// Requests that were under way when a connection was lost.
    pub(crate) unanswered: AtomicU64,
    /// Requests that were answered with a 5xx status.
    pub(crate) refused: AtomicU64,
    pub(crate) keys_fetched: AtomicU64,
    faults: Mutex<Vec<(u32, String)>>,
}

impl Ledger {
    pub(crate) fn begin_round(&self, round: u32) {
        self.round.store(round, Ordering::Relaxed);
    }

    pub(crate) fn killed(&self, at: Instant) {
        *self.last_kill.lock() = Some(at);
    }

    /// One request was answered with 200: all that it sent is promised.
    pub(crate) fn accepted(&self, way: Way, keys: &[MessageKey]) {
        let round = self.round.load(Ordering::Relaxed);
        self.accepted.lock().extend(keys.iter().map(|key| (*key, round)));
        *self.accepted_requests.lock().entry(way).or_default() += 1;
    }

    pub(crate) fn delivered(&self, key: MessageKey) {
        *self.delivered.lock().entry(key).or_default() += 1;
    }

    /// When a connection ended that began at that moment and is found to have ended now: a kill takes a
    /// moment to be noticed.
    pub(crate) fn end_of_connection(&self, began: Instant) -> Instant {
        let now = Instant::now();
        self.last_kill.lock().filter(|kill| *kill > began).map_or(now, |kill| kill.min(now))
    }

    pub(crate) fn fault(&self, what: impl Into<String>) {
        let round = self.round.load(Ordering::Relaxed);
        self.faults.lock().push((round, what.into()));
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.faults.lock().iter().map(|(round, what)| format!("round {round}: {what}")).collect()
    }

    /// How many accounts are new since the last time this was asked.
    pub(crate) fn new_accounts(&self, all: usize) -> usize {
        all - self.looked_at.swap(all, Ordering::Relaxed)
    }

    /// Waits until every sender has ended.
    pub(crate) async fn senders_done(&self, control: &watch::Sender<Control>) {
        while self.busy_senders.load(Ordering::Relaxed) > 0 && !control.is_closed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Every accepted message must have been delivered, and some of every way accepted. What is missing leads
    /// the faults: it weighs most.
    pub(crate) fn compare(&self, ways: impl Iterator<Item = Way>) {
        for way in
            ways.filter(|way| !self.accepted_requests.lock().contains_key(way)).collect::<BTreeSet<_>>()
        {
            self.fault(format!("nothing was accepted that was sent {way:?}"));
        }
        let missing: Vec<_> = {
            let (accepted, delivered) = (self.accepted.lock(), self.delivered.lock());
            accepted
                .iter()
                .filter(|(key, _)| !delivered.contains_key(key))
                .map(|(key, round)| (*key, *round))
                .collect()
        };
        let lost = missing
            .into_iter()
            .map(|(key, round)| (round, format!("{key:?} was accepted and never delivered")));
        self.faults.lock().splice(0..0, lost);
    }

    pub(crate) fn summary(&self) -> String {
        let delivered = self.delivered.lock();
        let accepted = self.accepted.lock();
        let redelivered: u64 = delivered.values().map(|count| u64::from(*count - 1)).sum();
        let waiting = accepted.keys().filter(|key| !delivered.contains_key(key)).count();
        format!(
            "{} accepted ({:?} requests), {} delivered, {waiting} undelivered, {redelivered} redelivered, \
             {} unanswered, {} refused, {} registered, {} keys fetched, {} faults",
            accepted.len(),
            self.accepted_requests.lock(),
            delivered.len(),
            self.unanswered.load(Ordering::Relaxed),
            self.refused.load(Ordering::Relaxed),
            self.registered.lock().len(),
            self.keys_fetched.load(Ordering::Relaxed),
            self.faults.lock().len(),
        )
    }
}
