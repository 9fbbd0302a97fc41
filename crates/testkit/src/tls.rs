//! Connecting as the official client does: TLS 1.3, one pinned root, one application protocol.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::https::HttpVersion;

/// The name the development certificate is for.
pub(crate) const HOST: &str = "localhost";

/// A running server and what is needed to trust it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl Target {
    /// A server at that address whose certificate is signed by this authority.
    pub fn new(address: SocketAddr, ca_pem: &str) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            roots.add(certificate.context("the server's CA is not PEM")?)?;
        }
        let http1 = config(roots.clone(), HttpVersion::Http1)?;
        let http2 = config(roots, HttpVersion::Http2)?;
        Ok(Self { address, http1, http2 })
    }

    /// The same server, listening elsewhere after a restart.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// Opens a TLS connection that will speak that version of HTTP.
    pub async fn connect(&self, version: HttpVersion) -> anyhow::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await.context("the server refused the connection")?;
        stream.set_nodelay(true)?;
        let config = match version {
            HttpVersion::Http1 => &self.http1,
            HttpVersion::Http2 => &self.http2,
        };
        let name = ServerName::try_from(HOST)?;
        TlsConnector::from(Arc::clone(config)).connect(name, stream).await.context("TLS handshake failed")
    }
}

/// X25519 alone, the official client's first choice: a hybrid key exchange would cost the load generator
/// processor time that belongs to the server beside it.
fn config(roots: RootCertStore, version: HttpVersion) -> anyhow::Result<Arc<ClientConfig>> {
    let provider =
        CryptoProvider { kx_groups: vec![aws_lc_rs::kx_group::X25519], ..aws_lc_rs::default_provider() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![match version {
        HttpVersion::Http1 => b"http/1.1".to_vec(),
        HttpVersion::Http2 => b"h2".to_vec(),
    }];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}
