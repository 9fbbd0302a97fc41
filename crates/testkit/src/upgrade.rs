//! Opening a websocket: the upgrade of an HTTP/1.1 connection (RFC 6455) and extended CONNECT on HTTP/2
//! (RFC 8441).

use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Empty;
use hyper::{client::conn::http2, ext::Protocol};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::RngExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{sleep, timeout},
};

use crate::{
    https::HttpVersion,
    pipe::{Carrier, Pipe},
    tls::{HOST, Target},
};

/// Where the chat socket is opened.
pub(crate) const CHAT: &str = "/v1/websocket/";
/// Where the socket of a native device is opened.
pub(crate) const NATIVE: &str = "/messages/stream";
const ALERT: &str = "x-signal-alert";
const AGENT: &str = "heliograph-testkit";
const RECEIVE_STORIES: &str = "x-signal-receive-stories";
const DISABLE_MESSAGES: &str = "x-signal-disable-messages";
/// The upgrade's response head is far smaller than this.
const HEAD_LEN_MAX: usize = 16 * 1024;
/// How long the server may take to say that it knows extended CONNECT.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(20);
const SETTINGS_POLL_INTERVAL: Duration = Duration::from_millis(1);

/// The server answered the upgrade with another status than the one that opens a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub u16);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the upgrade was answered with status {}", self.0)
    }
}

impl std::error::Error for Refused {}

/// An open websocket.
pub(crate) struct Upgraded {
    pub(crate) pipe: Pipe,
    /// What the answer's `X-Signal-Alert` says.
    pub(crate) alert: Option<String>,
}

/// What the request to open a websocket says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) path: &'a str,
    pub(crate) authorization: Option<&'a str>,
    /// The socket is not to be sent messages.
    pub(crate) disable_messages: bool,
}

impl Default for Wish<'_> {
    fn default() -> Self {
        Self { path: CHAT, authorization: None, disable_messages: false }
    }
}

/// Opens a websocket on a connection of its own.
pub(crate) async fn upgrade(
    target: &Target,
    version: HttpVersion,
    wish: Wish<'_>,
) -> anyhow::Result<Upgraded> {
    match version {
        HttpVersion::Http1 => upgrade_http1(target, wish).await,
        HttpVersion::Http2 => connect_http2(target, wish).await,
    }
}

async fn upgrade_http1(target: &Target, wish: Wish<'_>) -> anyhow::Result<Upgraded> {
    let Wish { path, authorization, disable_messages } = wish;
    let mut stream = target.connect(HttpVersion::Http1).await?;
    let key = STANDARD.encode(rand::rng().random::<[u8; 16]>());
    let authorization = authorization.map(|value| format!("authorization: {value}\r\n")).unwrap_or_default();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{authorization}\
         {RECEIVE_STORIES}: false\r\n{DISABLE_MESSAGES}: {disable_messages}\r\nuser-agent: {AGENT}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    // A write is done when TLS has taken it; the last of it may not have left yet.
    stream.flush().await?;
    let mut received = Vec::new();
    let body = loop {
        if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        ensure!(received.len() < HEAD_LEN_MAX, "endless response to the upgrade");
        let read = stream.read_buf(&mut received).await?;
        ensure!(read > 0, "the connection ended during the upgrade");
    };
    let head = std::str::from_utf8(&received[..body]).context("response head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("status line")?;
    if status != 101 {
        return Err(Refused(status).into());
    }
    let alert = header_of(head, ALERT).map(str::to_owned);
    let rest = received.split_off(body);
    Ok(Upgraded { pipe: Pipe::new(Carrier::Tls(Box::new(stream)), rest), alert })
}

async fn connect_http2(target: &Target, wish: Wish<'_>) -> anyhow::Result<Upgraded> {
    let stream = TokioIo::new(target.connect(HttpVersion::Http2).await?);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
    // Extended CONNECT may be used only once the server's settings allow it; nothing tells when they come.
    let allowed = timeout(SETTINGS_TIMEOUT, async {
        while !connection.is_extended_connect_protocol_enabled() {
            sleep(SETTINGS_POLL_INTERVAL).await;
        }
    });
    allowed.await.context("the server does not offer extended CONNECT")?;
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("https://{HOST}{}", wish.path))
        .extension(Protocol::from_static("websocket"))
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::USER_AGENT, AGENT)
        .header(RECEIVE_STORIES, "false")
        .header(DISABLE_MESSAGES, wish.disable_messages.to_string());
    if let Some(authorization) = wish.authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    if response.status() != 200 {
        return Err(Refused(response.status().as_u16()).into());
    }
    let alert = response.headers().get(ALERT).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let upgraded = TokioIo::new(hyper::upgrade::on(response).await?);
    Ok(Upgraded { pipe: Pipe::new(Carrier::Http2(Box::new(upgraded)), Vec::new()), alert })
}

/// The value of a header in the head of a response.
fn header_of<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
