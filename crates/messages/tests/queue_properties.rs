//! Whatever the order of sending, connecting, reading, acknowledging, committing and crashing: what a
//! sender was promised is delivered, in order, until it is acknowledged, and not afterwards.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{collections::BTreeSet, time::Duration};

use messages::{MessageQueue, QueueConfig, Subscription, queue::Delivery};
use proptest::prelude::*;
use support::{TestStore, device, label, number, open_with};
use tokio::task::JoinHandle;

#[derive(Clone, Debug)]
enum Step {
    Send,
    Connect,
    Disconnect,
    Read(usize),
    /// Acknowledges one of those read and not acknowledged.
    Acknowledge(prop::sample::Index),
    /// Lets time pass: graces end, commits happen.
    Wait(u64),
    FailCommits(bool),
    /// The process is killed and started again on the same store.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Send),
        2 => Just(Step::Connect),
        1 => Just(Step::Disconnect),
        5 => (1_usize..8).prop_map(Step::Read),
        4 => any::<prop::sample::Index>().prop_map(Step::Acknowledge),
        4 => (0_u64..40).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::FailCommits),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..120)
}

/// The queue, what was promised of it and what was seen.
struct World {
    store: TestStore,
    queue: MessageQueue,
    reader: Option<Subscription>,
    sent: u32,
    /// Waiting for an answer: number and answer.
    senders: Vec<(u32, JoinHandle<bool>)>,
    promised: BTreeSet<u32>,
    acknowledged: BTreeSet<u32>,
    /// Acknowledged since the last crash, and before it where the store knows: must not come again.
    settled: BTreeSet<u32>,
    unanswered: Vec<Delivery>,
    last_read: Option<u32>,
}

impl World {
    async fn new() -> Self {
        let (queue, store) = open_with(TestStore::default(), QueueConfig::default()).await;
        Self {
            store,
            queue,
            reader: None,
            sent: 0,
            senders: Vec::new(),
            promised: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            settled: BTreeSet::new(),
            unanswered: Vec::new(),
            last_read: None,
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Send => {
                let accepted = self.queue.append(device(1), label(self.sent)).unwrap();
                let answer = tokio::spawn(async move { accepted.settled().await.is_ok() });
                self.senders.push((self.sent, answer));
                self.sent += 1;
            }
            Step::Connect => {
                self.reader = Some(self.queue.subscribe(device(1)));
                self.forget_reading();
            }
            Step::Disconnect => {
                self.reader = None;
                self.forget_reading();
            }
            Step::Read(max) => self.read(max).await,
            Step::Acknowledge(which) => self.acknowledge(which),
            Step::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Step::FailCommits(fail) => self.store.fail(fail),
            Step::Crash => self.crash().await,
        }
        self.hear_answers().await;
    }

    fn forget_reading(&mut self) {
        self.unanswered.clear();
        self.last_read = None;
    }

    async fn read(&mut self, max: usize) {
        let Some(reader) = &mut self.reader else { return };
        for delivery in reader.read(max).await.unwrap() {
            let number = number(&delivery.envelope);
            assert!(
                self.last_read.is_none_or(|last| last < number),
                "order: {number} after {:?}",
                self.last_read
            );
            assert!(!self.settled.contains(&number), "{number} was acknowledged");
            self.last_read = Some(number);
            self.unanswered.push(delivery);
        }
    }

    fn acknowledge(&mut self, which: prop::sample::Index) {
        let Some(reader) = self.reader.as_ref().filter(|_| !self.unanswered.is_empty()) else { return };
        let delivery = self.unanswered.remove(which.index(self.unanswered.len()));
        reader.acknowledge(delivery.position);
        self.acknowledged.insert(number(&delivery.envelope));
        self.settled.insert(number(&delivery.envelope));
    }

    async fn hear_answers(&mut self) {
        tokio::task::yield_now().await;
        let (done, waiting) =
            std::mem::take(&mut self.senders).into_iter().partition(|(_, answer)| answer.is_finished());
        self.senders = waiting;
        let done: Vec<(u32, JoinHandle<bool>)> = done;
        for (number, answer) in done {
            if answer.await.unwrap() {
                self.promised.insert(number);
            }
        }
    }

    async fn crash(&mut self) {
        self.hear_answers().await;
        self.senders.clear();
        self.reader = None;
        self.forget_reading();
        // What the dead process still has under way must not reach the store it left behind.
        let survived = self.store.copy();
        // Acknowledgements that had not reached the store are forgotten with the process.
        for number in survived.labels(device(1)) {
            self.settled.remove(&number);
        }
        let (queue, store) = open_with(survived, QueueConfig::default()).await;
        (self.queue, self.store) = (queue, store);
    }

    /// Everything promised is there, or was acknowledged.
    async fn check(mut self) {
        self.store.fail(false);
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.hear_answers().await;
        self.take(Step::Connect).await;
        let mut delivered = BTreeSet::new();
        loop {
            let before = self.unanswered.len();
            self.read(7).await;
            if self.unanswered.len() == before {
                break;
            }
        }
        delivered.extend(self.unanswered.iter().map(|delivery| number(&delivery.envelope)));
        let missing: Vec<_> = self
            .promised
            .iter()
            .filter(|n| !delivered.contains(n) && !self.acknowledged.contains(n))
            .collect();
        assert!(missing.is_empty(), "promised and lost: {missing:?}");
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
