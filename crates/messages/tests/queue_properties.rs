//! Whatever the order of sending, connecting, reading, acknowledging, committing, expiring and crashing:
//! what a sender was promised is delivered or expires; it comes in order, until it is acknowledged, and not
//! afterwards.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{collections::BTreeSet, time::Duration};

use messages::{MessageQueue, QueueConfig, QueuedEnvelope, Subscription, Urgency, queue::Delivery};
use proptest::prelude::*;
use protocol::{DeviceAddress, ambient::ManualClock};
use support::{TestStore, device, label, number, open_at, start};
use tokio::task::JoinHandle;

const URGENT: Urgency = Urgency::Urgent;
const DEVICES: usize = 3;
const LIFETIME: Duration = Duration::from_mins(10);

#[derive(Clone, Debug)]
enum Step {
    /// To one device.
    Send(usize),
    /// One body to all devices.
    SendToAll,
    Connect(usize),
    Disconnect(usize),
    Read(usize, usize),
    /// Acknowledges one of those read and not acknowledged.
    Acknowledge(usize, prop::sample::Index),
    /// Lets time pass: graces end, commits happen.
    Wait(u64),
    FailCommits(bool),
    /// Lets so many minutes pass, and what is past its lifetime expire.
    Age(u64),
    /// The process is killed and started again on the same store.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = 0..DEVICES;
    let step = prop_oneof![
        6 => one.clone().prop_map(Step::Send),
        3 => Just(Step::SendToAll),
        3 => one.clone().prop_map(Step::Connect),
        1 => one.clone().prop_map(Step::Disconnect),
        8 => (one.clone(), 1_usize..8).prop_map(|(device, max)| Step::Read(device, max)),
        6 => (one, any::<prop::sample::Index>()).prop_map(|(device, which)| Step::Acknowledge(device, which)),
        4 => (0_u64..40).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::FailCommits),
        1 => (0_u64..9).prop_map(Step::Age),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..120)
}

/// One device's side.
#[derive(Default)]
struct Device {
    reader: Option<Subscription>,
    promised: BTreeSet<u32>,
    acknowledged: BTreeSet<u32>,
    /// Acknowledged since the last crash, and before it where the store knows: must not come again.
    settled: BTreeSet<u32>,
    unanswered: Vec<Delivery>,
    last_read: Option<u32>,
}

/// The queue, what was promised of it and what was seen.
struct World {
    clock: ManualClock,
    store: TestStore,
    queue: MessageQueue,
    devices: [Device; DEVICES],
    /// Minute in which each message was sent.
    sent: Vec<u64>,
    minute: u64,
    /// Messages sent up to this minute may be gone.
    expired_to: Option<u64>,
    /// Waiting for an answer: number, device and answer.
    senders: Vec<(u32, usize, JoinHandle<bool>)>,
}

fn address(index: usize) -> DeviceAddress {
    device(index as u128)
}

fn config() -> QueueConfig {
    QueueConfig { lifetime: LIFETIME, ..QueueConfig::default() }
}

impl World {
    async fn new() -> Self {
        let (clock, store) = (ManualClock::new(start()), TestStore::default());
        Self {
            queue: open_at(&store, config(), clock.clone()).await,
            clock,
            store,
            devices: Default::default(),
            sent: Vec::new(),
            minute: 0,
            expired_to: None,
            senders: Vec::new(),
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Send(to) => {
                let envelope = label(self.next_number()).into();
                self.send(to, envelope);
            }
            Step::SendToAll => {
                let text = label(self.next_number());
                let body = self.queue.share(text.slice(2..)).unwrap();
                for to in 0..DEVICES {
                    self.send(to, QueuedEnvelope { head: text.slice(..2), shared: Some(body.clone()) });
                }
            }
            Step::Connect(at) => {
                self.devices[at].forget_reading();
                self.devices[at].reader = Some(self.queue.subscribe(address(at)));
            }
            Step::Disconnect(at) => {
                self.devices[at].reader = None;
                self.devices[at].forget_reading();
            }
            Step::Read(at, max) => self.devices[at].read(max).await,
            Step::Acknowledge(at, which) => self.devices[at].acknowledge(which),
            Step::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Step::FailCommits(fail) => self.store.fail(fail),
            Step::Age(minutes) => self.age(minutes).await,
            Step::Crash => self.crash().await,
        }
        self.hear_answers().await;
    }

