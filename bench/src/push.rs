//! Pushes: how long from a message for somebody who is away to the request at the push service, how many a second,
//! and whether deliveries to others notice a burst of them to a service that is slow or down, and what memory it takes.

use std::{collections::HashSet, path::Path, sync::mpsc, time::Duration};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::json;
use testkit::{
    Account, Call, ChatSocket, HttpVersion, Https, Server,
    account::{ACCESS_KEY, base64},
    multi_recipient::{self, Recipient},
    process::{self, Memory},
    push::FcmStandIn,
};
use tokio::time::{Instant, interval, sleep, timeout};

use crate::{
    contestant::{registered, server_options},
    histogram::{Histogram, Percentiles},
    meter::{Meter, Usage, float},
    options::Options,
};

/// Recipients of one message, who are all away.
const GROUP: usize = 100;
/// Connections over which tokens are given.
const GIVERS: usize = 16;
/// Messages sent one at a time for the latency of a push.
const SINGLE: usize = 200;
/// Pause between them: a server that is idle.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the slow service takes for each push.
const SLOW: Duration = Duration::from_secs(5);
/// Nothing here takes so long, however busy the machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// What pushes cost.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PushResult {
    pub(crate) devices: usize,
    /// From sending a message to the request at the push service, one at a time.
    pub(crate) wake: Percentiles,
    /// Pushes that were offered, and made, while messages came at that rate.
    pub(crate) offered_per_second: u32,
    pub(crate) per_second: f64,
    /// Server processor time for each, messages included.
    pub(crate) server_us_per_push: f64,
    pub(crate) generator_us_per_push: f64,
    pub(crate) usage: Usage,
    /// All devices woken at once.
    pub(crate) burst_seconds: f64,
    pub(crate) memory_before: Memory,
    pub(crate) memory_after_burst: Memory,
    /// The most that was resident in the burst, as looked at ten times a second.
    pub(crate) peak_rss_kib: u64,
    /// Devices that nobody woke, over all bursts.
    pub(crate) lost: usize,
    /// What two people who are connected notice while nobody is woken, and while everybody is to be.
    pub(crate) bystanders: Vec<BystanderResult>,
}

/// What two people notice who write to each other, one message at a time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BystanderResult {
    /// What the push service is.
    pub(crate) service: &'static str,
    /// From sending a message until the other has it.
    pub(crate) delivery: Percentiles,
    /// From sending it until it is answered.
    pub(crate) answer: Percentiles,
    /// The server's, at the end.
    pub(crate) memory: Memory,
}

/// Measures it on a server of its own.
pub(crate) async fn measure(options: &Options) -> anyhow::Result<PushResult> {
    let google = OwnThread::start()?;
    let files = tempfile::tempdir()?;
    let server =
        Server::start(server_options(options).with_config(&config(&google.service, files.path())?)).await?;
    let accounts = registered(&server, options.pushed + 2).await?;
    let (outsiders, devices) = accounts.split_at(2);
    give_tokens(&server, devices).await?;
    let bench =
        Bench { server, google: &google.service, devices, sender: &outsiders[0], other: &outsiders[1] };

    let wake = bench.wake_one_by_one().await?;
    let (per_second, usage) = bench.wake_many(options).await?;
    let pushes = usage.pushes;
    bench.settle().await;
    let mut bystanders = vec![bench.bystanders("idle", options).await?];
    let memory_before = process::memory(bench.server.pid())?;
    let Burst { seconds: burst_seconds, mut lost, peak_rss_kib } = bench.burst().await?;
    let memory_after_burst = process::memory(bench.server.pid())?;
    for (name, slow) in [("slow", true), ("down", false)] {
        bench.google.forget();
        if slow {
            bench.google.server().answer_after(SLOW);
        } else {
            bench.google.server().set_away(true);
            bench.google.server().cut();
        }
        bench.send_to_all().await?;
        bystanders.push(bench.bystanders(name, options).await?);
        bench.google.server().answer_after(Duration::ZERO);
        bench.google.server().set_away(false);
        lost += bench.wait_for_all().await?.lost;
    }
    Ok(PushResult {
        devices: devices.len(),
        wake,
        offered_per_second: options.push_rate,
        per_second,
        server_us_per_push: usage.usage.server_us(pushes),
        generator_us_per_push: usage.usage.generator_us(pushes),
        usage: usage.usage,
        burst_seconds,
        memory_before,
        memory_after_burst,
        peak_rss_kib,
        lost,
        bystanders,
    })
}

