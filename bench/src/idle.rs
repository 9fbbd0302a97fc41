//! What a connected client costs that neither sends nor receives.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use serde_json::json;
use testkit::{
    Account, ChatSocket, HttpVersion, Server, Target,
    process::{self, Memory},
};
use tokio::time::{sleep, timeout};

use crate::{
    contestant::{registered, server_options, stop},
    meter::{Meter, Usage, float},
    options::Options,
};

/// Connections that are being made at the same time.
const CONNECTING_AT_ONCE: usize = 64;
/// Time for the server to give back what only the work before needed.
const SETTLE: Duration = Duration::from_secs(3);
/// The same in a smoke run.
const SETTLE_QUICKLY: Duration = Duration::from_millis(300);
/// Sockets that are asked afterwards whether they still work.
const PROBED: usize = 100;
/// Large messages under way at the same time.
const LARGE_AT_ONCE: usize = 32;
/// Descriptors that a process needs besides its sockets.
const OTHER_DESCRIPTORS: u64 = 500;
/// Nothing here takes so long, however busy the machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Memory of idle sockets.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct IdleResult {
    /// `http1` or `http2`.
    pub(crate) carrier: &'static str,
    pub(crate) sockets: usize,
    pub(crate) before: Memory,
    pub(crate) after: Memory,
    pub(crate) rss_kib_per_socket: f64,
    pub(crate) pss_kib_per_socket: f64,
    /// When each has received and acknowledged one large message since.
    pub(crate) after_large: Memory,
    pub(crate) large_len: usize,
    pub(crate) rss_kib_per_socket_after_large: f64,
    pub(crate) connects_per_second: f64,
    pub(crate) server_us_per_connect: f64,
    pub(crate) usage: Usage,
}

/// Makes sure that this process and the servers it starts may open so many sockets.
pub(crate) fn ensure_descriptors(sockets: usize) -> anyhow::Result<()> {
    let needed = sockets as u64 + OTHER_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= needed),
        "{sockets} sockets need {needed} descriptors and the hard limit is {}: raise it (`ulimit -n`) or \
         measure fewer (--sockets)",
        limit.maximum.unwrap_or(0),
    );
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum: limit.maximum })?)
}

/// Measures every number of sockets over both versions of HTTP.
pub(crate) async fn measure(options: &Options) -> anyhow::Result<Vec<IdleResult>> {
    let most = options.sockets.iter().copied().max().unwrap_or(0);
    let mut server = Server::start(server_options(options)).await?;
    let mut accounts = registered(&server, most + 1).await?;
    let sender = accounts.pop().context("no accounts")?;
    let mut results = Vec::new();
    for (carrier, version) in [("http1", HttpVersion::Http1), ("http2", HttpVersion::Http2)] {
        for &sockets in &options.sockets {
            let measured = idle(&mut server, version, &accounts[..sockets], &sender, options).await;
            let result = measured.with_context(|| format!("{sockets} idle sockets over {carrier}"))?;
            results.push(IdleResult { carrier, ..result });
        }
    }
    Ok(results)
}

/// Measures one socket for each account, against a server that has done nothing else, for accounts that
/// have nothing waiting.
async fn idle(
    server: &mut Server,
    version: HttpVersion,
    accounts: &[Account],
    sender: &Account,
    options: &Options,
) -> anyhow::Result<IdleResult> {
    let settle = if options.quick { SETTLE_QUICKLY } else { SETTLE };
    stop(server).await?;
    server.restart().await?;
    let target = server.target().clone();
    // The first connections make what every later one shares.
    drop(connect_all(&target, version, &accounts[..accounts.len().min(4)]).await?);
    sleep(settle).await;
    let before = process::memory(server.pid())?;
    let meter = Meter::start(server.pid())?;
    let mut sockets = connect_all(&target, version, accounts).await?;
    let usage = meter.stop()?;
    sleep(settle).await;
    let after = process::memory(server.pid())?;
    send_large(&target, sender, accounts, &mut sockets, options.large).await.context("the large messages")?;
    sleep(settle).await;
    let after_large = process::memory(server.pid())?;
    probe(&mut sockets).await?;
    let count = sockets.len() as u64;
    let per_socket = |before: u64, after: u64| float(after.saturating_sub(before)) / float(count);
    Ok(IdleResult {
        carrier: "",
        sockets: sockets.len(),
        before,
        after,
        rss_kib_per_socket: per_socket(before.rss_kib, after.rss_kib),
        pss_kib_per_socket: per_socket(before.pss_kib, after.pss_kib),
        after_large,
        large_len: options.large,
        rss_kib_per_socket_after_large: per_socket(before.rss_kib, after_large.rss_kib),
        connects_per_second: usage.rate(count),
        server_us_per_connect: usage.server_us(count),
        usage,
    })
}

