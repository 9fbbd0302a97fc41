//! Against a client that is not ours, over a pipe as narrow as wanted.

use std::time::Duration;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client};

use super::*;

type Server = TlsStream<DuplexStream>;
type Client = client::TlsStream<DuplexStream>;

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Both ends of a connection over a pipe that holds so many bytes each way.
async fn connected(pipe: usize) -> (Server, Client) {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = key.cert.der().clone();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.signing_key.serialize_der()));
    let config = crate::tls::server_config(vec![certificate.clone()], private).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![crate::tls::H2.to_vec()];
    let (ours, theirs) = duplex(pipe);
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let both = async { tokio::try_join!(TlsStream::accept(ours, config), connector.connect(name, theirs)) };
    timeout(PATIENCE, both).await.unwrap().unwrap()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

fn holds_nothing(server: &Server) -> bool {
    server.incoming.capacity() + server.plaintext.capacity() + server.outgoing.capacity() == 0
}

#[tokio::test]
async fn what_is_sent_arrives_through_a_pipe_of_any_width() {
    for pipe in [1, 7, 1_000, 20_000, 1_000_000] {
        let (server, client) = connected(pipe).await;
        assert_eq!(server.alpn_protocol(), Some(crate::tls::H2));
        let sent = pattern(if pipe < 100 { 40_000 } else { 700_000 });
        let (mut server_in, mut server_out) = split(server);
        let (mut client_in, mut client_out) = split(client);
        let mut echo = vec![0; sent.len()];
        let work = async {
            tokio::try_join!(
                async {
                    client_out.write_all(&sent).await?;
                    client_out.flush().await
                },
                async {
                    tokio::io::copy(&mut (&mut server_in).take(sent.len() as u64), &mut server_out).await?;
                    server_out.flush().await
                },
                async { client_in.read_exact(&mut echo).await.map(drop) },
            )
        };
        timeout(PATIENCE, work).await.unwrap().unwrap();
        assert!(echo == sent, "through {pipe}");
        assert!(holds_nothing(&server_in.unsplit(server_out)), "through {pipe}");
    }
}

#[tokio::test]
async fn readers_with_little_room_get_everything() {
    let (mut server, mut client) = connected(100_000).await;
    let sent = pattern(50_000);
    client.write_all(&sent).await.unwrap();
    client.flush().await.unwrap();
    let mut received = Vec::new();
    while received.len() < sent.len() {
        let mut little = [0; 999];
        let len = timeout(PATIENCE, server.read(&mut little)).await.unwrap().unwrap();
        received.extend_from_slice(&little[..len]);
    }
    assert!(received == sent);
    assert!(holds_nothing(&server));
}

#[tokio::test]
async fn a_client_that_has_closed_can_still_be_answered() {
    let (mut server, mut client) = connected(100_000).await;
    client.write_all(b"the last").await.unwrap();
    client.shutdown().await.unwrap();
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"the last");
    server.write_all(b"the answer").await.unwrap();
    server.shutdown().await.unwrap();
    received.clear();
    client.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"the answer");
    assert!(server.write(b"more").await.is_err(), "it has said that nothing follows");
}

#[tokio::test]
async fn a_connection_that_is_cut_does_not_look_finished() {
    let (mut server, mut client) = connected(100_000).await;
    client.write_all(b"half a").await.unwrap();
    client.flush().await.unwrap();
    drop(client);
    let mut received = Vec::new();
    let error = server.read_to_end(&mut received).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(received, b"half a");
}

#[tokio::test]
async fn keys_are_updated_when_the_client_wants() {
    let (mut server, mut client) = connected(100_000).await;
    for round in 0..5_u8 {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        client.write_all(&[round; 3]).await.unwrap();
        client.flush().await.unwrap();
        let mut received = [0; 3];
        server.read_exact(&mut received).await.unwrap();
        assert_eq!(received, [round; 3]);
        // The server's own update goes ahead of what it writes next.
        server.write_all(&[round; 5]).await.unwrap();
        server.flush().await.unwrap();
        let mut answer = [0; 5];
        timeout(PATIENCE, client.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer, [round; 5]);
    }
    assert!(holds_nothing(&server));
}

#[tokio::test]
async fn what_was_tampered_with_is_refused_with_an_alert() {
    let (mut server, mut client) = connected(100_000).await;
    let forged = [&[23, 3, 3, 0, 40][..], &[7; 40]].concat();
    client.get_mut().0.write_all(&forged).await.unwrap();
    let error = server.read(&mut [0; 10]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let error = timeout(PATIENCE, client.read(&mut [0; 10])).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_writer_up() {
    let (mut server, mut client) = connected(5_000).await;
    let sent = pattern(1_000_000);
    let mut written = 0;
    while let Ok(len) = timeout(Duration::from_millis(50), server.write(&sent[written..])).await {
        written += len.unwrap();
    }
    assert!(written <= 2 * SEAL_LEN, "{written} bytes were taken");
    assert!(server.outgoing.capacity() <= 2 * SEAL_LEN);
    let mut received = vec![0; sent.len()];
    let rest = async {
        server.write_all(&sent[written..]).await?;
        server.flush().await
    };
    let both = async { tokio::try_join!(rest, client.read_exact(&mut received)) };
    timeout(PATIENCE, both).await.unwrap().unwrap();
    assert!(received == sent);
    assert!(holds_nothing(&server));
}

#[tokio::test]
async fn pieces_share_a_record() {
    let (mut server, mut client) = connected(100_000).await;
    let pieces = [IoSlice::new(b"a"), IoSlice::new(b""), IoSlice::new(b"bc"), IoSlice::new(b"def")];
    assert_eq!(server.write_vectored(&pieces).await.unwrap(), 6);
    server.flush().await.unwrap();
    let mut received = [0; 99];
    let len = client.read(&mut received).await.unwrap();
    assert_eq!(&received[..len], b"abcdef", "one record is read at a time");
    assert_eq!(server.write_vectored(&[IoSlice::new(b"")]).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_no_handshake_is_refused() {
    let endless = [&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &vec![0; 0x4000 - 4]].concat();
    let cut = [22, 3, 1, 0x40, 0, 1];
    for hello in [&b"GET / HTTP/1.1\r\n\r\n"[..], &endless, &cut] {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.signing_key.serialize_der()));
        let config = crate::tls::server_config(vec![key.cert.der().clone()], private).unwrap();
        let (ours, mut theirs) = duplex(100_000);
        theirs.write_all(hello).await.unwrap();
        theirs.shutdown().await.unwrap();
        assert!(timeout(PATIENCE, TlsStream::accept(ours, config)).await.unwrap().is_err());
    }
}
