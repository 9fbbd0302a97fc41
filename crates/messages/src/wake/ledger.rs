//! Who is to be woken when: a state machine that is told the time and does no I/O.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use protocol::DeviceAddress;
use tokio::time::Instant;

use super::{Urgency, WakeUpConfig};

/// Devices that have rested are forgotten together, this long after the first of them could have been.
const SWEEP_DELAY: Duration = Duration::from_mins(1);

/// Devices forgotten at once at most, so that nobody waits long for the lock.
const SWEEP_MAX: usize = 1000;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Requested {
    pub(super) outcome: Outcome,
    /// There is now something to do earlier than before.
    pub(super) sooner: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The device will be woken.
    Planned,
    /// It was to be woken already; it is one wake-up.
    Coalesced,
    /// It will be woken; to make room, a device was forgotten that had been woken recently.
    Forgot,
    /// It will be woken; to make room, a less urgent wake-up was dropped.
    Displaced,
    /// There is no room.
    Refused,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wake this device now.
    Wake(DeviceAddress, Urgency),
    /// Nothing until then, or until a request says `sooner`.
    Sleep(Option<Instant>),
}

/// The devices to be woken and those woken recently.
pub(super) struct Ledger {
    urgent_interval: Duration,
    non_urgent_interval: Duration,
    devices_max: usize,
    devices: HashMap<DeviceAddress, Entry>,
    /// The same devices by what is planned and when. Each stands in exactly one.
    urgent: Schedule,
    non_urgent: Schedule,
    resting: Schedule,
}

type Schedule = BTreeSet<(Instant, DeviceAddress)>;

#[derive(Clone, Copy)]
struct Entry {
    plan: Plan,
    /// When it was last woken.
    woken: Option<Instant>,
    /// When it was last woken urgently.
    woken_urgently: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Plan {
    Wake(Urgency, Instant),
    /// Until then it must be remembered that the device was woken.
    Rest(Instant),
}

impl Ledger {
    pub(super) fn new(config: &WakeUpConfig) -> Self {
        Self {
            urgent_interval: config.urgent_interval,
            non_urgent_interval: config.non_urgent_interval,
            devices_max: config.devices_max,
            devices: HashMap::new(),
            urgent: Schedule::new(),
            non_urgent: Schedule::new(),
            resting: Schedule::new(),
        }
    }

    /// Plans to wake a device at the wanted time, or as soon afterwards as it may be woken.
    pub(super) fn request(&mut self, device: DeviceAddress, urgency: Urgency, wanted: Instant) -> Requested {
        let Some(entry) = self.devices.get(&device).copied() else {
            return self.admit(device, urgency, wanted);
        };
        let due = wanted.max(self.allowed(&entry, urgency).unwrap_or(wanted));
        match entry.plan {
            Plan::Rest(_) => Requested {
                outcome: Outcome::Planned,
                sooner: self.replan(device, Entry { plan: Plan::Wake(urgency, due), ..entry }),
            },
            Plan::Wake(planned, at) if planned > urgency || (planned == urgency && at <= due) => {
                Requested { outcome: Outcome::Coalesced, sooner: false }
            }
            // An urgent wake-up may take place whenever a non-urgent one may.
            Plan::Wake(_, at) => Requested {
                outcome: Outcome::Coalesced,
                sooner: self.replan(device, Entry { plan: Plan::Wake(urgency, at.min(due)), ..entry }),
            },
        }
    }

    /// Calls off a planned wake-up; says whether there was one.
    pub(super) fn cancel(&mut self, device: DeviceAddress) -> bool {
        let Some(entry) = self.devices.get(&device).copied() else { return false };
        if matches!(entry.plan, Plan::Rest(_)) {
            return false;
        }
        match self.rested(&entry) {
            Some(until) => drop(self.replan(device, Entry { plan: Plan::Rest(until), ..entry })),
            None => self.forget(device),
        }
        true
    }

