//! Messages to recipients who are away: storing them, and handing them over when the recipients return.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use testkit::{Target, process};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    contestant::Contestant,
    histogram::{Histogram, Percentiles},
    link::{Incoming, Link, Party},
    meter::{Meter, Usage},
    template::Template,
};

const DRAIN_TIMEOUT: Duration = Duration::from_mins(2);
/// Recipients who return at the same moment: all of a usual run.
const RETURNING_AT_ONCE: usize = 100;
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// How often the server's memory is looked at while it hands over a queue.
const MEMORY_INTERVAL: Duration = Duration::from_millis(50);

/// Storing for recipients who are away.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StoredResult {
    pub(crate) senders: usize,
    pub(crate) recipients: usize,
    pub(crate) outstanding: usize,
    pub(crate) messages: u64,
    pub(crate) per_second: f64,
    /// Until the sender had its answer, which says that the message is durable.
    pub(crate) latency: Percentiles,
    pub(crate) server_us_per_message: f64,
    pub(crate) generator_us_per_message: f64,
    pub(crate) usage: Usage,
    pub(crate) drain: DrainResult,
}

/// The recipients' return: connecting, receiving and acknowledging everything.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DrainResult {
    pub(crate) sockets: usize,
    pub(crate) messages: u64,
    pub(crate) per_second: f64,
    /// Answered to the sender and not delivered.
    pub(crate) lost: u64,
    /// Delivery receipts that had reached the senders, who stay connected, when the last message arrived.
    pub(crate) receipts: u64,
    pub(crate) server_us_per_message: f64,
    pub(crate) generator_us_per_message: f64,
    /// The server's resident memory before, and at most while it handed over.
    pub(crate) rss_before_kib: u64,
    pub(crate) rss_max_kib: u64,
    pub(crate) usage: Usage,
}

/// How much to store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredPlan {
    pub(crate) outstanding: usize,
    pub(crate) content_len: usize,
    pub(crate) warm_up: Duration,
    pub(crate) amount: Amount,
}

/// When storing ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Amount {
    /// After that time.
    For(Duration),
    /// When so many have been accepted since the warm-up began.
    Messages(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    WarmUp,
    Measure,
    /// No more sending; the receipts that the drain causes are still acknowledged.
    Listen,
    End,
}

/// What the senders' tasks count.
#[derive(Debug, Default)]
struct Counts {
    sending: AtomicU64,
    accepted: AtomicU64,
    receipts: AtomicU64,
}

/// Stores, then drains. Each sender writes to its own share of the recipients in turn; where there are fewer
/// recipients than senders, to all of them.
pub(crate) async fn run(
    contestant: &Contestant,
    senders: &[Party],
    recipients: &[Party],
    plan: StoredPlan,
) -> anyhow::Result<StoredResult> {
    let store = Store::begin(contestant, senders, recipients, plan).await?;
    store.finish(contestant, recipients).await
}

/// Senders at work.
pub(crate) struct Store {
    plan: StoredPlan,
    counts: Arc<Counts>,
    phase: watch::Sender<Phase>,
    tasks: JoinSet<anyhow::Result<Histogram>>,
    senders: usize,
    usage: Usage,
}

impl Store {
    /// Stores as much as planned. The senders stay connected, for the receipts to come.
    pub(crate) async fn begin(
        contestant: &Contestant,
        senders: &[Party],
        recipients: &[Party],
        plan: StoredPlan,
    ) -> anyhow::Result<Self> {
        let counts = Arc::new(Counts::default());
        counts.sending.store(senders.len() as u64, Ordering::Relaxed);
        let (phase, phases) = watch::channel(Phase::WarmUp);
        let mut tasks = JoinSet::new();
        for (index, party) in senders.iter().enumerate() {
            let link = contestant.connect(party).await?;
            let step = senders.len().min(recipients.len());
            let own = recipients.iter().skip(index % step).step_by(step);
            let templates: Vec<_> = own.map(|party| Template::new(party, plan.content_len)).collect();
            ensure!(!templates.is_empty(), "no recipients");
            let sender = Sender::new(link, templates, plan.outstanding, Arc::clone(&counts));
            tasks.spawn(sender.run(phases.clone()));
        }
        let senders = senders.len();
        let mut store = Self { plan, counts, phase, tasks, senders, usage: Usage::default() };
        store.send(contestant.pid()).await?;
        Ok(store)
    }

    /// Stores more, on the same connections.
    pub(crate) async fn go_on(&mut self, pid: u32, plan: StoredPlan) -> anyhow::Result<()> {
        self.plan = plan;
        self.counts.sending.store(self.senders as u64, Ordering::Relaxed);
        self.phase.send_replace(Phase::WarmUp);
        self.send(pid).await
    }

    async fn send(&mut self, pid: u32) -> anyhow::Result<()> {
        sleep(self.plan.warm_up).await;
        let meter = Meter::start(pid)?;
        self.phase.send_replace(Phase::Measure);
        match self.plan.amount {
            Amount::For(length) => sleep(length).await,
            Amount::Messages(wanted) => {
                while self.accepted() < wanted {
                    self.pause()?.await;
                }
            }
        }
        self.phase.send_replace(Phase::Listen);
        self.usage = meter.stop()?;
        while self.counts.sending.load(Ordering::Relaxed) > 0 {
            self.pause()?.await;
        }
        Ok(())
    }

    /// A moment, unless a sender has failed.
    fn pause(&mut self) -> anyhow::Result<impl Future<Output = ()> + use<>> {
        if let Some(ended) = self.tasks.try_join_next() {
            ended??;
            bail!("a sender ended early");
        }
        Ok(sleep(POLL_INTERVAL))
    }

