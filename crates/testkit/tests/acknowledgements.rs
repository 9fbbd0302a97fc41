//! Acknowledgements that come many at once, and with the end of the socket right behind them.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use testkit::{
    Account, ChatSocket, HttpVersion, Server, ServerOptions, register_many,
    websocket::CLOSE,
    wire::{EnvelopeView, RECEIPT},
};
use tokio::time::timeout;

const MESSAGES: u8 = 200;
/// The last message, which alone is not acknowledged.
const UNACKNOWLEDGED: u8 = MESSAGES - 1;
/// Nothing here takes so long, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(20);

async fn send_all(sender: &mut ChatSocket, to: &Account) -> anyhow::Result<()> {
    let path = format!("/v1/messages/{}", to.aci);
    for number in 0..MESSAGES {
        let message = json!({
            "timestamp": 1,
            "messages": [{
                "type": 1,
                "destinationDeviceId": 1,
                "destinationRegistrationId": to.registration_id,
                "content": STANDARD.encode([number]),
            }],
        });
        assert_eq!(sender.request("PUT", &path, Some(&message)).await?.status, 200);
    }
    Ok(())
}

/// A burst of acknowledgements out of order, and a close frame behind it, all in one write: each counts once, and
/// each sender is told once.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_right_before_the_end_does_not_come_again() -> anyhow::Result<()> {
    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        let server = Server::start(ServerOptions::unlimited()).await?;
        let accounts = register_many(&server, 0, 2, 2).await?;
        let mut sender = ChatSocket::connect(server.target(), Some(&accounts[0])).await?;
        timeout(PATIENCE, sender.queue_empty()).await??;
        send_all(&mut sender, &accounts[1]).await?;

        let mut reader = ChatSocket::connect_over(server.target(), version, Some(&accounts[1])).await?;
        let mut ids = Vec::new();
        for number in 0..MESSAGES {
            let delivery = timeout(PATIENCE, reader.delivery()).await??;
            assert_eq!(EnvelopeView::parse(&delivery.envelope)?.content, [number], "in order");
            ids.push(delivery.id);
        }
        for id in ids[..usize::from(UNACKNOWLEDGED)].iter().rev() {
            reader.queue_ack(*id);
        }
        reader.queue_frame(CLOSE, &1000_u16.to_be_bytes());
        reader.flush().await?;
        assert_eq!(timeout(PATIENCE, reader.closed()).await??.0, 1000);

        let mut again = ChatSocket::connect_over(server.target(), version, Some(&accounts[1])).await?;
        let delivery = timeout(PATIENCE, again.delivery()).await??;
        assert_eq!(EnvelopeView::parse(&delivery.envelope)?.content, [UNACKNOWLEDGED], "the only one left");
        again.queue_ack(delivery.id);
        timeout(PATIENCE, again.queue_empty()).await??;

        for _ in 0..MESSAGES {
            let receipt = timeout(PATIENCE, sender.delivery()).await??;
            assert_eq!(EnvelopeView::parse(&receipt.envelope)?.kind, RECEIPT);
            sender.queue_ack(receipt.id);
        }
        assert_eq!(timeout(PATIENCE, sender.request("GET", "/v1/keepalive", None)).await??.status, 200);
        assert_eq!(sender.pending_deliveries(), 0, "one receipt a message");
    }
    Ok(())
}
