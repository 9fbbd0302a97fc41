//! The operator's own port: what the server counts, and whether it takes requests.
//!
//! Plain HTTP, on an address of its own: it is for the machine, or a network of the operator's, and never
//! beside what strangers reach.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header::CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use prometheus_client::{encoding::text, registry::Registry};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use crate::{
    door::Door,
    limits::{HEAD_MAX, HEADERS_MAX},
};

/// Connections at once. Others wait in the system's backlog for one of these to end.
const CONNECTIONS_MAX: usize = 16;

/// How long a connection may last, which carries one request.
const CONNECTION_LIFE: Duration = Duration::from_secs(10);

/// Pause after the system refuses a connection, usually because no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A port for the operator.
#[derive(Debug)]
pub struct OperatorListener {
    socket: TcpListener,
    address: SocketAddr,
}

struct Operator {
    registry: Registry,
    door: Door,
}

impl OperatorListener {
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

    /// Answers until the future is dropped, also while the door is being closed:
    ///
    /// - `GET /metrics`: everything that is counted, in the text form of OpenMetrics.
    /// - `GET /health`: 200 while requests are taken, 503 when the server is stopping.
    pub async fn run(self, registry: Registry, door: Door) {
        let router = router(Arc::new(Operator { registry, door }));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            if connections.len() >= CONNECTIONS_MAX {
                connections.join_next().await;
                continue;
            }
            match self.socket.accept().await {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, router.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "a connection of the operator could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_LIFE)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(CONNECTION_LIFE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection of the operator ended early"),
        Err(_) => tracing::debug!("a connection of the operator took too long"),
    }
}

fn router(operator: Arc<Operator>) -> Router {
    Router::new().route("/metrics", get(metrics)).route("/health", get(health)).with_state(operator)
}

async fn metrics(State(operator): State<Arc<Operator>>) -> Response {
    let mut out = String::new();
    match text::encode(&mut out, &operator.registry) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], out).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written down");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn health(State(operator): State<Arc<Operator>>) -> Response {
    if operator.door.stopping().is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
    } else {
        "ready\n".into_response()
    }
}
