//! The sizes, times and numbers that bound what a stranger can make the server hold.

use std::time::Duration;

/// Requests that one websocket may have unanswered. More are answered 503 at once: clients in use have a
/// handful, and every one costs a task and its body.
pub const SOCKET_REQUESTS_MAX: usize = 128;

/// Largest frame a client may send; longer ones close the socket with 1009. Signal's server's own default.
pub const SOCKET_FRAME_MAX: usize = 512 * 1024;

/// What is read of a websocket at once, into memory that all sockets of a thread share.
pub const SOCKET_READ: usize = 32 * 1024;

/// Deliveries are gathered up to about this many bytes before they are written: a few of the largest TLS
/// records. The last of them may be a page of the queue.
pub const SOCKET_GATHER: usize = 64 * 1024;

/// Events of one socket handled before what they caused is written.
pub const SOCKET_BURST: usize = 64;

/// Largest body of a request that names no other limit.
pub const BODY_MAX: usize = 512 * 1024;

/// Largest response body carried inside a websocket frame: below what clients accept (16 MiB).
pub const SOCKET_RESPONSE_MAX: usize = 4 * 1024 * 1024;

/// Largest head of an HTTP/1.1 request, and largest header list of an HTTP/2 one.
pub const HEAD_MAX: usize = 16 * 1024;

/// Most headers of an HTTP/1.1 request.
pub const HEADERS_MAX: usize = 64;

/// Requests and sockets at once on one HTTP/2 connection. Clients use one socket and a few calls.
pub const STREAMS_MAX: u32 = 128;

/// Bytes of a gRPC message a client may send.
pub const GRPC_MESSAGE_MAX: usize = 1024 * 1024;

/// Times and numbers an operator may want to change.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Connections at once. More are closed as soon as they are accepted.
    pub connections_max: usize,
    /// Time for a TLS handshake. Too short locks out slow phones.
    pub handshake_timeout: Duration,
    /// Time for the head of a request to arrive, also while a connection idles between requests.
    pub head_timeout: Duration,
    /// Time for a request from its head to its answer. It bounds slow bodies and slow stores alike.
    pub request_timeout: Duration,
    /// A websocket from which nothing is heard for so long is closed. Clients ping every 31 s.
    pub socket_idle_timeout: Duration,
    /// A websocket whose peer takes nothing for so long is broken off; its queue stays.
    pub socket_write_timeout: Duration,
    /// How long a stopping server waits for the requests of a socket that are under way.
    pub socket_drain_timeout: Duration,
    /// How long a close frame may take to be answered.
    pub socket_close_timeout: Duration,
    /// How long a primary device has not been seen when its linked devices are told to remind their owner.
    pub primary_idle: Duration,
    /// The same, when they are told that it is urgent: before they are unlinked.
    pub primary_critical: Duration,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            connections_max: 100_000,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(15),
            request_timeout: Duration::from_secs(30),
            socket_idle_timeout: Duration::from_secs(90),
            socket_write_timeout: Duration::from_secs(30),
            socket_drain_timeout: Duration::from_secs(5),
            socket_close_timeout: Duration::from_secs(1),
            primary_idle: Duration::from_hours(30 * 24),
            primary_critical: Duration::from_hours(75 * 24),
        }
    }
}
