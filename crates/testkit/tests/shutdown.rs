//! Stopping the real server: what is under way is finished, what was accepted is kept.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use testkit::{
    Account, ChatSocket, HttpVersion, Server, ServerOptions, account, register_many, wire::EnvelopeView,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::client::TlsStream;

/// What an operator and a service manager may rely on.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

fn message(to: &Account, number: u32) -> Value {
    json!({
        "messages": [{
            "type": 1,
            "destinationDeviceId": 1,
            "destinationRegistrationId": to.registration_id,
            "content": account::base64(&number.to_be_bytes()),
        }],
        "timestamp": 1_700_000_000_000_u64,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_closes_every_socket_and_keeps_every_message() -> anyhow::Result<()> {
    const UNDER_WAY: u32 = 64;
    let mut server = Server::start(ServerOptions::unlimited()).await?;
    let accounts = register_many(&server, 0, 3, 3).await?;
    let [sender, away, idle] = &accounts[..] else { anyhow::bail!("three accounts") };
    let mut idle = ChatSocket::connect(server.target(), Some(idle)).await?;
    let mut anonymous = ChatSocket::connect(server.target(), None).await?;
    let mut socket = ChatSocket::connect(server.target(), Some(sender)).await?;
    let path = format!("/v1/messages/{}", away.aci);
    let sending = tokio::spawn({
        let away = away.clone();
        async move {
            let send = |socket: &mut ChatSocket, number| {
                let body = message(&away, number).to_string();
                socket.queue_request("PUT", &path, &["content-type: application/json"], body.as_bytes());
            };
            (0..UNDER_WAY).for_each(|number| send(&mut socket, number));
            let mut accepted = Vec::new();
            for number in UNDER_WAY.. {
                let Ok((id, answer)) = socket.any_answer().await else { break };
                if answer.status == 200 {
                    accepted.push(u32::try_from(id).unwrap_or(u32::MAX));
                }
                send(&mut socket, number);
            }
            (accepted, socket.close_code())
        }
    });
    sleep(Duration::from_millis(300)).await;
    server.terminate()?;

    for socket in [&mut idle, &mut anonymous] {
        let (code, reason) = timeout(STOP_TIMEOUT, socket.closed()).await??;
        // 4409 and 4401 would make clients stay away or log out.
        assert!(matches!(code, 1000 | 1001 | 1012), "closed with {code} {reason:?}");
    }
    let (accepted, close_code) = timeout(STOP_TIMEOUT, sending).await??;
    assert!(!accepted.is_empty(), "there was no load");
    assert!(matches!(close_code, Some(1000 | 1001 | 1012)), "the busy socket was closed with {close_code:?}");
    let status = server.exited(STOP_TIMEOUT).await?;
    assert_eq!(status.code(), Some(0), "{}", server.log());

    server.restart().await?;
    let mut reader = ChatSocket::connect(server.target(), Some(away)).await?;
    let mut found = Vec::new();
    let queue = async {
        while found.len() < accepted.len() {
            let delivery = reader.delivery().await?;
            let number = EnvelopeView::parse(&delivery.envelope)?.content.first_chunk();
            found.push(u32::from_be_bytes(*number.context("content")?));
            reader.queue_ack(delivery.id);
        }
        anyhow::Ok(())
    };
    timeout(STOP_TIMEOUT, queue).await.context("accepted messages are missing after the stop")??;
    for number in &accepted {
        assert!(found.contains(number), "message {number} was accepted and is gone");
    }
    Ok(())
}

/// Starts a request whose body is not complete, so that it is under way until the rest is sent.
async fn half_a_request(server: &Server) -> anyhow::Result<(TlsStream<TcpStream>, Vec<u8>)> {
    let body = json!({ "number": account::test_number(77) }).to_string().into_bytes();
    let mut stream = server.target().connect(HttpVersion::Http1).await?;
    let head = format!(
        "POST /v1/verification/session HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    let (first, rest) = body.split_at(body.len() / 2);
    stream.write_all(first).await?;
    stream.flush().await?;
    // Long enough for the server to have begun with it.
    sleep(Duration::from_millis(200)).await;
    Ok((stream, rest.to_vec()))
}

#[tokio::test]
async fn a_request_under_way_is_finished_before_the_stop() -> anyhow::Result<()> {
    let mut server = Server::start(ServerOptions::unlimited()).await?;
    let (mut stream, rest) = half_a_request(&server).await?;
    server.terminate()?;
    sleep(Duration::from_millis(300)).await;
    assert!(server.is_running()?, "it did not wait for the request\n{}", server.log());
    let refused = TcpStream::connect(server.target().address).await;
    assert!(refused.is_err(), "it still accepts connections");
    stream.write_all(&rest).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    timeout(STOP_TIMEOUT, stream.read_to_end(&mut answer)).await?.ok();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(server.exited(STOP_TIMEOUT).await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_up_the_stop() -> anyhow::Result<()> {
    let mut server = Server::start(ServerOptions::unlimited()).await?;
    let _stuck = half_a_request(&server).await?;
    server.terminate()?;
    assert_eq!(server.exited(STOP_TIMEOUT).await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_second_signal_cuts() -> anyhow::Result<()> {
    let mut server = Server::start(ServerOptions::unlimited()).await?;
    let _stuck = half_a_request(&server).await?;
    server.terminate()?;
    sleep(Duration::from_millis(200)).await;
    assert!(server.is_running()?);
    server.terminate()?;
    server.exited(Duration::from_secs(2)).await?;
    Ok(())
}
