//! Logging in: how many a second, and whether messages notice a storm of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::json;
use testkit::{ChatSocket, HttpVersion, Https, NativeAccount, Server, account::base64, native::PASSWORD};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{
    contestant::{registered, server_options},
    histogram::{Histogram, Percentiles},
    meter::float,
    options::Options,
};

/// People who log in again and again, each over a connection of its own: more than there are workers, so that hashing never
/// rests.
const PEOPLE: usize = 8;

/// Between two messages of the pair whose messages are measured.
const PACE: Duration = Duration::from_millis(5);

/// Nothing here takes so long, however busy the machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// What logins cost.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoginResult {
    /// Log-ins a second, in the storm.
    pub(crate) per_second: f64,
    /// Log-ins that were turned away for want of a worker.
    pub(crate) turned_away: u64,
    /// From sending a message to its delivery, with nobody logging in.
    pub(crate) quiet: Percentiles,
    /// The same in the storm.
    pub(crate) storm: Percentiles,
    /// How much longer 99 of 100 messages take in the storm.
    pub(crate) p99_ratio: f64,
}

/// Measures it on a server of its own.
pub(crate) async fn measure(options: &Options) -> anyhow::Result<LoginResult> {
    let server = Server::start(server_options(options)).await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
    let mut people = Vec::new();
    for number in 0..PEOPLE {
        people.push(NativeAccount::register(&mut https, &format!("person-{number}")).await?);
    }
    let mut pair = Pair::connect(&server, options).await?;
    let time = Duration::from_secs(options.seconds.max(1) * 2);
    pair.exchange(Duration::from_secs(1)).await.context("warming up")?;
    let quiet = pair.exchange(time).await.context("messages without log-ins")?;

    let storm = Storm::begin(&server, people).await?;
    let began = Instant::now();
    let noisy = pair.exchange(time).await.context("messages in the storm")?;
    let seconds = began.elapsed().as_secs_f64();
    let (logins, turned_away) = storm.end().await?;
    Ok(LoginResult {
        per_second: float(logins) / seconds,
        turned_away,
        p99_ratio: float(noisy.p99_us) / float(quiet.p99_us.max(1)),
        quiet,
        storm: noisy,
    })
}

/// Two devices of Signal's API, of which one writes to the other.
struct Pair {
    sender: ChatSocket,
    recipient: ChatSocket,
    path: String,
    registration_id: u16,
    content: String,
}

impl Pair {
    async fn connect(server: &Server, options: &Options) -> anyhow::Result<Self> {
        let accounts = registered(server, 2).await?;
        let sender = ChatSocket::connect(server.target(), Some(&accounts[0])).await?;
        let mut recipient = ChatSocket::connect(server.target(), Some(&accounts[1])).await?;
        recipient.queue_empty().await?;
        Ok(Self {
            sender,
            recipient,
            path: format!("/v1/messages/{}", accounts[1].aci),
            registration_id: accounts[1].registration_id,
            content: base64(&vec![1; options.size]),
        })
    }

    /// Sends at an even pace and notes how long each message takes to arrive.
    async fn exchange(&mut self, time: Duration) -> anyhow::Result<Percentiles> {
        let (mut latency, end) = (Histogram::new(), Instant::now() + time);
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while Instant::now() < end {
            pace.tick().await;
            let body = json!({ "timestamp": 1, "messages": [{
                "type": 1, "destinationDeviceId": 1, "destinationRegistrationId": self.registration_id,
                "content": self.content,
            }] });
            let began = Instant::now();
            let id = self.sender.queue_request("PUT", &self.path, &[], body.to_string().as_bytes());
            self.sender.flush().await?;
            let delivery = timeout(PATIENCE, self.recipient.delivery()).await??;
            latency.record(began.elapsed());
            self.recipient.queue_ack(delivery.id);
            self.recipient.flush().await?;
            timeout(PATIENCE, self.sender.answer(id)).await??;
        }
        Ok(latency.percentiles())
    }
}

/// People who log in again and again.
struct Storm {
    over: Arc<AtomicBool>,
    logins: Arc<AtomicU64>,
    turned_away: Arc<AtomicU64>,
    people: JoinSet<anyhow::Result<()>>,
}

impl Storm {
    async fn begin(server: &Server, people: Vec<NativeAccount>) -> anyhow::Result<Self> {
        let mut storm = Self {
            over: Arc::default(),
            logins: Arc::default(),
            turned_away: Arc::default(),
            people: JoinSet::new(),
        };
        for person in people {
            let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
            let (over, logins, turned_away) =
                (Arc::clone(&storm.over), Arc::clone(&storm.logins), Arc::clone(&storm.turned_away));
            storm.people.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let (name, device) = (&person.username, &person.device_identifier);
                    let answer = NativeAccount::try_login(&mut https, name, PASSWORD, device).await?;
                    match answer.status.as_u16() {
                        200 => logins.fetch_add(1, Ordering::Relaxed),
                        503 => turned_away.fetch_add(1, Ordering::Relaxed),
                        status => anyhow::bail!("a log-in was answered {status}"),
                    };
                }
                Ok(())
            });
        }
        Ok(storm)
    }

    /// Ends it, and says how many logged in and how many were turned away.
    async fn end(mut self) -> anyhow::Result<(u64, u64)> {
        let count = (self.logins.load(Ordering::Relaxed), self.turned_away.load(Ordering::Relaxed));
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.people.join_next().await {
            ended??;
        }
        Ok(count)
    }
}
