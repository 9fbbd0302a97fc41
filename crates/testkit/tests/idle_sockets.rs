//! A websocket from which nothing is heard is closed when its time is over, and one that speaks is not.

use std::time::Duration;

use testkit::{ChatSocket, HttpVersion, Server, ServerOptions, register_many};
use tokio::time::{Instant, sleep_until, timeout};

/// The shortest that may be configured.
const IDLE: Duration = Duration::from_secs(45);

/// Between the last word and when the test takes note of it.
const EARLY: Duration = Duration::from_secs(2);

/// What a busy machine may take longer.
const SLACK: Duration = Duration::from_secs(20);

#[tokio::test]
async fn silence_closes_a_socket_and_a_word_keeps_it() -> anyhow::Result<()> {
    let config = format!("[gateway]\nsocket_idle_timeout_ms = {}\n", IDLE.as_millis());
    let server = Server::start(ServerOptions::unlimited().with_config(&config)).await?;
    let accounts = register_many(&server, 0, 2, 2).await?;
    let mut silent = Vec::new();
    for (version, account) in
        [(HttpVersion::Http1, Some(&accounts[0])), (HttpVersion::Http2, None), (HttpVersion::Http1, None)]
    {
        silent.push(ChatSocket::connect_over(server.target(), version, account).await?);
    }
    let mut speaking = ChatSocket::connect(server.target(), Some(&accounts[1])).await?;
    let opened = Instant::now();
    sleep_until(opened + IDLE / 2).await;
    assert_eq!(speaking.request("GET", "/v1/keepalive", None).await?.status, 200);
    for socket in &mut silent {
        let (code, reason) = timeout(IDLE + SLACK, socket.closed()).await??;
        assert_eq!((code, reason.as_str()), (1000, "Timeout"));
        assert!(opened.elapsed() + EARLY > IDLE, "{:?}", opened.elapsed());
    }
    assert_eq!(speaking.request("GET", "/v1/keepalive", None).await?.status, 200);
    Ok(())
}