    /// Messages accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    /// Has the recipients fetch everything and ends the senders.
    pub(crate) async fn finish(
        self,
        contestant: &Contestant,
        recipients: &[Party],
    ) -> anyhow::Result<StoredResult> {
        let mut drained = drain(contestant, recipients).await?;
        drained.lost = self.accepted().saturating_sub(drained.messages);
        drained.receipts = self.counts.receipts.load(Ordering::Relaxed);
        self.phase.send_replace(Phase::End);
        let mut latency = Histogram::new();
        for sender in self.tasks.join_all().await {
            latency.merge(&sender?);
        }
        let (latency, usage) = (latency.percentiles(), self.usage);
        let messages = latency.count;
        Ok(StoredResult {
            senders: self.senders,
            recipients: recipients.len(),
            outstanding: self.plan.outstanding,
            messages,
            per_second: usage.rate(messages),
            latency,
            server_us_per_message: usage.server_us(messages),
            generator_us_per_message: usage.generator_us(messages),
            usage,
            drain: drained,
        })
    }
}

/// Connects all of them, a hundred at a time, and takes everything that waits.
pub(crate) async fn drain(contestant: &Contestant, recipients: &[Party]) -> anyhow::Result<DrainResult> {
    let pid = contestant.pid();
    let rss_before_kib = process::resident_kib(pid)?;
    let meter = Meter::start(pid)?;
    let counts = stream::iter(recipients.iter().cloned())
        .map(|party| {
            let target = contestant.target().clone();
            async move { tokio::spawn(async move { receive_all(&target, &party).await }).await? }
        })
        .buffer_unordered(RETURNING_AT_ONCE)
        .try_collect::<Vec<u64>>();
    let drained = timeout(DRAIN_TIMEOUT, watched(pid, counts)).await;
    let (counts, rss_max_kib) = drained.context("the queues were not drained in time")??;
    let usage = meter.stop()?;
    let messages = counts.iter().sum();
    Ok(DrainResult {
        sockets: recipients.len(),
        messages,
        per_second: usage.rate(messages),
        lost: 0,
        receipts: 0,
        server_us_per_message: usage.server_us(messages),
        generator_us_per_message: usage.generator_us(messages),
        rss_before_kib,
        rss_max_kib,
        usage,
    })
}

/// Looks at the memory of that process until the work is done, and says how much it was at most.
async fn watched<T>(pid: u32, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<(T, u64)> {
    let mut work = std::pin::pin!(work);
    let mut most = 0;
    loop {
        most = most.max(process::resident_kib(pid)?);
        if let Ok(done) = timeout(MEMORY_INTERVAL, work.as_mut()).await {
            return Ok((done?, most.max(process::resident_kib(pid)?)));
        }
    }
}

/// Connects, acknowledges everything until the queue is empty, and returns how many messages there were.
async fn receive_all(target: &Target, party: &Party) -> anyhow::Result<u64> {
    Link::connect(target, party).await?.drain().await
}

/// One sender's task: sends while it may, then goes on acknowledging the receipts it gets.
struct Sender {
    link: Link,
    templates: Vec<Template>,
    outstanding: usize,
    counts: Arc<Counts>,
    /// When the message with this number, modulo the length, was sent.
    sent_at: Vec<Instant>,
    next: u64,
    under_way: usize,
    latency: Histogram,
}

impl Sender {
    fn new(link: Link, templates: Vec<Template>, outstanding: usize, counts: Arc<Counts>) -> Self {
        // Room for answers that come out of order.
        let sent_at = vec![Instant::now(); outstanding.next_power_of_two() * 64];
        let latency = Histogram::new();
        Self { link, templates, outstanding, counts, sent_at, next: 0, under_way: 0, latency }
    }

    async fn run(mut self, mut phases: watch::Receiver<Phase>) -> anyhow::Result<Histogram> {
        let mut listening = false;
        loop {
            let phase = *phases.borrow_and_update();
            self.take_answers(phase == Phase::Measure)?;
            if phase < Phase::Listen {
                listening = false;
                self.send_allowed();
            } else if !listening && self.under_way == 0 {
                listening = true;
                self.counts.sending.fetch_sub(1, Ordering::Relaxed);
            }
            if phase == Phase::End {
                return Ok(self.latency);
            }
            tokio::select! {
                io = poll_fn(|cx| self.link.poll_io(cx)) => io?,
                changed = phases.changed() => changed?,
            }
        }
    }

    fn slot(&mut self, number: u64) -> &mut Instant {
        let len = self.sent_at.len() as u64;
        &mut self.sent_at[usize::try_from(number % len).unwrap_or(0)]
    }

    fn send_allowed(&mut self) {
        let now = Instant::now();
        while self.under_way < self.outstanding {
            let number = self.next;
            let to = usize::try_from(number % self.templates.len() as u64).unwrap_or(0);
            self.link.queue(self.templates[to].numbered(number));
            *self.slot(number) = now;
            self.next += 1;
            self.under_way += 1;
        }
    }

    fn take_answers(&mut self, measured: bool) -> anyhow::Result<()> {
        while let Some(incoming) = self.link.received()? {
            match incoming {
                Incoming::Answer { number } => {
                    self.under_way -= 1;
                    self.counts.accepted.fetch_add(1, Ordering::Relaxed);
                    if measured {
                        let latency = self.slot(number).elapsed();
                        self.latency.record(latency);
                    }
                }
                Incoming::Receipt { token } => {
                    self.link.queue_ack(token);
                    self.counts.receipts.fetch_add(1, Ordering::Relaxed);
                }
                other => bail!("the sender got {other:?}"),
            }
        }
        Ok(())
    }
}
