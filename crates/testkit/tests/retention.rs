//! What is past its time goes, also while the server runs, and nothing else does.

use std::time::Duration;

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use testkit::{ChatSocket, Server, ServerOptions, register_many, wire::EnvelopeView};
use tokio::time::timeout;

const MESSAGES: u8 = 40;
const PAST_THEIR_TIME: u8 = 25;
/// Nothing here takes so long, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn messages_nobody_fetched_in_time_are_gone_after_a_start() -> anyhow::Result<()> {
    let mut server = Server::start(ServerOptions::unlimited()).await?;
    let accounts = register_many(&server, 0, 2, 2).await?;
    let mut sender = ChatSocket::connect(server.target(), Some(&accounts[0])).await?;
    let path = format!("/v1/messages/{}", accounts[1].aci);
    for number in 0..MESSAGES {
        let message = json!({
            "timestamp": 1,
            "messages": [{
                "type": 1,
                "destinationDeviceId": 1,
                "destinationRegistrationId": accounts[1].registration_id,
                "content": STANDARD.encode([number]),
            }],
        });
        assert_eq!(sender.request("PUT", &path, Some(&message)).await?.status, 200);
    }
    server.terminate()?;
    server.exited(PATIENCE).await?;
    age(&server)?;
    server.restart().await?;

    let left = timeout(PATIENCE, async {
        while count(&server)? > u32::from(MESSAGES - PAST_THEIR_TIME) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        count(&server)
    });
    assert_eq!(left.await.context("they did not go")??, u32::from(MESSAGES - PAST_THEIR_TIME));

    let mut reader = ChatSocket::connect(server.target(), Some(&accounts[1])).await?;
    for number in PAST_THEIR_TIME..MESSAGES {
        let delivery = timeout(PATIENCE, reader.delivery()).await??;
        assert_eq!(EnvelopeView::parse(&delivery.envelope)?.content, [number], "the rest, in order");
        reader.queue_ack(delivery.id);
    }
    timeout(PATIENCE, reader.queue_empty()).await??;
    Ok(())
}

fn open(server: &Server) -> anyhow::Result<rusqlite::Connection> {
    let connection = rusqlite::Connection::open(server.data().join("messages.sqlite"))?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

/// Makes the oldest messages 31 days older. A position is the time of acceptance in microseconds.
fn age(server: &Server) -> anyhow::Result<()> {
    let changed = open(server)?.execute(
        "UPDATE messages_queue SET position = position - 31 * 24 * 3600 * 1000000
         WHERE position IN (SELECT position FROM messages_queue ORDER BY position LIMIT ?1)",
        [PAST_THEIR_TIME],
    )?;
    anyhow::ensure!(changed == usize::from(PAST_THEIR_TIME));
    Ok(())
}

fn count(server: &Server) -> anyhow::Result<u32> {
    Ok(open(server)?.query_row("SELECT count(*) FROM messages_queue", [], |row| row.get(0))?)
}
