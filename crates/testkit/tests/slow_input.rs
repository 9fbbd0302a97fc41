//! Clients that take their time on purpose, and connections that are not what they should be.

use std::time::Duration;

use testkit::{ChatSocket, HttpVersion, Server, ServerOptions, process, register_many};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

/// Time-outs short enough for a test.
const HASTY: &str = "
[gateway]
handshake_timeout_ms = 1500
head_timeout_ms = 2000
request_timeout_ms = 2500
";
const CUT_WITHIN: Duration = Duration::from_secs(10);

/// Writes one byte at a time until the server ends the connection.
async fn trickle(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    endless: &[u8],
) -> anyhow::Result<Vec<u8>> {
    let mut received = Vec::new();
    let began = Instant::now();
    for byte in endless.iter().cycle() {
        anyhow::ensure!(began.elapsed() < CUT_WITHIN, "still open after {CUT_WITHIN:?}");
        if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
            break;
        }
        let read = timeout(Duration::from_millis(100), stream.read_buf(&mut received)).await;
        if let Ok(Ok(0) | Err(_)) = read {
            break;
        }
    }
    Ok(received)
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_cut() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited().with_config(HASTY)).await?;
    let address = server.target().address;
    let silent = async {
        let mut stream = TcpStream::connect(address).await?;
        let mut nothing = Vec::new();
        let read = timeout(CUT_WITHIN, stream.read_to_end(&mut nothing)).await;
        anyhow::ensure!(read.is_ok(), "a connection without a handshake stays open");
        anyhow::Ok(())
    };
    let handshake = async {
        let mut stream = TcpStream::connect(address).await?;
        // The beginning of a record that would be long.
        stream.write_all(&[0x16, 3, 1, 0x20, 0]).await?;
        trickle(&mut stream, &[1]).await.map(drop)
    };
    let headers = async {
        let mut stream = server.target().connect(HttpVersion::Http1).await?;
        stream.write_all(b"GET /v1/keepalive HTTP/1.1\r\nhost: localhost\r\n").await?;
        trickle(&mut stream, b"x: y\r\n").await.map(drop)
    };
    let body = async {
        let mut stream = server.target().connect(HttpVersion::Http1).await?;
        let head = "POST /v1/verification/session HTTP/1.1\r\nhost: localhost\r\n\
                    content-type: application/json\r\ncontent-length: 5000\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        let answer = trickle(&mut stream, b" ").await?;
        let status = answer.get(9..12).map(<[u8]>::to_vec);
        anyhow::ensure!(
            status.is_none_or(|status| status == b"408"),
            "answered {}",
            String::from_utf8_lossy(&answer)
        );
        Ok(())
    };
    tokio::try_join!(silent, handshake, headers, body)?;
    Ok(())
}

/// Peers that vanish in the middle of something leave no descriptor behind.
#[tokio::test]
async fn aborted_connections_are_cleaned_up() -> anyhow::Result<()> {
    const ABORTED: usize = 60;
    let server = Server::start(ServerOptions::unlimited()).await?;
    let account = register_many(&server, 0, 1, 1).await?.remove(0);
    let mut socket = ChatSocket::connect(server.target(), Some(&account)).await?;
    socket.queue_empty().await?;
    let before = process::descriptors(server.pid())?;
    for n in 0..ABORTED {
        match n % 4 {
            0 => drop(TcpStream::connect(server.target().address).await?),
            1 => drop(server.target().connect(HttpVersion::Http1).await?),
            2 => drop(ChatSocket::connect(server.target(), None).await?),
            _ => {
                // A reset instead of an orderly end.
                let stream = TcpStream::connect(server.target().address).await?;
                stream.set_zero_linger()?;
            }
        }
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while process::descriptors(server.pid())? > before {
        anyhow::ensure!(Instant::now() < deadline, "descriptors are left behind");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(socket.request("GET", "/v1/keepalive", None).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn tls_1_2_is_refused() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::default()).await?;
    let mut stream = TcpStream::connect(server.target().address).await?;
    stream.write_all(&client_hello_1_2()).await?;
    let mut answer = Vec::new();
    timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await??;
    // A fatal alert, protocol_version (RFC 8446, section 6).
    assert_eq!(answer.first(), Some(&0x15), "{answer:x?}");
    assert_eq!(answer.get(5..), Some(&[2, 70][..]), "{answer:x?}");
    Ok(())
}

/// What a client that knows nothing newer than TLS 1.2 opens with (RFC 5246, section 7.4.1.2).
fn client_hello_1_2() -> Vec<u8> {
    let extensions: &[&[u8]] = &[
        // server_name: localhost
        &[0, 0, 0, 14, 0, 12, 0, 0, 9],
        b"localhost",
        // supported_groups: x25519, secp256r1
        &[0, 10, 0, 6, 0, 4, 0, 29, 0, 23],
        // ec_point_formats: uncompressed
        &[0, 11, 0, 2, 1, 0],
        // signature_algorithms: ECDSA and RSA-PSS with SHA-256
        &[0, 13, 0, 6, 0, 4, 4, 3, 8, 4],
    ];
    let extensions = extensions.concat();
    let mut hello = vec![3, 3];
    hello.extend([0x42; 32]);
    // No session; ECDHE-ECDSA and ECDHE-RSA with AES-128-GCM; no compression.
    hello.extend([0, 0, 4, 0xC0, 0x2B, 0xC0, 0x2F, 1, 0]);
    hello.extend(u16_len(&extensions));
    hello.extend(extensions);
    let mut handshake = vec![1, 0];
    handshake.extend(u16_len(&hello));
    handshake.extend(hello);
    let mut record = vec![0x16, 3, 1];
    record.extend(u16_len(&handshake));
    record.extend(handshake);
    record
}

fn u16_len(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()
}
