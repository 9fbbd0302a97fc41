//! The client against servers on this machine: what it may reach, and what it takes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use outgoing::{AddressPolicy, Client, ClientSettings, SendError};
use rustls::{ServerConfig, pki_types::CertificateDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// A server that answers everything with these bytes; its port and its certificate.
async fn serve(answer: &'static [u8]) -> (u16, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (port, made.cert.der().clone())
}

fn settings(root: CertificateDer<'static>) -> ClientSettings {
    let here = ["127.0.0.0/8".to_owned(), "::1/128".to_owned()];
    ClientSettings {
        addresses: AddressPolicy::with_networks(&here).unwrap(),
        extra_roots: vec![root],
        answer_bytes_max: 10,
        timeout: Duration::from_secs(10),
        ..ClientSettings::default()
    }
}

fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

#[tokio::test]
async fn an_answer_comes_as_it_is_and_no_longer_than_wanted() {
    let (port, root) =
        serve(b"HTTP/1.1 404 Not Found\r\nretry-after: 7\r\ncontent-length: 20\r\n\r\n01234567890123456789")
            .await;
    let client = Client::new(settings(root));
    for host in ["localhost", "127.0.0.1"] {
        let answer = client.send(get(&format!("https://{host}:{port}/"))).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (404, &"7".parse().unwrap())
        );
        assert_eq!(&answer.body()[..], b"0123456789");
    }
}

#[tokio::test]
async fn redirections_are_answers() {
    let (port, root) =
        serve(b"HTTP/1.1 302 Found\r\nlocation: https://localhost/\r\ncontent-length: 0\r\n\r\n").await;
    let answer = Client::new(settings(root)).send(get(&format!("https://localhost:{port}/"))).await.unwrap();
    assert_eq!(answer.status().as_u16(), 302);
}

#[tokio::test]
async fn private_addresses_are_refused_by_name_and_by_number() {
    let (port, root) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let client = Client::new(ClientSettings { addresses: AddressPolicy::public(), ..settings(root) });
    for host in ["localhost", "127.0.0.1", "0x7f.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "0"] {
        let refused = client.send(get(&format!("https://{host}:{port}/"))).await;
        assert!(matches!(refused, Err(SendError::Forbidden)), "{host}: {refused:?}");
    }
}

#[tokio::test]
async fn nothing_but_https_and_trusted_certificates() {
    let (port, root) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let client = Client::new(settings(root.clone()));
    let plain = client.send(get(&format!("http://localhost:{port}/"))).await;
    assert!(matches!(plain, Err(SendError::Forbidden)), "{plain:?}");
    let wary = Client::new(ClientSettings { extra_roots: Vec::new(), ..settings(root) });
    let refused = wary.send(get(&format!("https://localhost:{port}/secret"))).await.unwrap_err();
    assert!(matches!(refused, SendError::Unreachable(_)), "{refused:?}");
    assert!(!format!("{refused:?}").contains("secret"), "an error does not say where the request went");
}
