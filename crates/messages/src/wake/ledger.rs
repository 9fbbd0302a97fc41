//! Who is to be woken when: a state machine that is told the time and does no I/O.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use protocol::DeviceAddress;
use tokio::time::Instant;

use super::{Urgency, WakeUpConfig, backoff::Backoff};

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

/// What was called off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancelled {
    /// Nothing: nothing was to come.
    Nothing,
    /// A wake-up.
    WakeUp,
    /// A reminder, which nobody had asked for.
    Reminder,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wake this device now.
    Wake {
        device: DeviceAddress,
        urgency: Urgency,
        /// It was woken before, and has not come.
        reminder: bool,
    },
    /// Nothing until then, or until a request says `sooner`.
    Sleep(Option<Instant>),
}

/// The devices to be woken and those woken recently.
pub(super) struct Ledger {
    urgent_interval: Duration,
    non_urgent_interval: Duration,
    devices_max: usize,
    backoff: Backoff,
    devices: HashMap<DeviceAddress, Entry>,
    /// The same devices by what is planned and when. Each stands in exactly one, unless it is being called.
    urgent: Schedule,
    non_urgent: Schedule,
    reminders: Schedule,
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
    /// Before then the waker does not want to be asked again.
    not_before: Option<Instant>,
    /// Calls that failed since the last one that did not.
    failures: u8,
    /// Reminders since the last message.
    reminders: u8,
}

#[derive(Clone, Copy)]
enum Plan {
    Wake(Urgency, Instant),
    /// The waker is at it.
    Call(Urgency),
    /// To be woken again if it has not come by then.
    Remind(Urgency, Instant),
    /// Until then it must be remembered that the device was woken.
    Rest(Instant),
}

impl Ledger {
    pub(super) fn new(config: &WakeUpConfig) -> Self {
        Self {
            urgent_interval: config.urgent_interval,
            non_urgent_interval: config.non_urgent_interval,
            devices_max: config.devices_max,
            backoff: Backoff::new(config),
            devices: HashMap::new(),
            urgent: Schedule::new(),
            non_urgent: Schedule::new(),
            reminders: Schedule::new(),
            resting: Schedule::new(),
        }
    }

    /// How many devices are remembered.
    pub(super) fn len(&self) -> usize {
        self.devices.len()
    }

