//! The operator's port: what is counted, and whether requests are taken.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::Context as _;
use testkit::{ChatSocket, Server, ServerOptions, register_many};
use tokio::time::{sleep, timeout};

const CONFIG: &str = "[metrics]\nlisten = '127.0.0.1:0'\n";

/// How long a count may take to follow what happened.
const NOTICED: Duration = Duration::from_secs(5);

/// Asks in plain HTTP; returns the head and the body.
fn get(address: &str, path: &str) -> anyhow::Result<(String, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(NOTICED))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP")?;
    Ok((head.to_ascii_lowercase(), body.to_owned()))
}

fn address(server: &Server) -> anyhow::Result<String> {
    Ok(std::fs::read_to_string(server.data().join("metrics-address"))?.trim().to_owned())
}

/// Every number by its name, both as text.
fn numbers(address: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let (head, body) = get(address, "/metrics")?;
    anyhow::ensure!(head.contains("application/openmetrics-text"), "{head}");
    anyhow::ensure!(body.ends_with("# EOF\n"), "{body}");
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.rsplit_once(' '));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited().with_config(CONFIG)).await?;
    let metrics = address(&server)?;
    let accounts = register_many(&server, 0, 2, 2).await?;
    let mut alice = ChatSocket::connect(server.target(), Some(&accounts[0])).await?;
    // The answer to the upgrade comes before the socket is there to be counted.
    alice.queue_empty().await?;
    let before = numbers(&metrics)?;
    assert_eq!(before["heliograph_gateway_sockets"], "1");
    assert_eq!(before["heliograph_messages_readers"], "1");
    assert_eq!(before["heliograph_messages_accepted_total"], "0");

    let message = serde_json::json!({
        "timestamp": 1,
        "messages": [{
            "type": 1,
            "destinationDeviceId": 1,
            "destinationRegistrationId": accounts[1].registration_id,
            "content": "AA==",
        }],
    });
    let path = format!("/v1/messages/{}", accounts[1].aci);
    let answer = alice.request("PUT", &path, Some(&message)).await?;
    assert_eq!(answer.status, 200);
    let after = numbers(&metrics)?;
    assert_eq!(after["heliograph_messages_accepted_total"], "1");
    assert_eq!(after["heliograph_messages_commit_messages_sum"], "1.0");
    assert_eq!(after["heliograph_messages_acknowledged_total"], "0");

    drop(alice);
    timeout(NOTICED, async {
        while numbers(&metrics).is_ok_and(|now| now["heliograph_messages_readers"] != "0") {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await?;
    let text = get(&metrics, "/metrics")?.1;
    for account in &accounts {
        for secret in [account.aci.to_string(), account.pni.to_string(), account.number.clone()] {
            assert!(!text.contains(&secret), "a metric names somebody");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_answers_no_more_than_it_should_and_others_not_at_all() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited().with_config(CONFIG)).await?;
    let metrics = address(&server)?;
    assert!(get(&metrics, "/health")?.0.starts_with("http/1.1 200"));
    assert!(get(&metrics, "/v1/keepalive")?.0.starts_with("http/1.1 404"));
    let mut socket = ChatSocket::connect(server.target(), None).await?;
    for path in ["/metrics", "/health"] {
        assert_eq!(socket.request("GET", path, None).await?.status, 404, "{path} on the public port");
    }
    // Connections that say nothing take its places, but not for ever.
    let silent: Vec<_> = (0..32).map(|_| TcpStream::connect(&metrics)).collect::<Result<_, _>>()?;
    assert_eq!(socket.request("GET", "/v1/keepalive", None).await?.status, 200);
    drop(silent);
    assert!(get(&metrics, "/health")?.0.starts_with("http/1.1 200"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_says_so() -> anyhow::Result<()> {
    let mut server = Server::start(ServerOptions::unlimited().with_config(CONFIG)).await?;
    let metrics = address(&server)?;
    // It waits for this one to close, which it does not do by itself.
    let _socket = ChatSocket::connect(server.target(), None).await?;
    server.terminate()?;
    timeout(NOTICED, async {
        while get(&metrics, "/health").is_ok_and(|(head, _)| !head.starts_with("http/1.1 503")) {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await?;
    assert!(server.exited(NOTICED * 2).await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_listens_unless_asked_to() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    assert!(address(&server).is_err());
    Ok(())
}
