//! The client: built when it is first used, one for everything that is reached under the same rules.

use std::{error::Error, fmt, net::IpAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use reqwest::{Url, redirect};
use rustls::{
    ClientConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::CertificateDer,
};
use rustls_platform_verifier::Verifier;
use tokio::sync::OnceCell;

use crate::{
    AddressPolicy,
    resolve::{CheckedResolver, ForbiddenAddress},
};

/// How a ping on an idle connection of HTTP/2 is waited for.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Whom a client may reach, and how patient it is.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Which addresses may be connected to.
    pub addresses: AddressPolicy,
    /// Certificate authorities that are trusted besides the system's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Nothing but https.
    pub https_only: bool,
    /// Nothing but HTTP/2, over one connection to each host. Otherwise the other side chooses, and as long as it
    /// has not, each request makes a connection of its own.
    pub http2_only: bool,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a request may take, from its beginning to the end of its answer.
    pub timeout: Duration,
    /// How long an idle connection is kept; without, as long as the other side keeps it.
    pub idle_timeout: Option<Duration>,
    /// Idle connections kept to one host. Connections of HTTP/2 are shared, so there is one in any case.
    pub idle_per_host_max: usize,
    /// How often a connection of HTTP/2 is tried for being alive, also while it is idle.
    pub ping_interval: Option<Duration>,
    /// Bytes of an answer's body; one that is longer is cut there.
    pub answer_bytes_max: usize,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            addresses: AddressPolicy::public(),
            extra_roots: Vec::new(),
            https_only: true,
            http2_only: false,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(15),
            idle_timeout: Some(Duration::from_mins(1)),
            idle_per_host_max: 8,
            ping_interval: None,
            answer_bytes_max: 16 * 1024,
        }
    }
}

/// What the other side said.
pub type Answer = Response<Bytes>;

/// Why there was no answer. None of these names where the request went: that may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The address, or the scheme, is not one that may be reached.
    #[error("the address is not allowed")]
    Forbidden,
    /// No connection could be made.
    #[error("the server cannot be reached")]
    Unreachable(#[source] Cause),
    /// The answer took too long.
    #[error("the server took too long")]
    TimedOut,
    /// The connection broke, or what came was no answer.
    #[error("the connection broke")]
    Broken(#[source] Cause),
    /// The request cannot be one, or the client could not be built.
    #[error("the request could not be made")]
    Unusable(#[source] Cause),
}

type Cause = Box<dyn Error + Send + Sync>;

/// Makes requests. Nothing is built or read before the first one.
pub struct Client {
    settings: ClientSettings,
    built: OnceCell<reqwest::Client>,
}

impl Client {
    /// A client with these settings.
    pub fn new(settings: ClientSettings) -> Self {
        Self { settings, built: OnceCell::new() }
    }

    /// Whom it may reach, and how patient it is.
    pub fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    /// Sends a request, and answers with whatever came back, errors of the other side included.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Answer, SendError> {
        let request = reqwest::Request::try_from(request).map_err(unusable)?;
        if let Some(address) = literal_address(request.url())
            && !self.settings.addresses.allows(address)
        {
            return Err(SendError::Forbidden);
        }
        if self.settings.https_only && request.url().scheme() != "https" {
            return Err(SendError::Forbidden);
        }
        let answer = self.built().await?.execute(request).await.map_err(failure)?;
        self.read(answer).await
    }

    async fn built(&self) -> Result<&reqwest::Client, SendError> {
        self.built
            .get_or_try_init(|| async {
                let settings = self.settings.clone();
                // Reading the system's certificates takes a while.
                let built = tokio::task::spawn_blocking(move || build(settings));
                built.await.map_err(|error| SendError::Unusable(error.into()))?
            })
            .await
    }

    async fn read(&self, mut answer: reqwest::Response) -> Result<Answer, SendError> {
        let (status, version) = (answer.status(), answer.version());
        let headers = std::mem::take(answer.headers_mut());
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(failure)? {
            let room = self.settings.answer_bytes_max - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                break;
            }
        }
        let mut response = Response::new(body.freeze());
        *response.status_mut() = status;
        *response.version_mut() = version;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

fn build(settings: ClientSettings) -> Result<reqwest::Client, SendError> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(settings.extra_roots)?)
        .dns_resolver(CheckedResolver(settings.addresses))
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .user_agent("heliograph")
        .https_only(settings.https_only)
        .connect_timeout(settings.connect_timeout)
        .timeout(settings.timeout)
        .pool_idle_timeout(settings.idle_timeout)
        .pool_max_idle_per_host(settings.idle_per_host_max)
        .tcp_nodelay(true);
    if settings.http2_only {
        builder = builder.http2_prior_knowledge();
    }
    if let Some(interval) = settings.ping_interval {
        builder = builder
            .http2_keep_alive_interval(interval)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_keep_alive_while_idle(true);
    }
    builder.build().map_err(unusable)
}

fn tls(extra_roots: Vec<CertificateDer<'static>>) -> Result<ClientConfig, SendError> {
    let unusable = |error: rustls::Error| SendError::Unusable(error.into());
    let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new_with_extra_roots(extra_roots, Arc::clone(&provider)).map_err(unusable)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The address, where the URL names one and no resolver will be asked.
fn literal_address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn unusable(error: reqwest::Error) -> SendError {
    SendError::Unusable(error.without_url().into())
}

fn failure(error: reqwest::Error) -> SendError {
    let error = error.without_url();
    if is_forbidden(&error) {
        SendError::Forbidden
    } else if error.is_timeout() {
        SendError::TimedOut
    } else if error.is_connect() {
        SendError::Unreachable(error.into())
    } else {
        SendError::Broken(error.into())
    }
}

fn is_forbidden(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<ForbiddenAddress>() {
            return true;
        }
        next = error.source();
    }
    false
}