/// Some of them must still work.
async fn probe(sockets: &mut [ChatSocket]) -> anyhow::Result<()> {
    let step = (sockets.len() / PROBED).max(1);
    for socket in sockets.iter_mut().step_by(step) {
        let answer = timeout(PATIENCE, socket.request("GET", "/v1/keepalive", None)).await;
        let answer = answer.context("a keepalive was not answered in time")??;
        ensure!(answer.status == 200, "keepalive was answered with {}", answer.status);
    }
    Ok(())
}

async fn connect_all(
    target: &Target,
    version: HttpVersion,
    accounts: &[Account],
) -> anyhow::Result<Vec<ChatSocket>> {
    stream::iter(accounts)
        .map(async |account| {
            let connected = timeout(PATIENCE, ChatSocket::connect_over(target, version, Some(account))).await;
            let mut socket = connected.context("a socket was not opened in time")??;
            let settled = timeout(PATIENCE, socket.settle()).await;
            settled.context("the end of a queue was not said in time")??;
            anyhow::Ok(socket)
        })
        // In order: each account's socket is found by its index.
        .buffered(CONNECTING_AT_ONCE)
        .try_collect()
        .await
}

/// Sends one message of that length to each account, whose socket receives and acknowledges it.
async fn send_large(
    target: &Target,
    sender: &Account,
    accounts: &[Account],
    sockets: &mut [ChatSocket],
    content_len: usize,
) -> anyhow::Result<()> {
    let content = STANDARD.encode(vec![0x5A; content_len]);
    let mut link = ChatSocket::connect(target, Some(sender)).await?;
    link.settle().await?;
    for (accounts, sockets) in accounts.chunks(LARGE_AT_ONCE).zip(sockets.chunks_mut(LARGE_AT_ONCE)) {
        for account in accounts {
            let body = json!({
                "messages": [{
                    "type": 1,
                    "destinationDeviceId": 1,
                    "destinationRegistrationId": account.registration_id,
                    "content": content,
                }],
                "timestamp": 1_700_000_000_000_u64,
            });
            let path = format!("/v1/messages/{}", account.aci);
            link.queue_request(
                "PUT",
                &path,
                &["content-type: application/json"],
                body.to_string().as_bytes(),
            );
        }
        link.flush().await?;
        let received = try_join_all(sockets.iter_mut().map(async |socket| {
            let delivery = socket.delivery().await?;
            ensure!(delivery.envelope.len() >= content_len, "another message than the large one");
            socket.queue_ack(delivery.id);
            socket.flush().await
        }));
        timeout(PATIENCE, received).await.context("not received in time")??;
        timeout(PATIENCE, settle_sender(&mut link, accounts.len()))
            .await
            .context("not answered in time")??;
    }
    Ok(())
}

/// Waits for so many answers, and acknowledges the receipts that have come.
async fn settle_sender(link: &mut ChatSocket, answers: usize) -> anyhow::Result<()> {
    for _ in 0..answers {
        let (_, answer) = link.any_answer().await?;
        ensure!(answer.status == 200, "a large message was answered with {}", answer.status);
    }
    while link.pending_deliveries() > 0 {
        let id = link.delivery().await?.id;
        link.queue_ack(id);
    }
    link.flush().await
}
