//! Readers that stop reading hold up nobody but themselves.

use std::time::Duration;

use serde_json::json;
use testkit::{Account, ChatSocket, Server, ServerOptions, account, process, register_many};
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_mins(1);

/// What waits for each reader that has stopped: far more than any buffer on the way takes.
const MESSAGES: usize = 2_000;
const CONTENT_LEN: usize = 64 * 1024;
/// Readers that have stopped; together some 260 MB wait for them.
const STOPPED: usize = 2;
/// Messages under way at a time.
const TOGETHER: usize = 8;
/// Messages of the pair that goes on meanwhile.
const EXCHANGED: usize = 400;
/// A reader that is held up would have to wait for the write time-out, half a minute.
const PROMPT: Duration = Duration::from_secs(3);
/// Bytes that the server may hold for them, in KiB: what is not committed yet, and a page for each.
const GROWTH_KIB_MAX: u64 = 160 * 1024;

fn message(to: &Account, content_len: usize) -> (String, String) {
    let body = json!({
        "messages": [{
            "type": 1,
            "destinationDeviceId": 1,
            "destinationRegistrationId": to.registration_id,
            "content": account::base64(&vec![7; content_len]),
        }],
    });
    (format!("/v1/messages/{}", to.aci), body.to_string())
}

async fn flood(socket: &mut ChatSocket, to: &Account) -> anyhow::Result<()> {
    let (path, body) = message(to, CONTENT_LEN);
    for _ in 0..MESSAGES / TOGETHER {
        for _ in 0..TOGETHER {
            socket.queue_request("PUT", &path, &["content-type: application/json"], body.as_bytes());
        }
        for _ in 0..TOGETHER {
            let (_, answer) = timeout(PATIENCE, socket.any_answer()).await??;
            anyhow::ensure!(answer.status == 200, "a message was answered {}", answer.status);
        }
    }
    Ok(())
}

/// Sends and receives one by one; returns the longest that a message took.
async fn exchange(from: &mut ChatSocket, to: &mut ChatSocket, reader: &Account) -> anyhow::Result<Duration> {
    let (path, body) = message(reader, 100);
    let mut slowest = Duration::ZERO;
    for _ in 0..EXCHANGED {
        let began = Instant::now();
        let id = from.queue_request("PUT", &path, &["content-type: application/json"], body.as_bytes());
        from.flush().await?;
        let delivery = timeout(PATIENCE, to.delivery()).await??;
        to.queue_ack(delivery.id);
        to.flush().await?;
        anyhow::ensure!(timeout(PATIENCE, from.answer(id)).await??.status == 200);
        slowest = slowest.max(began.elapsed());
    }
    Ok(slowest)
}

#[tokio::test(flavor = "multi_thread")]
async fn others_flow_while_hundreds_of_megabytes_wait() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let accounts = register_many(&server, 0, 2 * STOPPED + 2, 2).await?;
    let (stopped, others) = accounts.split_at(STOPPED);
    let (flooders, pair) = others.split_at(STOPPED);
    let mut unread = Vec::new();
    for account in stopped {
        unread.push(ChatSocket::connect(server.target(), Some(account)).await?);
    }
    let mut sender = ChatSocket::connect(server.target(), Some(&pair[0])).await?;
    let mut reader = ChatSocket::connect(server.target(), Some(&pair[1])).await?;
    let before = process::memory(server.pid())?.anonymous_kib;
    let mut floods = Vec::new();
    for (from, to) in flooders.iter().zip(stopped.iter().cloned()) {
        let mut socket = ChatSocket::connect(server.target(), Some(from)).await?;
        floods.push(tokio::spawn(async move { flood(&mut socket, &to).await }));
    }
    let mut slowest = Duration::ZERO;
    while floods.iter().any(|flood| !flood.is_finished()) {
        slowest = slowest.max(exchange(&mut sender, &mut reader, &pair[1]).await?);
    }
    for flood in floods {
        flood.await??;
    }
    let after = process::memory(server.pid())?.anonymous_kib;
    assert!(slowest < PROMPT, "a message between two who read took {slowest:?}");
    assert!(after < before + GROWTH_KIB_MAX, "memory grew from {before} KiB to {after} KiB");
    Ok(())
}
