//! Sockets of a device that is to get no messages on them.

use std::time::Duration;

use http::Method;
use serde_json::json;
use testkit::{Account, Call, ChatSocket, HttpVersion, Https, Server, ServerOptions, account, register_many};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);
const BOTH: [HttpVersion; 2] = [HttpVersion::Http1, HttpVersion::Http2];

async fn send(server: &Server, from: &Account, to: &Account) -> anyhow::Result<()> {
    let message = json!({
        "messages": [{
            "type": 1,
            "destinationDeviceId": 1,
            "destinationRegistrationId": to.registration_id,
            "content": account::base64(b"for the other socket"),
        }],
    });
    let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
    let path = format!("/v1/messages/{}", to.aci);
    https.send(Call::put(path).auth(from).json(&message)).await?.success()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gets_none_and_leaves_the_other_socket_in_its_place() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let accounts = register_many(&server, 0, 2, 2).await?;
    let (sender, reader) = (&accounts[0], &accounts[1]);
    let mut reading = ChatSocket::connect(server.target(), Some(reader)).await?;
    timeout(PATIENCE, reading.queue_empty()).await??;
    let mut silent = Vec::new();
    for version in BOTH {
        silent.push(ChatSocket::connect_without_messages(server.target(), version, reader).await?);
    }
    send(&server, sender, reader).await?;
    let delivery = timeout(PATIENCE, reading.delivery()).await??;
    reading.queue_ack(delivery.id);
    for socket in &mut silent {
        let answer = timeout(PATIENCE, socket.request("GET", "/v1/accounts/whoami", None)).await??;
        assert_eq!(answer.status, 200, "it is the device's all the same");
        assert_eq!(socket.pending_deliveries(), 0);
        assert_eq!(socket.close_code(), None);
    }
    assert_eq!(timeout(PATIENCE, reading.request("GET", "/v1/keepalive", None)).await??.status, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_its_credentials() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let accounts = register_many(&server, 0, 1, 1).await?;
    let mut sockets = Vec::new();
    for version in BOTH {
        sockets.push(ChatSocket::connect_without_messages(server.target(), version, &accounts[0]).await?);
    }
    let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
    https.send(Call::new(Method::DELETE, "/v1/accounts/me").auth(&accounts[0])).await?.success()?;
    for mut socket in sockets {
        assert_eq!(timeout(PATIENCE, socket.closed()).await??.0, 4401);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_when_the_server_stops() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let accounts = register_many(&server, 0, 1, 1).await?;
    let mut sockets = Vec::new();
    for version in BOTH {
        sockets.push(ChatSocket::connect_without_messages(server.target(), version, &accounts[0]).await?);
    }
    server.terminate()?;
    for mut socket in sockets {
        assert_eq!(timeout(PATIENCE, socket.closed()).await??.0, 1001);
    }
    Ok(())
}