struct Bench<'a> {
    server: Server,
    google: &'a FcmStandIn,
    devices: &'a [Account],
    sender: &'a Account,
    /// Has no token.
    other: &'a Account,
}

struct Pushed {
    pushes: u64,
    usage: Usage,
}

struct Burst {
    /// Until the last device was woken.
    seconds: f64,
    lost: usize,
    peak_rss_kib: u64,
}

impl Bench<'_> {
    async fn socket(&self) -> anyhow::Result<ChatSocket> {
        ChatSocket::connect(self.server.target(), Some(self.sender)).await
    }

    async fn wake_one_by_one(&self) -> anyhow::Result<Percentiles> {
        let (mut socket, mut latency) = (self.socket().await?, Histogram::new());
        for device in self.devices.iter().cycle().take(SINGLE.min(4 * self.devices.len())) {
            self.google.forget();
            let began = Instant::now();
            send(&mut socket, device).await?;
            let arrived = async {
                loop {
                    if let Some(push) = self.google.taken().first() {
                        return push.at;
                    }
                    sleep(Duration::from_millis(1)).await;
                }
            };
            latency.record(timeout(PATIENCE, arrived).await.context("no push")? - began);
            sleep(PAUSE).await;
        }
        Ok(latency.percentiles())
    }

    /// Messages at a steady rate to one group after the other, until everybody had one, and so on: no device is woken
    /// again soon.
    async fn wake_many(&self, options: &Options) -> anyhow::Result<(f64, Pushed)> {
        let groups: Vec<_> = self.devices.chunks(GROUP).map(GroupMessage::new).collect();
        let mut messages = groups.iter().cycle();
        let mut send = async |socket: &mut ChatSocket| match messages.next() {
            Some(message) => message.request(socket).await,
            None => Ok(()),
        };
        let mut socket = ChatSocket::connect(self.server.target(), None).await?;
        let members = self.devices.len().min(GROUP) as u64;
        let each = Duration::from_secs(1).mul_f64(float(members) / f64::from(options.push_rate));
        let mut ticks = interval(each);
        let warm = Instant::now() + Duration::from_secs(1);
        while Instant::now() < warm {
            ticks.tick().await;
            send(&mut socket).await?;
        }
        let (meter, before) = (Meter::start(self.server.pid())?, self.google.count());
        let end = Instant::now() + Duration::from_secs(options.seconds);
        while Instant::now() < end {
            ticks.tick().await;
            send(&mut socket).await?;
        }
        let usage = meter.stop()?;
        let pushes = (self.google.count() - before) as u64;
        Ok((usage.rate(pushes), Pushed { pushes, usage }))
    }

    /// Everybody at once.
    async fn burst(&self) -> anyhow::Result<Burst> {
        self.settle().await;
        let began = Instant::now();
        self.send_to_all().await?;
        let woken = self.wait_for_all().await?;
        let end = self.google.taken().iter().map(|push| push.at).max();
        Ok(Burst { seconds: end.map_or(0.0, |end| (end - began).as_secs_f64()), ..woken })
    }

    /// Waits until no more pushes come.
    async fn settle(&self) {
        let mut before = usize::MAX;
        while before != self.google.count() {
            before = self.google.count();
            sleep(Duration::from_secs(1)).await;
        }
        self.google.forget();
    }

    async fn send_to_all(&self) -> anyhow::Result<()> {
        let mut socket = ChatSocket::connect(self.server.target(), None).await?;
        for members in self.devices.chunks(GROUP) {
            GroupMessage::new(members).request(&mut socket).await?;
        }
        Ok(())
    }

    /// Waits until everybody was woken, looking at the server's memory meanwhile.
    async fn wait_for_all(&self) -> anyhow::Result<Burst> {
        let (began, mut peak_rss_kib) = (Instant::now(), 0);
        loop {
            peak_rss_kib = peak_rss_kib.max(process::memory(self.server.pid())?.rss_kib);
            let woken: HashSet<_> = self.google.taken().into_iter().map(|push| push.token).collect();
            if woken.len() >= self.devices.len() || began.elapsed() > PATIENCE {
                let lost = self.devices.len() - woken.len();
                return Ok(Burst { seconds: began.elapsed().as_secs_f64(), lost, peak_rss_kib });
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// What somebody notices who writes to somebody who is connected, both without a token.
    async fn bystanders(&self, service: &'static str, options: &Options) -> anyhow::Result<BystanderResult> {
        let mut sender = self.socket().await?;
        let mut reader = ChatSocket::connect(self.server.target(), Some(self.other)).await?;
        for socket in [&mut sender, &mut reader] {
            socket.settle().await?;
        }
        let (mut delivery, mut answer) = (Histogram::new(), Histogram::new());
        let end = Instant::now() + Duration::from_secs(options.seconds);
        while Instant::now() < end {
            let began = Instant::now();
            let sent = async {
                send(&mut sender, self.other).await?;
                anyhow::Ok(began.elapsed())
            };
            let read = async {
                let message = timeout(PATIENCE, reader.delivery()).await.context("no message")??;
                let took = began.elapsed();
                reader.queue_ack(message.id);
                reader.flush().await?;
                anyhow::Ok(took)
            };
            let (answered, delivered) = tokio::try_join!(sent, read)?;
            answer.record(answered);
            delivery.record(delivered);
            // Receipts, which are messages of their own.
            while sender.pending_deliveries() > 0 {
                let receipt = sender.delivery().await?;
                sender.queue_ack(receipt.id);
            }
        }
        sender.flush().await?;
        Ok(BystanderResult {
            service,
            delivery: delivery.percentiles(),
            answer: answer.percentiles(),
            memory: process::memory(self.server.pid())?,
        })
    }
}

async fn send(socket: &mut ChatSocket, to: &Account) -> anyhow::Result<()> {
    let message = json!({
        "timestamp": 1,
        "urgent": true,
        "messages": [{
            "type": 1,
            "destinationDeviceId": 1,
            "destinationRegistrationId": to.registration_id,
            "content": base64(&[0; 256]),
        }],
    });
    let answer = socket.request("PUT", &format!("/v1/messages/{}", to.aci), Some(&message)).await?;
    ensure!(answer.status == 200, "a message was answered with {}", answer.status);
    Ok(())
}

/// One message for many.
struct GroupMessage {
    body: Vec<u8>,
    access_key: String,
}

impl GroupMessage {
    fn new(members: &[Account]) -> Self {
        let recipients: Vec<_> = members
            .iter()
            .map(|account| Recipient {
                aci: account.aci,
                devices: vec![(1, account.registration_id)],
                key_material: [7; multi_recipient::KEY_MATERIAL_LEN],
            })
            .collect();
        let key = multi_recipient::combined_access_key(ACCESS_KEY, recipients.len());
        let access_key = format!("unidentified-access-key: {}", base64(&key));
        Self { body: multi_recipient::sent(&recipients, &[0; 64]), access_key }
    }

    async fn request(&self, socket: &mut ChatSocket) -> anyhow::Result<()> {
        let path = "/v1/messages/multi_recipient?ts=1700000000000&online=false&urgent=true&story=false";
        let content_type = format!("content-type: {}", multi_recipient::CONTENT_TYPE);
        let id = socket.queue_request("PUT", path, &[&content_type, &self.access_key], &self.body);
        let answer = socket.answer(id).await?;
        ensure!(answer.status == 200, "a message to many was answered with {}", answer.status);
        Ok(())
    }
}

/// Devices are woken as often as there is something, so that the rate is that of the service.
fn config(google: &FcmStandIn, folder: &Path) -> anyhow::Result<String> {
    let (account, roots) = (folder.join("account.json"), folder.join("roots.pem"));
    std::fs::write(&account, google.service_account())?;
    std::fs::write(&roots, google.server().ca_pem())?;
    let roots = roots.display();
    let push = format!("[push]\nca_file = \"{roots}\"\nurgent_interval_ms = 0\n");
    Ok(format!("{push}{}", google.config(&account)))
}

async fn give_tokens(server: &Server, devices: &[Account]) -> anyhow::Result<()> {
    let share = devices.len().div_ceil(GIVERS).max(1);
    let give = async |(giver, devices): (usize, &[Account])| -> anyhow::Result<()> {
        let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
        for (number, device) in devices.iter().enumerate() {
            let token = format!("token-{giver}-{number}");
            let call = Call::put("/v1/accounts/gcm").auth(device);
            https.send(call.json(&json!({ "gcmRegistrationId": token }))).await?.success()?;
        }
        Ok(())
    };
    let givers = devices.chunks(share).enumerate().map(give);
    futures_util::future::try_join_all(givers).await.map(drop)
}

/// The push service on a thread of its own, so that its work does not stand in the generator's way.
struct OwnThread {
    service: FcmStandIn,
}

impl OwnThread {
    fn start() -> anyhow::Result<Self> {
        let (out, started) = mpsc::channel();
        std::thread::Builder::new().name("push-service".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let _ = out.send(FcmStandIn::start().await);
                std::future::pending::<()>().await;
            });
        })?;
        Ok(Self { service: started.recv().context("the push service did not start")?? })
    }
}
