//! What is in memory of one device's queue: envelopes not yet settled, and who reads it.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
};

use tokio::{sync::oneshot, time::Instant};

use super::{
    CommitFailure,
    subscription::{CloseReason, Delivery, Slot},
};
use crate::{
    queued::{QueuedEnvelope, Reservation},
    store::Position,
};

/// Ephemeral envelopes that wait for one slow reader; more push out the oldest.
const EPHEMERAL_MAX: usize = 64;

/// Who is to be told what became of an envelope; nobody, for one that was not promised to anybody.
pub(super) type Promise = Option<oneshot::Sender<Result<(), CommitFailure>>>;

/// An envelope that is neither committed nor acknowledged.
pub(super) struct Entry {
    pub(super) position: Position,
    pub(super) envelope: QueuedEnvelope,
    /// The room its own bytes take while they are not stored.
    _reserved: Reservation,
    /// Handed to the present reader.
    taken: bool,
    state: State,
}

enum State {
    /// For connected devices only, and only until then.
    Ephemeral { expires: Instant },
    /// To be committed unless it is acknowledged first. Holds who waits for either.
    Waiting(Promise),
    /// In a batch on its way to the disk.
    Committing(Promise),
    /// Acknowledged while on its way to the disk: to be deleted from there.
    Acknowledged,
}

/// What an acknowledgement meant for an envelope in memory.
pub(super) enum Acknowledged {
    /// It is gone and never reached the disk.
    Elided(Entry),
    /// It is on its way to the disk and will be deleted from there.
    AfterCommit,
    /// It is not in memory: it is in the store, or nowhere.
    NotHere,
}

/// What is in memory of an envelope.
pub(super) enum Held {
    /// It has not been acknowledged.
    Waiting(QueuedEnvelope),
    /// It has been.
    Acknowledged,
    /// It is in the store, or nowhere.
    NotHere,
}

/// What became of an envelope whose commit ended.
pub(super) struct Committed {
    pub(super) entry: Entry,
    /// It must be deleted again: the reader was faster.
    pub(super) acknowledged: bool,
}

impl Entry {
    pub(super) fn durable(
        position: Position,
        envelope: QueuedEnvelope,
        reserved: Reservation,
        promise: Promise,
    ) -> Self {
        Self { position, envelope, _reserved: reserved, taken: false, state: State::Waiting(promise) }
    }

    pub(super) fn ephemeral(
        position: Position,
        envelope: QueuedEnvelope,
        reserved: Reservation,
        expires: Instant,
    ) -> Self {
        Self { position, envelope, _reserved: reserved, taken: false, state: State::Ephemeral { expires } }
    }

    /// Tells whoever waits for this envelope.
    pub(super) fn settle(self, outcome: Result<(), CommitFailure>) {
        if let State::Waiting(Some(accepted)) | State::Committing(Some(accepted)) = self.state {
            // A sender that hung up does not need its answer.
            let _ = accepted.send(outcome);
        }
    }
}

/// The part of a device's queue that is in memory.
#[derive(Default)]
pub(super) struct DeviceQueue {
    /// In order of position.
    entries: VecDeque<Entry>,
    reader: Option<Arc<Slot>>,
    /// Connections that take no messages.
    watchers: Vec<Arc<Slot>>,
    /// Acknowledged, and still in the store until the next commit.
    deleting: BTreeSet<Position>,
}