    /// Plans to wake a device at the wanted time, or as soon afterwards as it may be woken.
    pub(super) fn request(&mut self, device: DeviceAddress, urgency: Urgency, wanted: Instant) -> Requested {
        let Some(entry) = self.devices.get(&device).copied() else {
            return self.admit(device, urgency, wanted);
        };
        let due = wanted.max(self.allowed(&entry, urgency).max(entry.not_before).unwrap_or(wanted));
        match entry.plan {
            Plan::Rest(_) | Plan::Remind(..) | Plan::Call(_) => Requested {
                outcome: Outcome::Planned,
                sooner: self.replan(device, Entry { plan: Plan::Wake(urgency, due), reminders: 0, ..entry }),
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

    /// Calls off what is planned for a device.
    pub(super) fn cancel(&mut self, device: DeviceAddress) -> Cancelled {
        let Some(entry) = self.devices.get(&device).copied() else { return Cancelled::Nothing };
        let cancelled = match entry.plan {
            Plan::Rest(_) => return Cancelled::Nothing,
            // It is on its way and will not be tried again.
            Plan::Call(_) => Cancelled::Nothing,
            Plan::Wake(..) => Cancelled::WakeUp,
            Plan::Remind(..) => Cancelled::Reminder,
        };
        match self.rested(&entry) {
            Some(until) => drop(self.replan(device, Entry { plan: Plan::Rest(until), failures: 0, ..entry })),
            None => self.forget(device),
        }
        cancelled
    }

    /// What to do at this moment. A device that is to be woken counts as woken; [`told`](Self::told),
    /// [`given_up`](Self::given_up) or [`failed`](Self::failed) must follow.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        self.sweep(now);
        let due = |schedule: &Schedule| {
            schedule.first().copied().filter(|(due, _)| *due <= now).map(|(_, device)| device)
        };
        let found = due(&self.urgent).or_else(|| due(&self.non_urgent)).or_else(|| due(&self.reminders));
        let Some((device, entry)) =
            found.and_then(|device| Some((device, self.devices.get(&device).copied()?)))
        else {
            return Next::Sleep(self.alarm());
        };
        match entry.plan {
            Plan::Wake(urgency, _) => {
                self.note_called(device, entry, urgency, now);
                Next::Wake { device, urgency, reminder: false }
            }
            Plan::Remind(urgency, _) => {
                let reminders = entry.reminders.saturating_add(1);
                self.note_called(device, Entry { reminders, ..entry }, urgency, now);
                Next::Wake { device, urgency, reminder: true }
            }
            // Neither stands in those schedules.
            Plan::Call(_) | Plan::Rest(_) => Next::Sleep(Some(now)),
        }
    }

    fn note_called(&mut self, device: DeviceAddress, mut entry: Entry, urgency: Urgency, now: Instant) {
        entry.woken = Some(now);
        if urgency == Urgency::Urgent {
            entry.woken_urgently = Some(now);
        }
        self.replan(device, Entry { plan: Plan::Call(urgency), ..entry });
    }

    /// The waker has told the device. If it stays away, it is reminded.
    pub(super) fn told(&mut self, device: DeviceAddress, now: Instant) {
        let Some(entry) = self.devices.get(&device).copied() else { return };
        let entry = Entry { failures: 0, not_before: None, ..entry };
        let plan = match entry.plan {
            Plan::Call(urgency) => match self.backoff.reminder(device, entry.reminders) {
                Some(wait) => Plan::Remind(urgency, now + wait),
                None => Plan::Rest(self.rested(&entry).unwrap_or(now)),
            },
            plan => plan,
        };
        self.replan(device, Entry { plan, ..entry });
    }

    /// The waker has no way to tell the device.
    pub(super) fn given_up(&mut self, device: DeviceAddress, now: Instant) {
        let Some(entry) = self.devices.get(&device).copied() else { return };
        if let Plan::Call(_) = entry.plan {
            let until = self.rested(&entry).unwrap_or(now);
            self.replan(device, Entry { plan: Plan::Rest(until), failures: 0, not_before: None, ..entry });
        }
    }

    /// The waker could not tell the device, and perhaps how long to leave it alone. Says whether this is a
    /// wake-up of its own now: not if the device has come meanwhile, or is to be woken anyway.
    pub(super) fn failed(&mut self, device: DeviceAddress, wait: Option<Duration>, now: Instant) -> bool {
        let Some(entry) = self.devices.get(&device).copied() else { return false };
        let again = now + self.backoff.retry(device, entry.failures, wait);
        let entry = Entry {
            failures: entry.failures.saturating_add(1),
            not_before: wait.map(|wait| now + wait).max(entry.not_before),
            ..entry
        };
        match entry.plan {
            Plan::Call(urgency) => {
                self.replan(device, Entry { plan: Plan::Wake(urgency, again), ..entry });
                true
            }
            Plan::Wake(urgency, at) => {
                self.replan(device, Entry { plan: Plan::Wake(urgency, at.max(again)), ..entry });
                false
            }
            Plan::Remind(..) | Plan::Rest(_) => false,
        }
    }

    fn admit(&mut self, device: DeviceAddress, urgency: Urgency, wanted: Instant) -> Requested {
        let outcome = self.make_room(urgency);
        if outcome == Outcome::Refused {
            return Requested { outcome, sooner: false };
        }
        let entry = Entry {
            plan: Plan::Wake(urgency, wanted),
            woken: None,
            woken_urgently: None,
            not_before: None,
            failures: 0,
            reminders: 0,
        };
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
        if let Some((_, reminded)) = self.reminders.last().copied() {
            self.forget(reminded);
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
        let schedules = [&self.urgent, &self.non_urgent, &self.reminders];
        schedules.into_iter().map(first).chain([sweep]).flatten().min()
    }

    /// Puts an entry in place of the one there was, if any; says whether it is the first of its schedule.
    fn replan(&mut self, device: DeviceAddress, entry: Entry) -> bool {
        self.forget(device);
        self.devices.insert(device, entry);
        let Some((schedule, at)) = self.schedule(entry.plan) else { return false };
        schedule.insert((at, device));
        schedule.first().is_some_and(|(_, first)| *first == device)
    }

    fn forget(&mut self, device: DeviceAddress) {
        if let Some(entry) = self.devices.remove(&device)
            && let Some((schedule, at)) = self.schedule(entry.plan)
        {
            schedule.remove(&(at, device));
        }
    }

    /// Where a device of that plan stands, and at which time. One that is being called stands nowhere.
    fn schedule(&mut self, plan: Plan) -> Option<(&mut Schedule, Instant)> {
        match plan {
            Plan::Wake(Urgency::Urgent, at) => Some((&mut self.urgent, at)),
            Plan::Wake(Urgency::NonUrgent, at) => Some((&mut self.non_urgent, at)),
            Plan::Remind(_, at) => Some((&mut self.reminders, at)),
            Plan::Rest(at) => Some((&mut self.resting, at)),
            Plan::Call(_) => None,
        }
    }
}
