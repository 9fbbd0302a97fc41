//! What a connected client costs that neither sends nor receives, and what a start costs.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use testkit::{
    Account, ChatSocket, Server, ServerOptions, Target,
    process::{self, Memory},
};
use tokio::time::{sleep, timeout};

use crate::meter::{Meter, Usage, float};

/// Connections that are being made at the same time.
const CONNECTING_AT_ONCE: usize = 64;
/// Time for the server to give back what only connecting needed.
const SETTLE: Duration = Duration::from_secs(3);
/// Sockets that are asked afterwards whether they still work.
const PROBED: usize = 100;
/// Descriptors that a process needs besides its sockets.
const OTHER_DESCRIPTORS: u64 = 500;
const RESTARTS: usize = 5;
/// Nothing here takes so long, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Memory of idle sockets.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct IdleResult {
    pub(crate) sockets: usize,
    pub(crate) before: Memory,
    pub(crate) after: Memory,
    pub(crate) rss_kib_per_socket: f64,
    pub(crate) pss_kib_per_socket: f64,
    pub(crate) connects_per_second: f64,
    pub(crate) server_us_per_connect: f64,
    pub(crate) usage: Usage,
}

/// A start of the program.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StartResult {
    /// On an empty folder, with keys and certificates to be made.
    pub(crate) first_ready_ms: f64,
    /// On an existing folder, each of the starts, in order of length.
    pub(crate) ready_ms: Vec<f64>,
    pub(crate) median_ready_ms: f64,
    /// One second after the ready line.
    pub(crate) memory: Memory,
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

/// Measures the memory of one socket for each account, against a server that has done nothing else, for
/// accounts that have nothing waiting.
pub(crate) async fn idle(server: &mut Server, accounts: &[Account]) -> anyhow::Result<IdleResult> {
    stop(server).await?;
    server.restart().await?;
    let target = server.target().clone();
    // The first connections make what every later one shares.
    drop(connect_all(&target, &accounts[..accounts.len().min(4)]).await?);
    sleep(Duration::from_secs(1)).await;
    let before = process::memory(server.pid())?;
    let meter = Meter::start(server.pid())?;
    let mut sockets = connect_all(&target, accounts).await?;
    let usage = meter.stop()?;
    sleep(SETTLE).await;
    let after = process::memory(server.pid())?;
    let step = (sockets.len() / PROBED).max(1);
    for socket in sockets.iter_mut().step_by(step) {
        let answer = timeout(PATIENCE, socket.request("GET", "/v1/keepalive", None)).await;
        let answer = answer.context("a keepalive was not answered in time")??;
        ensure!(answer.status == 200, "keepalive was answered with {}", answer.status);
    }
    let count = sockets.len() as u64;
    let per_socket = |before: u64, after: u64| float(after.saturating_sub(before)) / float(count);
    Ok(IdleResult {
        sockets: sockets.len(),
        before,
        after,
        rss_kib_per_socket: per_socket(before.rss_kib, after.rss_kib),
        pss_kib_per_socket: per_socket(before.pss_kib, after.pss_kib),
        connects_per_second: usage.rate(count),
        server_us_per_connect: usage.server_us(count),
        usage,
    })
}

/// Stops the server in good order, so that a start measures no recovery.
async fn stop(server: &mut Server) -> anyhow::Result<()> {
    server.terminate()?;
    server.exited(PATIENCE).await.map(drop)
}

async fn connect_all(target: &Target, accounts: &[Account]) -> anyhow::Result<Vec<ChatSocket>> {
    stream::iter(accounts)
        .map(async |account| {
            let connected = timeout(PATIENCE, ChatSocket::connect(target, Some(account))).await;
            let mut socket = connected.context("a socket was not opened in time")??;
            let settled = timeout(PATIENCE, socket.settle()).await;
            settled.context("the end of a queue was not said in time")??;
            anyhow::Ok(socket)
        })
        .buffer_unordered(CONNECTING_AT_ONCE)
        .try_collect()
        .await
}

/// Measures how long the program takes to be ready, and its memory a second later.
pub(crate) async fn start(options: &ServerOptions) -> anyhow::Result<StartResult> {
    let mut server = Server::start(options.clone()).await?;
    let first = server.ready_after();
    let mut times = Vec::new();
    for _ in 0..RESTARTS {
        stop(&mut server).await?;
        server.restart().await?;
        times.push(server.ready_after());
    }
    sleep(Duration::from_secs(1)).await;
    let memory = process::memory(server.pid())?;
    times.sort_unstable();
    let ready_ms: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    Ok(StartResult {
        first_ready_ms: first.as_secs_f64() * 1e3,
        median_ready_ms: ready_ms[RESTARTS / 2],
        ready_ms,
        memory,
    })
}
