//! Multi-recipient messages to groups whose members are away: one request, a hundred deliveries to store.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use rand::Rng as _;
use serde::Serialize;
use testkit::{
    ChatSocket, Event,
    account::{ACCESS_KEY, base64},
    multi_recipient::{self, Recipient},
    wire::FrameView,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    contestant::Contestant,
    histogram::{Histogram, Percentiles},
    link::Party,
    meter::{Meter, Usage},
    options::Options,
    side_by_side::warm_up,
    stored::{self, DrainResult},
};

/// Anonymous sockets that send, and requests that each keeps under way.
const SENDERS: usize = 16;
const OUTSTANDING: usize = 4;

/// Multi-recipient messages, stored.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GroupResult {
    pub(crate) round: usize,
    pub(crate) recipients: usize,
    pub(crate) requests: u64,
    /// Recipients times requests.
    pub(crate) deliveries: u64,
    pub(crate) deliveries_per_second: f64,
    /// Until the sender had its answer, which says that all are durable.
    pub(crate) latency: Percentiles,
    pub(crate) server_us_per_delivery: f64,
    pub(crate) generator_us_per_delivery: f64,
    pub(crate) usage: Usage,
    pub(crate) drain: DrainResult,
}

/// Measures a group whose members then come back.
pub(crate) async fn measure(options: &Options) -> anyhow::Result<Vec<GroupResult>> {
    let contestant = Contestant::server(options, options.group).await?;
    let message = Arc::new(Message::new(&contestant.parties, options.size)?);
    let mut results = Vec::new();
    for round in 0..options.rounds {
        results.push(run(&contestant, &message, options, round).await?);
    }
    Ok(results)
}

async fn run(
    contestant: &Contestant,
    message: &Arc<Message>,
    options: &Options,
    round: usize,
) -> anyhow::Result<GroupResult> {
    let stop = Arc::new(AtomicBool::new(false));
    let measuring = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for _ in 0..SENDERS {
        let socket = ChatSocket::connect(contestant.target(), None).await?;
        tasks.spawn(send(socket, Arc::clone(message), Arc::clone(&measuring), Arc::clone(&stop)));
    }
    sleep(warm_up(options)).await;
    let meter = Meter::start(contestant.pid())?;
    measuring.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(options.seconds)).await;
    measuring.store(false, Ordering::Relaxed);
    let usage = meter.stop()?;
    stop.store(true, Ordering::Relaxed);
    let (mut accepted, mut latency) = (0, Histogram::new());
    for sender in tasks.join_all().await {
        let (own, more) = sender?;
        accepted += own;
        latency.merge(&more);
    }
    let mut drain = stored::drain(contestant, &contestant.parties).await?;
    let members = contestant.parties.len() as u64;
    drain.lost = (accepted * members).saturating_sub(drain.messages);
    let latency = latency.percentiles();
    let deliveries = latency.count * members;
    Ok(GroupResult {
        round,
        recipients: contestant.parties.len(),
        requests: latency.count,
        deliveries,
        deliveries_per_second: usage.rate(deliveries),
        latency,
        server_us_per_delivery: usage.server_us(deliveries),
        generator_us_per_delivery: usage.generator_us(deliveries),
        usage,
        drain,
    })
}

/// The one message that is sent again and again.
struct Message {
    body: Vec<u8>,
    access_key: String,
}

impl Message {
    /// `content_len` counts what each recipient gets.
    fn new(recipients: &[Party], content_len: usize) -> anyhow::Result<Self> {
        let mut shared = vec![0; content_len.saturating_sub(1 + multi_recipient::KEY_MATERIAL_LEN).max(32)];
        rand::rng().fill_bytes(&mut shared);
        let recipients = recipients.iter().map(|party| {
            let Party::Account(account) = party else { bail!("the floor knows no groups") };
            let mut key_material = [0; multi_recipient::KEY_MATERIAL_LEN];
            rand::rng().fill_bytes(&mut key_material);
            let devices = vec![(1, account.registration_id)];
            Ok(Recipient { aci: account.aci, devices, key_material })
        });
        let recipients: Vec<_> = recipients.collect::<anyhow::Result<_>>()?;
        let key = multi_recipient::combined_access_key(ACCESS_KEY, recipients.len());
        let access_key = format!("unidentified-access-key: {}", base64(&key));
        Ok(Self { body: multi_recipient::sent(&recipients, &shared), access_key })
    }

    fn queue(&self, socket: &mut ChatSocket) {
        let path = "/v1/messages/multi_recipient?ts=1700000000000&online=false&urgent=true&story=false";
        let content_type = format!("content-type: {}", multi_recipient::CONTENT_TYPE);
        socket.queue_request("PUT", path, &[&content_type, &self.access_key], &self.body);
    }
}

/// Keeps requests under way on one socket until told to stop. How many were accepted, and the latencies of
/// those that were measured.
async fn send(
    mut socket: ChatSocket,
    message: Arc<Message>,
    measuring: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<(u64, Histogram)> {
    let (mut accepted, mut latency) = (0, Histogram::new());
    let mut sent_at = Vec::new();
    while !stop.load(Ordering::Relaxed) || accepted < sent_at.len() as u64 {
        while let Some(event) = socket.received()? {
            let Event::Frame(FrameView::Response(response)) = event else {
                bail!("an anonymous socket got {event:?}")
            };
            ensure!(
                response.status == 200,
                "a multi-recipient message was answered with {}",
                response.status
            );
            let at: Option<&Instant> = sent_at.get(usize::try_from(response.id)?);
            let at = *at.context("an answer to nothing")?;
            accepted += 1;
            if measuring.load(Ordering::Relaxed) {
                latency.record(at.elapsed());
            }
        }
        while !stop.load(Ordering::Relaxed) && (sent_at.len() as u64) < accepted + OUTSTANDING as u64 {
            message.queue(&mut socket);
            sent_at.push(Instant::now());
        }
        if accepted < sent_at.len() as u64 {
            poll_fn(|cx| socket.poll_io(cx)).await?;
        }
    }
    Ok((accepted, latency))
}