impl DeviceQueue {
    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    /// Enters an ephemeral envelope; the oldest untaken one makes room where there are too many.
    pub(super) fn push_ephemeral(&mut self, entry: Entry) {
        self.entries.push_back(entry);
        let mut ephemeral = self.entries.iter().enumerate().filter(|(_, entry)| entry.is_ephemeral());
        let oldest = ephemeral.next().map(|(index, _)| index);
        let crowded = ephemeral.nth(EPHEMERAL_MAX - 1).is_some();
        if let Some(index) = oldest.filter(|_| crowded) {
            self.entries.remove(index);
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.reader.is_some()
    }

    /// Whether nothing of the device needs to be remembered in memory.
    pub(super) fn is_idle(&self) -> bool {
        self.reader.is_none()
            && self.watchers.is_empty()
            && self.entries.is_empty()
            && self.deleting.is_empty()
    }

    /// Wakes the reader; says whether there is one from which an acknowledgement may be expected soon.
    pub(super) fn wake(&self) -> bool {
        self.reader.as_ref().is_some_and(|reader| {
            reader.wake();
            reader.is_prompt()
        })
    }

    /// Closes the reader and all who watch.
    pub(super) fn close(&self, reason: CloseReason) {
        for slot in self.reader.iter().chain(&self.watchers) {
            slot.close(reason);
        }
    }

    pub(super) fn watch(&mut self, watcher: Arc<Slot>) {
        self.watchers.push(watcher);
    }

    pub(super) fn unwatch(&mut self, watcher: &Arc<Slot>) {
        self.watchers.retain(|present| !Arc::ptr_eq(present, watcher));
    }

    /// Puts a new reader in place; everything is to be handed out afresh.
    pub(super) fn attach(&mut self, reader: Arc<Slot>) {
        if let Some(before) = self.reader.replace(reader) {
            before.close(CloseReason::ConnectedElsewhere);
        }
        self.entries.iter_mut().for_each(|entry| entry.taken = false);
    }

    /// Takes the reader away if it is still the one; returns what is now due for commit, and what is dropped.
    pub(super) fn detach(&mut self, reader: &Arc<Slot>) -> Option<(Vec<Position>, Vec<Entry>)> {
        if !self.is_read_by(reader) {
            return None;
        }
        self.reader = None;
        let mut dropped = Vec::new();
        let mut due = Vec::new();
        for mut entry in std::mem::take(&mut self.entries) {
            entry.taken = false;
            match entry.state {
                State::Ephemeral { .. } => dropped.push(entry),
                State::Waiting(_) => {
                    due.push(entry.position);
                    self.entries.push_back(entry);
                }
                State::Committing(_) | State::Acknowledged => self.entries.push_back(entry),
            }
        }
        Some((due, dropped))
    }

    /// Up to `max` envelopes after the cursor that the reader has not been handed, oldest first.
    pub(super) fn peek(&self, after: Position, max: usize, now: Instant) -> Vec<Delivery> {
        self.entries
            .iter()
            .filter(|entry| !entry.taken && entry.position > after && entry.is_deliverable(now))
            .take(max)
            .map(|entry| Delivery {
                position: entry.position,
                envelope: entry.envelope.clone(),
                ephemeral: entry.is_ephemeral(),
            })
            .collect()
    }

    /// Notes that the reader has been handed everything up to that position. Ephemeral envelopes are done
    /// with then; they are returned. A reader that was displaced meanwhile takes nothing from the new one.
    pub(super) fn mark_taken(&mut self, reader: &Arc<Slot>, up_to: Position) -> Vec<Entry> {
        if !self.is_read_by(reader) {
            return Vec::new();
        }
        let handed = self.entries.partition_point(|entry| entry.position <= up_to);
        let mut ephemeral = false;
        for entry in self.entries.range_mut(..handed) {
            entry.taken = true;
            ephemeral |= entry.is_ephemeral();
        }
        if !ephemeral {
            return Vec::new();
        }
        let (done, kept): (VecDeque<_>, _) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|entry| entry.taken && entry.is_ephemeral());
        self.entries = kept;
        done.into()
    }

    /// The reader has answered, within the grace or not.
    pub(super) fn note_answer(&self, prompt: bool) {
        if let Some(reader) = &self.reader {
            reader.set_prompt(prompt);
        }
    }

    pub(super) fn acknowledge(&mut self, position: Position) -> Acknowledged {
        let Some(index) = self.find(position) else { return Acknowledged::NotHere };
        let entry = &mut self.entries[index];
        match std::mem::replace(&mut entry.state, State::Acknowledged) {
            State::Committing(promise) => {
                promise.map(|accepted| accepted.send(Ok(())));
                Acknowledged::AfterCommit
            }
            State::Acknowledged => Acknowledged::AfterCommit,
            state @ (State::Waiting(_) | State::Ephemeral { .. }) => {
                entry.state = state;
                self.entries.remove(index).map_or(Acknowledged::NotHere, Acknowledged::Elided)
            }
        }
    }

