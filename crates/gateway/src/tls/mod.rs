//! TLS 1.3, and nothing older.

mod stream;

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::NoServerSessionStorage,
    version::TLS13,
};

pub(crate) use stream::TlsStream;

/// ALPN name of HTTP/2.
pub(crate) const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// The certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the certificate and its key cannot be used: {0}")]
pub struct UnusableCertificate(#[from] rustls::Error);

/// What a server with that certificate chain (leaf first) offers.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, UnusableCertificate> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
    // Official clients never resume: tickets would be sent on every connection for nothing.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
