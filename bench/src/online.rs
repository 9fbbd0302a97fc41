//! Online pairs: messages that are delivered, acknowledged by the recipient and answered to the sender.

use std::{
    collections::VecDeque,
    future::{Future as _, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, Sleep, sleep, timeout},
};

use crate::{
    contestant::Contestant,
    histogram::{Histogram, Percentiles},
    link::{Incoming, Link, Party},
    meter::{Meter, Usage},
    template::Template,
};

/// How long the messages under way at the end may take before they count as lost.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// In the open loop a pair stops sending above this many unanswered messages, fewer than a server refuses;
/// what was due then is sent late and its latency counted from when it was due.
const OPEN_OUTSTANDING_MAX: usize = 100;
/// The runtime's timers fire up to this much late. A message that is sent within it counts as sent on
/// time, so that the timer's grain does not show up as the server's latency.
const TIMER_GRAIN: Duration = Duration::from_millis(2);

/// How the senders behave.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Load {
    /// Each pair keeps this many messages under way.
    Closed { outstanding: usize },
    /// All pairs together send this many messages a second, at random moments, however slow the answers.
    Open { per_second: u32 },
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OnlineResult {
    pub(crate) load: Load,
    pub(crate) pairs: usize,
    pub(crate) messages: u64,
    pub(crate) per_second: f64,
    /// Until the recipient had it and the sender its answer.
    pub(crate) latency: Percentiles,
    /// Until the recipient had it.
    pub(crate) delivery_latency: Percentiles,
    /// Until the sender had its answer.
    pub(crate) answer_latency: Percentiles,
    /// Server delivery receipts that the senders got and acknowledged: one more delivery for each message.
    pub(crate) receipts: u64,
    pub(crate) server_us_per_message: f64,
    pub(crate) generator_us_per_message: f64,
    pub(crate) usage: Usage,
}

/// A sender and a recipient, both connected.
#[derive(Debug)]
pub(crate) struct Pair {
    sender: Link,
    recipient: Link,
    template: Template,
    next: u64,
}

impl Pair {
    /// Pairs of the contestant's first parties.
    pub(crate) async fn connect_all(
        contestant: &Contestant,
        count: usize,
        content_len: usize,
    ) -> anyhow::Result<Vec<Self>> {
        let (senders, recipients) = contestant.parties[..2 * count].split_at(count);
        let mut pairs = Vec::with_capacity(count);
        for (sender, recipient) in senders.iter().zip(recipients) {
            pairs.push(Self::connect(contestant, sender, recipient, content_len).await?);
        }
        Ok(pairs)
    }

    async fn connect(
        contestant: &Contestant,
        sender: &Party,
        recipient: &Party,
        content_len: usize,
    ) -> anyhow::Result<Self> {
        let template = Template::new(recipient, content_len);
        let (sender, recipient) = (contestant.connect(sender).await?, contestant.connect(recipient).await?);
        Ok(Self { sender, recipient, template, next: 0 })
    }

    fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<anyhow::Result<()>> {
        match (self.sender.poll_io(cx), self.recipient.poll_io(cx)) {
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => {
                Poll::Ready(Err(anyhow::Error::from(error).context("connection lost during a measurement")))
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}

const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const DRAIN: u8 = 2;

/// Runs one measurement over all pairs and gives them back.
pub(crate) async fn run(
    pid: u32,
    pairs: Vec<Pair>,
    load: Load,
    warm_up: Duration,
    length: Duration,
) -> anyhow::Result<(Vec<Pair>, OnlineResult)> {
    let phase = Arc::new(AtomicU8::new(WARM_UP));
    let count = pairs.len();
    let mut tasks = JoinSet::new();
    for (index, pair) in pairs.into_iter().enumerate() {
        let driver = Driver::new(pair, load, Arc::clone(&phase));
        let pace = match load {
            Load::Closed { .. } => None,
            Load::Open { per_second } => Some(Pace::new(index as u64, count, per_second)),
        };
        tasks.spawn(driver.run(pace));
    }
    sleep(warm_up).await;
    let meter = Meter::start(pid)?;
    phase.store(MEASURE, Ordering::Relaxed);
    sleep(length).await;
    phase.store(DRAIN, Ordering::Relaxed);
    let usage = meter.stop()?;
    let drivers = timeout(DRAIN_TIMEOUT, tasks.join_all()).await;
    let drivers = drivers.context("messages were not delivered and answered in time")?;
    summarize(drivers, load, usage)
}

fn summarize(
    drivers: Vec<anyhow::Result<Driver>>,
    load: Load,
    usage: Usage,
) -> anyhow::Result<(Vec<Pair>, OnlineResult)> {
    let mut latency = [Histogram::new(), Histogram::new(), Histogram::new()];
    let mut receipts = 0;
    let mut pairs = Vec::new();
    for driver in drivers {
        let driver = driver?;
        for (sum, more) in latency.iter_mut().zip(&driver.latency) {
            sum.merge(more);
        }
        receipts += driver.receipts;
        pairs.push(driver.pair);
    }
    let [both, delivery, answer] = latency.map(|histogram| histogram.percentiles());
    let messages = both.count;
    let result = OnlineResult {
        load,
        pairs: pairs.len(),
        messages,
        per_second: usage.rate(messages),
        latency: both,
        delivery_latency: delivery,
        answer_latency: answer,
        receipts,
        server_us_per_message: usage.server_us(messages),
        generator_us_per_message: usage.generator_us(messages),
        usage,
    };
    Ok((pairs, result))
}

/// A message under way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    delivered: bool,
    answered: bool,
}

/// Drives one pair in one task, so that nothing is shared and nobody waits for a lock.
struct Driver {
    pair: Pair,
    phase: Arc<AtomicU8>,
    outstanding_max: usize,
    /// The oldest one's number is `first`.
    under_way: VecDeque<Sent>,
    first: u64,
    unfinished: usize,
    /// Until both, until delivered, until answered.
    latency: [Histogram; 3],
    receipts: u64,
}

impl Driver {
    fn new(pair: Pair, load: Load, phase: Arc<AtomicU8>) -> Self {
        let outstanding_max = match load {
            Load::Closed { outstanding } => outstanding,
            Load::Open { .. } => OPEN_OUTSTANDING_MAX,
        };
        let first = pair.next;
        let latency = [Histogram::new(), Histogram::new(), Histogram::new()];
        let under_way = VecDeque::new();
        Self { pair, phase, outstanding_max, under_way, first, unfinished: 0, latency, receipts: 0 }
    }

    async fn run(mut self, mut pace: Option<Pace>) -> anyhow::Result<Self> {
        let mut timer = pin!(sleep(Duration::ZERO));
        loop {
            let phase = self.phase.load(Ordering::Relaxed);
            self.take_deliveries(phase == MEASURE)?;
            self.take_answers(phase == MEASURE)?;
            if phase == DRAIN {
                if self.unfinished == 0 {
                    return Ok(self);
                }
            } else {
                match &mut pace {
                    None => self.send_allowed(),
                    Some(pace) => self.send_due(pace, timer.as_mut()),
                }
            }
            let paced = pace.is_some() && phase != DRAIN && self.unfinished < self.outstanding_max;
            poll_fn(|cx| match self.pair.poll_io(cx) {
                Poll::Pending if paced => timer.as_mut().poll(cx).map(Ok),
                polled => polled,
            })
            .await?;
        }
    }

    fn send_allowed(&mut self) {
        if self.unfinished < self.outstanding_max {
            let now = Instant::now();
            while self.unfinished < self.outstanding_max {
                self.send(now);
            }
        }
    }

    fn send_due(&mut self, pace: &mut Pace, timer: std::pin::Pin<&mut Sleep>) {
        let now = Instant::now();
        while pace.due <= now && self.unfinished < self.outstanding_max {
            self.send(if now - pace.due <= TIMER_GRAIN { now } else { pace.due });
            pace.advance();
        }
        timer.reset(pace.due);
    }

    fn send(&mut self, at: Instant) {
        let request = self.pair.template.numbered(self.pair.next);
        self.pair.sender.queue(request);
        self.pair.next += 1;
        self.unfinished += 1;
        self.under_way.push_back(Sent { at, delivered: false, answered: false });
    }

    fn take_deliveries(&mut self, measured: bool) -> anyhow::Result<()> {
        while let Some(incoming) = self.pair.recipient.received()? {
            let Incoming::Delivery { token, number } = incoming else {
                bail!("the recipient got {incoming:?}")
            };
            self.pair.recipient.queue_ack(token);
            self.settle(number, true, measured)?;
        }
        Ok(())
    }

    fn take_answers(&mut self, measured: bool) -> anyhow::Result<()> {
        while let Some(incoming) = self.pair.sender.received()? {
            match incoming {
                Incoming::Answer { number } => self.settle(number, false, measured)?,
                Incoming::Receipt { token } => {
                    self.pair.sender.queue_ack(token);
                    self.receipts += u64::from(measured);
                }
                other => bail!("the sender got {other:?}"),
            }
        }
        Ok(())
    }

    /// Notes that a message was delivered, or else answered.
    fn settle(&mut self, number: u64, delivery: bool, measured: bool) -> anyhow::Result<()> {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let sent =
            index.and_then(|index| self.under_way.get_mut(index)).context("delivered or answered twice")?;
        let done = if delivery { &mut sent.delivered } else { &mut sent.answered };
        ensure!(!*done, "delivered or answered twice");
        *done = true;
        let both = sent.delivered && sent.answered;
        if measured {
            let latency = sent.at.elapsed();
            self.latency[if delivery { 1 } else { 2 }].record(latency);
            if both {
                self.latency[0].record(latency);
            }
        }
        if both {
            self.unfinished -= 1;
            while self.under_way.front().is_some_and(|sent| sent.delivered && sent.answered) {
                self.under_way.pop_front();
                self.first += 1;
            }
        }
        Ok(())
    }
}

/// When a pair's next message is due in the open loop: a Poisson process.
#[derive(Debug)]
struct Pace {
    due: Instant,
    mean: Duration,
    rng: SmallRng,
}

impl Pace {
    fn new(seed: u64, pairs: usize, per_second: u32) -> Self {
        let mean = Duration::from_secs(pairs as u64) / per_second.max(1);
        let mut pace = Self { due: Instant::now(), mean, rng: SmallRng::seed_from_u64(seed) };
        pace.advance();
        pace
    }

    fn advance(&mut self) {
        // Never zero, so that the logarithm is finite.
        let uniform: f64 = 1.0 - self.rng.random::<f64>();
        self.due += self.mean.mul_f64(-uniform.ln());
    }
}