    /// What is in memory of that envelope. One that is kept nowhere needs no acknowledgement, and counts as having it.
    pub(super) fn envelope(&self, position: Position) -> Held {
        if self.deleting.contains(&position) {
            return Held::Acknowledged;
        }
        match self.find(position).map(|index| &self.entries[index]) {
            None => Held::NotHere,
            Some(Entry { envelope, state: State::Waiting(_) | State::Committing(_), .. }) => {
                Held::Waiting(envelope.clone())
            }
            Some(Entry { state: State::Ephemeral { .. } | State::Acknowledged, .. }) => Held::Acknowledged,
        }
    }

    /// Moves an envelope that still waits into a batch.
    pub(super) fn begin_commit(&mut self, position: Position) -> Option<QueuedEnvelope> {
        let index = self.find(position)?;
        let entry = &mut self.entries[index];
        match std::mem::replace(&mut entry.state, State::Acknowledged) {
            State::Waiting(promise) => {
                entry.state = State::Committing(promise);
                // The grace was for nothing; the reader's next senders shall not wait for it.
                if let Some(reader) = &self.reader {
                    reader.set_prompt(false);
                }
                Some(entry.envelope.clone())
            }
            state => {
                entry.state = state;
                None
            }
        }
    }

    /// Takes an envelope whose commit ended out of memory. If it was committed and the reader does not
    /// have it yet, the reader must look into the store.
    pub(super) fn end_commit(&mut self, position: Position, stored: bool) -> Option<Committed> {
        let index = self.find(position)?;
        let entry = self.entries.remove(index)?;
        let acknowledged = matches!(entry.state, State::Acknowledged);
        if let Some(reader) = self.reader.as_ref().filter(|_| stored && !acknowledged && !entry.taken) {
            reader.note_backlog();
        }
        Some(Committed { entry, acknowledged })
    }

    /// Takes out what waits for commit up to that position.
    pub(super) fn drain_waiting(&mut self, up_to: Position) -> Vec<Entry> {
        let (out, kept): (VecDeque<_>, _) =
            std::mem::take(&mut self.entries).into_iter().partition(|entry| {
                entry.position <= up_to && matches!(entry.state, State::Waiting(_) | State::Ephemeral { .. })
            });
        self.entries = kept;
        out.into()
    }

    /// Whether something up to that position is in memory that is neither committed nor acknowledged.
    pub(super) fn holds(&self, up_to: Position) -> bool {
        self.entries
            .iter()
            .take_while(|entry| entry.position <= up_to)
            .any(|entry| matches!(entry.state, State::Waiting(_) | State::Committing(_)))
    }

    /// An envelope in the store has been acknowledged and is about to be deleted: no reader shall see it.
    pub(super) fn hide(&mut self, position: Position) {
        self.deleting.insert(position);
    }

    /// It is gone from the store.
    pub(super) fn forget(&mut self, position: Position) {
        self.deleting.remove(&position);
    }

    /// What is still in the store after that position though it has been acknowledged. A reader acknowledges
    /// what it has passed, so that is nothing unless it came anew.
    pub(super) fn hidden(&self, after: Position) -> BTreeSet<Position> {
        self.deleting.range((Bound::Excluded(after), Bound::Unbounded)).copied().collect()
    }

    fn is_read_by(&self, reader: &Arc<Slot>) -> bool {
        self.reader.as_ref().is_some_and(|present| Arc::ptr_eq(present, reader))
    }

    fn find(&self, position: Position) -> Option<usize> {
        self.entries.binary_search_by_key(&position, |entry| entry.position).ok()
    }
}

impl Entry {
    fn is_ephemeral(&self) -> bool {
        matches!(self.state, State::Ephemeral { .. })
    }

    fn is_deliverable(&self, now: Instant) -> bool {
        match self.state {
            State::Ephemeral { expires } => now < expires,
            State::Waiting(_) | State::Committing(_) => true,
            State::Acknowledged => false,
        }
    }
}
