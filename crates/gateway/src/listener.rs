//! Accepting connections: TLS, then HTTP/1.1 or 2 as the client chose.

use std::{convert::Infallible, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::{net::TcpListener, sync::Semaphore};

use crate::{
    caller::{Carrier, Origin},
    counted::Counted,
    door::Door,
    limits::{HEAD_MAX, HEADERS_MAX, STREAMS_MAX},
    metrics::Open,
    tls::{H2, TlsStream},
    unread::Unread,
};

/// Pause after the system refuses a connection, usually because no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often an HTTP/2 connection is asked whether it is alive, and how long it may take to say so. An
/// HTTP/2 connection without requests would otherwise stay forever.
const H2_PING_INTERVAL: Duration = Duration::from_mins(1);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes an HTTP/2 client may send on a stream before they are read: one socket frame.
const H2_STREAM_WINDOW: u32 = 512 * 1024;

/// The same for all streams of a connection together.
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Bytes queued for one slow HTTP/2 stream before its writer waits.
const H2_SEND_BUFFER: usize = 64 * 1024;

/// A port on which the door is open.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Takes a port; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// The address that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections until the door is closed. What has been accepted goes on by itself.
    pub async fn run(self, tls: Arc<ServerConfig>, door: Door) {
        let room = Arc::new(Semaphore::new(door.config().connections_max.min(Semaphore::MAX_PERMITS)));
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = door.stopping().cancelled() => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Dropping the stream closes it: full is an answer, not a queue.
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                door.metrics().connections_refused.inc();
                continue;
            };
            // Frames are written whole; waiting to fill a packet only adds latency.
            let _ = stream.set_nodelay(true);
            let stream = Counted::new(stream, place, Open::new(&door.metrics().connections));
            door.tasks().spawn(serve(stream, peer, Arc::clone(&tls), door.clone()));
        }
    }
}

async fn serve(stream: Counted, peer: SocketAddr, tls: Arc<ServerConfig>, door: Door) {
    let handshake = tokio::time::timeout(door.config().handshake_timeout, TlsStream::accept(stream, tls));
    let stream = match handshake.await {
        Ok(Ok(stream)) => stream,
        // Scanners and lost phones: nothing to look into.
        Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => return tracing::debug!("a TLS handshake took too long"),
    };
    let origin = Origin { peer: peer.ip(), carrier: Carrier::Https };
    let h2 = stream.alpn_protocol() == Some(H2);
    // Apart, so that a connection does not hold room for both, nor for its handshake.
    let outcome = if h2 {
        Box::pin(serve_http2(stream, origin, &door)).await
    } else {
        Box::pin(serve_http1(stream, origin, &door)).await
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn serve_http1(stream: TlsStream<Counted>, origin: Origin, door: &Door) -> hyper::Result<()> {
    let answer = answering(door.clone(), origin);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(door.config().head_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        outcome = connection.as_mut() => return outcome,
        () = door.stopping().cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

async fn serve_http2(stream: TlsStream<Counted>, origin: Origin, door: &Door) -> hyper::Result<()> {
    let answer = answering(door.clone(), origin);
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(STREAMS_MAX)
        // Remembering a client's headers would cost every idle connection a kilobyte, to save it some hundred bytes a call.
        .header_table_size(0)
        .max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX))
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_send_buf_size(H2_SEND_BUFFER)
        .keep_alive_interval(H2_PING_INTERVAL)
        .keep_alive_timeout(H2_PING_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        outcome = connection.as_mut() => return outcome,
        () = door.stopping().cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

fn answering(door: Door, origin: Origin) -> impl Fn(Request<Incoming>) -> Answer + Clone {
    move |request| {
        let door = door.clone();
        Box::pin(
            async move { Ok(door.handle(request.map(|body| Body::new(Unread::new(body))), origin).await) },
        )
    }
}
