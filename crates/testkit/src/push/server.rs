//! An HTTPS server, HTTP/1.1 and 2, that can be slow, away, or hang up.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Requests that a connection of HTTP/2 may have under way, as many as Apple's.
const STREAMS_MAX: u32 = 1000;

/// A request as it came.
#[derive(Debug)]
pub struct Received {
    /// When its last byte had come.
    pub at: Instant,
    /// Its head.
    pub head: Parts,
    /// Its body.
    pub body: Bytes,
    /// On which connection, counted from 1.
    pub connection: usize,
}

impl Received {
    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// What is answered.
pub type Answer = Response<Full<Bytes>>;

type Handler = dyn Fn(Received) -> Answer + Send + Sync;

/// A server on a free port of this machine, until it is dropped.
pub struct StandIn {
    address: SocketAddr,
    ca_pem: String,
    control: Arc<Control>,
    accepting: JoinHandle<()>,
}

struct Control {
    handler: Box<Handler>,
    delay_ms: AtomicU64,
    away: AtomicBool,
    connections: AtomicUsize,
    under_way: AtomicUsize,
    under_way_max: AtomicUsize,
    /// Counts how often all were told to go, and how often they were cut off.
    hang_up: watch::Sender<(u64, u64)>,
}

impl StandIn {
    /// Starts one that answers with this.
    pub async fn start(handler: impl Fn(Received) -> Answer + Send + Sync + 'static) -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let control = Arc::new(Control {
            handler: Box::new(handler),
            delay_ms: AtomicU64::new(0),
            away: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            under_way_max: AtomicUsize::new(0),
            hang_up: watch::Sender::new((0, 0)),
        });
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let accepting = tokio::spawn(accept(listener, acceptor, Arc::clone(&control)));
        Ok(Self { address, ca_pem: made.cert.pem(), control, accepting })
    }

    /// Where it is, as an address that begins with `https://`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The certificate to trust, in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Takes so long for every answer from now on.
    pub fn answer_after(&self, delay: Duration) {
        self.control.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), SeqCst);
    }

    /// Takes no connections from now on, or takes them again.
    pub fn set_away(&self, away: bool) {
        self.control.away.store(away, SeqCst);
    }

    /// Tells every connection that it takes no more requests (GOAWAY), and finishes those under way.
    pub fn go_away(&self) {
        self.control.hang_up.send_modify(|(told, _)| *told += 1);
    }

    /// Cuts every connection in the middle of whatever is under way.
    pub fn cut(&self) {
        self.control.hang_up.send_modify(|(_, cut)| *cut += 1);
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.control.connections.load(SeqCst)
    }

    /// The most requests that were under way at the same time.
    pub fn under_way_max(&self) -> usize {
        self.control.under_way_max.load(SeqCst)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

impl std::fmt::Debug for StandIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StandIn").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, control: Arc<Control>) {
    while let Ok((stream, _)) = listener.accept().await {
        if control.away.load(SeqCst) {
            continue;
        }
        let _ = stream.set_nodelay(true);
        let (acceptor, control) = (acceptor.clone(), Arc::clone(&control));
        tokio::spawn(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, control).await;
            }
        });
    }
}

async fn serve(stream: TlsStream<TcpStream>, control: Arc<Control>) {
    let number = control.connections.fetch_add(1, SeqCst) + 1;
    let mut hang_up = control.hang_up.subscribe();
    let (_, cut_before) = *hang_up.borrow_and_update();
    let answers = service_fn(move |request| answer(request, number, Arc::clone(&control)));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), answers);
    let mut connection = std::pin::pin!(connection);
    loop {
        tokio::select! {
            _ = &mut connection => return,
            changed = hang_up.changed() => {
                let (_, cut) = *hang_up.borrow_and_update();
                if changed.is_err() || cut != cut_before {
                    return;
                }
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    connection: usize,
    control: Arc<Control>,
) -> Result<Answer, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let received = Received { at: Instant::now(), head, body, connection };
    let under_way = control.under_way.fetch_add(1, SeqCst) + 1;
    control.under_way_max.fetch_max(under_way, SeqCst);
    let _done = Done(&control.under_way);
    let answer = (control.handler)(received);
    let delay = control.delay_ms.load(SeqCst);
    if delay > 0 {
        sleep(Duration::from_millis(delay)).await;
    }
    Ok(answer)
}

/// Also when the other side has gone away.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}
