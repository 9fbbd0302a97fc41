//! The number of connections is bounded, websockets included.

use std::time::Duration;

use testkit::{ChatSocket, Server, ServerOptions};
use tokio::time::{sleep, timeout};

const PLACES: usize = 3;

/// How long the server may take to notice that a connection is gone.
const NOTICED: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_keeps_its_place_until_it_is_closed() -> anyhow::Result<()> {
    let config = format!("[gateway]\nconnections_max = {PLACES}\n");
    let server = Server::start(ServerOptions::default().with_config(&config)).await?;
    let mut sockets = Vec::new();
    for _ in 0..PLACES {
        sockets.push(ChatSocket::connect(server.target(), None).await?);
    }
    assert!(ChatSocket::connect(server.target(), None).await.is_err(), "there is no place left");
    for socket in &mut sockets {
        assert_eq!(socket.request("GET", "/v1/keepalive", None).await?.status, 200);
    }
    sockets.pop();
    timeout(NOTICED, async {
        while ChatSocket::connect(server.target(), None).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await?;
    Ok(())
}