    fn next_number(&mut self) -> u32 {
        self.sent.push(self.minute);
        u32::try_from(self.sent.len() - 1).unwrap()
    }

    fn send(&mut self, to: usize, envelope: QueuedEnvelope) {
        let number = number(&envelope);
        let accepted = self.queue.append(address(to), envelope, URGENT).unwrap();
        let answer = tokio::spawn(async move { accepted.settled().await.is_ok() });
        self.senders.push((number, to, answer));
    }

    async fn age(&mut self, minutes: u64) {
        self.clock.advance(Duration::from_mins(minutes));
        self.minute += minutes;
        self.queue.expire().await.unwrap();
        self.expired_to = self.minute.checked_sub(LIFETIME.as_secs() / 60);
    }

    async fn hear_answers(&mut self) {
        tokio::task::yield_now().await;
        let (done, waiting): (Vec<_>, _) =
            std::mem::take(&mut self.senders).into_iter().partition(|(.., answer)| answer.is_finished());
        self.senders = waiting;
        for (number, to, answer) in done {
            if answer.await.unwrap() {
                self.devices[to].promised.insert(number);
            }
        }
    }

    async fn crash(&mut self) {
        self.hear_answers().await;
        self.senders.clear();
        // What the dead process still has under way must not reach the store it left behind.
        let survived = self.store.copy();
        for (index, device) in self.devices.iter_mut().enumerate() {
            device.reader = None;
            device.forget_reading();
            // Acknowledgements that had not reached the store are forgotten with the process.
            for number in survived.labels(address(index)) {
                device.settled.remove(&number);
            }
        }
        self.queue = open_at(&survived, config(), self.clock.clone()).await;
        self.store = survived;
    }

    /// Everything promised is there, was acknowledged, or has expired.
    async fn check(mut self) {
        self.store.fail(false);
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.hear_answers().await;
        for index in 0..DEVICES {
            self.take(Step::Connect(index)).await;
            let device = &mut self.devices[index];
            device.read_all().await;
            let delivered: BTreeSet<_> =
                device.unanswered.iter().map(|delivery| number(&delivery.envelope)).collect();
            let expired = |n: u32| self.expired_to.is_some_and(|to| self.sent[n as usize] <= to);
            let missing: Vec<_> = device
                .promised
                .iter()
                .filter(|n| !delivered.contains(n) && !device.acknowledged.contains(n) && !expired(**n))
                .collect();
            assert!(missing.is_empty(), "promised to device {index} and lost: {missing:?}");
        }
    }
}

impl Device {
    fn forget_reading(&mut self) {
        self.unanswered.clear();
        self.last_read = None;
    }

    async fn read(&mut self, max: usize) {
        let Some(reader) = &mut self.reader else { return };
        for delivery in reader.read(max).await.unwrap() {
            let number = number(&delivery.envelope);
            let last = self.last_read;
            assert!(last.is_none_or(|last| last < number), "order: {number} after {last:?}");
            assert!(!self.settled.contains(&number), "{number} was acknowledged");
            self.last_read = Some(number);
            self.unanswered.push(delivery);
        }
    }

    async fn read_all(&mut self) {
        loop {
            let before = self.unanswered.len();
            self.read(7).await;
            if self.unanswered.len() == before {
                return;
            }
        }
    }

    fn acknowledge(&mut self, which: prop::sample::Index) {
        let Some(reader) = self.reader.as_ref().filter(|_| !self.unanswered.is_empty()) else { return };
        let delivery = self.unanswered.remove(which.index(self.unanswered.len()));
        reader.acknowledge(&[delivery.position]);
        self.acknowledged.insert(number(&delivery.envelope));
        self.settled.insert(number(&delivery.envelope));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_was_promised_is_delivered(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.take(step).await;
            }
            world.check().await;
        });
    }
}