    /// What to do at this moment. A device that is to be woken counts as woken.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        self.sweep(now);
        for urgency in [Urgency::Urgent, Urgency::NonUrgent] {
            let first = self.schedule(Plan::Wake(urgency, now)).first().copied();
            if let Some((_, device)) = first.filter(|(due, _)| *due <= now) {
                self.note_woken(device, urgency, now);
                return Next::Wake(device, urgency);
            }
        }
        Next::Sleep(self.alarm())
    }

    fn note_woken(&mut self, device: DeviceAddress, urgency: Urgency, now: Instant) {
        let Some(mut entry) = self.devices.get(&device).copied() else { return };
        entry.woken = Some(now);
        if urgency == Urgency::Urgent {
            entry.woken_urgently = Some(now);
        }
        entry.plan = Plan::Rest(self.rested(&entry).unwrap_or(now));
        self.replan(device, entry);
    }

    fn admit(&mut self, device: DeviceAddress, urgency: Urgency, wanted: Instant) -> Requested {
        let outcome = self.make_room(urgency);
        if outcome == Outcome::Refused {
            return Requested { outcome, sooner: false };
        }
        let entry = Entry { plan: Plan::Wake(urgency, wanted), woken: None, woken_urgently: None };
        Requested { outcome, sooner: self.replan(device, entry) }
    }

    /// Sees to it that one more device can be remembered; the order is that told at [`super::WakeUps`].
    fn make_room(&mut self, urgency: Urgency) -> Outcome {
        if self.devices.len() < self.devices_max {
            return Outcome::Planned;
        }
        if let Some((_, rested)) = self.resting.first().copied() {
            self.forget(rested);
            return Outcome::Forgot;
        }
        match self.non_urgent.last().copied().filter(|_| urgency == Urgency::Urgent) {
            Some((_, patient)) => {
                self.forget(patient);
                Outcome::Displaced
            }
            None => Outcome::Refused,
        }
    }

    /// The first moment at which a device may be woken again, if it was woken before.
    fn allowed(&self, entry: &Entry, urgency: Urgency) -> Option<Instant> {
        match urgency {
            Urgency::Urgent => entry.woken_urgently.map(|woken| woken + self.urgent_interval),
            Urgency::NonUrgent => self.rested(entry),
        }
    }

    /// The first moment at which nothing of the past bears on when a device may be woken.
    fn rested(&self, entry: &Entry) -> Option<Instant> {
        let non_urgent = entry.woken.map(|woken| woken + self.non_urgent_interval);
        non_urgent.max(self.allowed(entry, Urgency::Urgent))
    }

    /// Forgets devices that have rested.
    fn sweep(&mut self, now: Instant) {
        for _ in 0..SWEEP_MAX {
            match self.resting.first().copied() {
                Some((until, device)) if until <= now => self.forget(device),
                _ => break,
            }
        }
    }

    fn alarm(&self) -> Option<Instant> {
        let first = |schedule: &Schedule| schedule.first().map(|(at, _)| *at);
        let sweep = first(&self.resting).map(|until| until + SWEEP_DELAY);
        [first(&self.urgent), first(&self.non_urgent), sweep].into_iter().flatten().min()
    }

    /// Puts an entry in place of the one there was, if any; says whether it is the first of its schedule.
    fn replan(&mut self, device: DeviceAddress, entry: Entry) -> bool {
        self.forget(device);
        self.devices.insert(device, entry);
        let schedule = self.schedule(entry.plan);
        schedule.insert((entry.plan.at(), device));
        schedule.first().is_some_and(|(_, first)| *first == device)
    }

    fn forget(&mut self, device: DeviceAddress) {
        if let Some(entry) = self.devices.remove(&device) {
            self.schedule(entry.plan).remove(&(entry.plan.at(), device));
        }
    }

    fn schedule(&mut self, plan: Plan) -> &mut Schedule {
        match plan {
            Plan::Wake(Urgency::Urgent, _) => &mut self.urgent,
            Plan::Wake(Urgency::NonUrgent, _) => &mut self.non_urgent,
            Plan::Rest(_) => &mut self.resting,
        }
    }
}

impl Plan {
    fn at(self) -> Instant {
        match self {
            Self::Wake(_, at) | Self::Rest(at) => at,
        }
    }
}
