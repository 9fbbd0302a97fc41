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
use testkit::{
    Account, ChatSocket, Event, Target, websocket,
    wire::{EnvelopeView, FrameView, RECEIPT},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    histogram::{Histogram, Percentiles},
    meter::{Meter, Usage},
    template::{Template, answered_number},
};

const DRAIN_TIMEOUT: Duration = Duration::from_mins(1);
/// Recipients who return at the same moment: TLS handshakes beyond this only queue up in the server.
const RETURNING_AT_ONCE: usize = 32;

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
    pub(crate) messages: u64,
    pub(crate) per_second: f64,
    /// Answered to the sender and not delivered.
    pub(crate) lost: u64,
    /// Delivery receipts that had reached the senders, who stay connected, when the last message arrived.
    pub(crate) receipts: u64,
    pub(crate) server_us_per_message: f64,
    pub(crate) generator_us_per_message: f64,
    pub(crate) usage: Usage,
}

/// How much to store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredPlan {
    pub(crate) outstanding: usize,
    pub(crate) content_len: usize,
    pub(crate) warm_up: Duration,
    pub(crate) length: Duration,
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

/// Stores, then drains. Each sender writes to its own share of the recipients in turn.
pub(crate) async fn run(
    pid: u32,
    target: &Target,
    senders: &[Account],
    recipients: &[Account],
    plan: StoredPlan,
) -> anyhow::Result<StoredResult> {
    let counts = Arc::new(Counts::default());
    counts.sending.store(senders.len() as u64, Ordering::Relaxed);
    let (phase, phases) = watch::channel(Phase::WarmUp);
    let mut tasks = JoinSet::new();
    for (index, account) in senders.iter().enumerate() {
        let socket = ChatSocket::connect(target, Some(account)).await?;
        let own = recipients.iter().skip(index).step_by(senders.len());
        let templates: Vec<_> = own.map(|account| Template::new(account, plan.content_len)).collect();
        ensure!(!templates.is_empty(), "fewer recipients than senders");
        let sender = Sender::new(socket, templates, plan.outstanding, Arc::clone(&counts));
        tasks.spawn(sender.run(phases.clone()));
    }
    sleep(plan.warm_up).await;
    let meter = Meter::start(pid)?;
    phase.send_replace(Phase::Measure);
    sleep(plan.length).await;
    phase.send_replace(Phase::Listen);
    let usage = meter.stop()?;
    while counts.sending.load(Ordering::Relaxed) > 0 {
        sleep(Duration::from_millis(5)).await;
        if let Some(ended) = tasks.try_join_next() {
            ended??;
            bail!("a sender ended early");
        }
    }
    let drained = drain(pid, target, recipients, &counts).await;
    phase.send_replace(Phase::End);
    let mut latency = Histogram::new();
    for sender in tasks.join_all().await {
        latency.merge(&sender?);
    }
    let latency = latency.percentiles();
    let messages = latency.count;
    Ok(StoredResult {
        senders: senders.len(),
        recipients: recipients.len(),
        outstanding: plan.outstanding,
        messages,
        per_second: usage.rate(messages),
        latency,
        server_us_per_message: usage.server_us(messages),
        generator_us_per_message: usage.generator_us(messages),
        usage,
        drain: drained?,
    })
}

async fn drain(
    pid: u32,
    target: &Target,
    recipients: &[Account],
    totals: &Counts,
) -> anyhow::Result<DrainResult> {
    let meter = Meter::start(pid)?;
    let counts = stream::iter(recipients.iter().cloned())
        .map(|account| {
            let target = target.clone();
            async move { tokio::spawn(async move { receive_all(&target, &account).await }).await? }
        })
        .buffer_unordered(RETURNING_AT_ONCE)
        .try_collect::<Vec<u64>>();
    let counts = timeout(DRAIN_TIMEOUT, counts).await.context("the queues were not drained in time")??;
    let usage = meter.stop()?;
    let messages = counts.iter().sum();
    Ok(DrainResult {
        messages,
        per_second: usage.rate(messages),
        lost: totals.accepted.load(Ordering::Relaxed).saturating_sub(messages),
        receipts: totals.receipts.load(Ordering::Relaxed),
        server_us_per_message: usage.server_us(messages),
        generator_us_per_message: usage.generator_us(messages),
        usage,
    })
}

/// Connects, acknowledges everything until the queue is empty, and returns how many messages there were.
async fn receive_all(target: &Target, account: &Account) -> anyhow::Result<u64> {
    let mut socket = ChatSocket::connect(target, Some(account)).await?;
    let mut count = 0;
    loop {
        let id = match socket.received()? {
            None => {
                poll_fn(|cx| socket.poll_io(cx)).await?;
                continue;
            }
            Some(Event::Frame(FrameView::Request(request))) if request.is_delivery() => request.id,
            Some(Event::Frame(FrameView::Request(request))) if request.is_queue_empty() => break,
            Some(other) => bail!("the recipient got {other:?}"),
        };
        socket.queue_ack(id);
        count += 1;
    }
    // The last acknowledgements must arrive before the connection ends.
    socket.flush().await?;
    Ok(count)
}

/// One sender's task: sends while it may, then goes on acknowledging the receipts it gets.
struct Sender {
    socket: ChatSocket,
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
    fn new(socket: ChatSocket, templates: Vec<Template>, outstanding: usize, counts: Arc<Counts>) -> Self {
        // Room for answers that come out of order.
        let sent_at = vec![Instant::now(); outstanding.next_power_of_two() * 64];
        let latency = Histogram::new();
        Self { socket, templates, outstanding, counts, sent_at, next: 0, under_way: 0, latency }
    }

    async fn run(mut self, mut phases: watch::Receiver<Phase>) -> anyhow::Result<Histogram> {
        let mut listening = false;
        loop {
            let phase = *phases.borrow_and_update();
            self.take_answers(phase == Phase::Measure)?;
            if phase < Phase::Listen {
                self.send_allowed();
            } else if !listening && self.under_way == 0 {
                listening = true;
                self.counts.sending.fetch_sub(1, Ordering::Relaxed);
            }
            if phase == Phase::End {
                return Ok(self.latency);
            }
            tokio::select! {
                io = poll_fn(|cx| self.socket.poll_io(cx)) => io?,
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
            self.socket.queue_frame(websocket::BINARY, self.templates[to].numbered(number));
            *self.slot(number) = now;
            self.next += 1;
            self.under_way += 1;
        }
    }

    fn take_answers(&mut self, measured: bool) -> anyhow::Result<()> {
        loop {
            let number = match self.socket.received()? {
                None => return Ok(()),
                Some(Event::Frame(FrameView::Response(response))) => {
                    ensure!(response.status == 200, "a message was answered with {}", response.status);
                    answered_number(response.id).context("an answer to nothing")?
                }
                Some(Event::Frame(FrameView::Request(request))) => {
                    if request.is_delivery() {
                        let kind = EnvelopeView::parse(request.body)?.kind;
                        ensure!(kind == RECEIPT, "the sender got an envelope of type {kind}");
                        let id = request.id;
                        self.socket.queue_ack(id);
                        self.counts.receipts.fetch_add(1, Ordering::Relaxed);
                    }
                    continue;
                }
                Some(Event::Close(code, reason)) => bail!("closed with {code} {reason:?}"),
            };
            self.under_way -= 1;
            self.counts.accepted.fetch_add(1, Ordering::Relaxed);
            if measured {
                let latency = self.slot(number).elapsed();
                self.latency.record(latency);
            }
        }
    }
}
