//! The chat socket: request and response frames over a websocket over TLS.
//!
//! One owner, no tasks, no locks. What is queued goes out together, in as few TLS records as possible, the
//! next time the socket is polled; what comes in is read in place.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::{
    account::Account,
    https::HttpVersion,
    tls::{HOST, Target},
    websocket::{self, FrameSpan},
    wire::{self, FrameView},
};

/// Room for one TLS record's plaintext.
const READ_LEN: usize = 16 * 1024;
/// The upgrade's response head is far smaller than this.
const HEAD_LEN_MAX: usize = 16 * 1024;
/// A write buffer that grew beyond this is given back once it is empty.
const WRITE_KEEP_LEN: usize = 256 * 1024;

/// The server answered the upgrade with another status than 101.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub u16);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the upgrade was answered with status {}", self.0)
    }
}

impl std::error::Error for Refused {}

/// What came in, read in place.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A frame of the chat protocol.
    Frame(FrameView<'a>),
    /// The server closes, with this code and reason; 1005 when it gave none.
    Close(u16, &'a str),
}

/// An answer to a request, copied out.
#[derive(Clone, Debug)]
pub struct SocketAnswer {
    /// The status.
    pub status: u16,
    /// The body, empty when there is none.
    pub body: Vec<u8>,
}

/// A message that was delivered, copied out.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What the acknowledgement has to carry.
    pub id: u64,
    /// The envelope's bytes.
    pub envelope: Vec<u8>,
}

/// A connected chat socket.
#[derive(Debug)]
pub struct ChatSocket {
    stream: TlsStream<TcpStream>,
    /// Received bytes lie in `start..end`.
    inbox: Vec<u8>,
    start: usize,
    end: usize,
    /// Queued bytes of which `written` have been handed to TLS.
    outbox: Vec<u8>,
    written: usize,
    unflushed: bool,
    payload: Vec<u8>,
    masks: SmallRng,
    next_id: u64,
    deliveries: VecDeque<Delivery>,
    queue_empty: bool,
    close_code: Option<u16>,
}

impl ChatSocket {
    /// Connects as that account's device, or anonymously.
    pub async fn connect(target: &Target, account: Option<&Account>) -> anyhow::Result<Self> {
        let authorization = account.map(Account::authorization);
        Self::upgrade(target, authorization.as_deref()).await
    }

    /// Connects with this `Authorization` header, whatever it is.
    pub async fn upgrade(target: &Target, authorization: Option<&str>) -> anyhow::Result<Self> {
        let mut stream = target.connect(HttpVersion::Http1).await?;
        let mut rng = SmallRng::seed_from_u64(rand::random());
        let key = STANDARD.encode(rng.random::<[u8; 16]>());
        let authorization =
            authorization.map(|value| format!("authorization: {value}\r\n")).unwrap_or_default();
        let head = format!(
            "GET /v1/websocket/ HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{authorization}\
             x-signal-receive-stories: false\r\nuser-agent: heliograph-testkit\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        // A write is done when TLS has taken it; the last of it may not have left yet.
        stream.flush().await?;
        let mut received = Vec::new();
        let body = loop {
            if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            anyhow::ensure!(received.len() < HEAD_LEN_MAX, "endless response to the upgrade");
            let read = stream.read_buf(&mut received).await?;
            anyhow::ensure!(read > 0, "the connection ended during the upgrade");
        };
        let head = std::str::from_utf8(&received[..body]).context("response head")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("status line")?;
        if status != 101 {
            return Err(Refused(status).into());
        }
        let inbox = received.split_off(body);
        Ok(Self {
            stream,
            start: 0,
            end: inbox.len(),
            inbox,
            outbox: Vec::new(),
            written: 0,
            unflushed: false,
            payload: Vec::new(),
            masks: rng,
            next_id: 0,
            deliveries: VecDeque::new(),
            queue_empty: false,
            close_code: None,
        })
    }

    /// Queues a request and returns its id.
    pub fn queue_request(&mut self, verb: &str, path: &str, headers: &[&str], body: &[u8]) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.payload.clear();
        wire::put_request(&mut self.payload, id, verb, path, headers, body);
        let mask = self.masks.random();
        websocket::put_frame(&mut self.outbox, websocket::BINARY, &self.payload, mask);
        id
    }

    /// Queues the acknowledgement of a delivery.
    pub fn queue_ack(&mut self, id: u64) {
        self.payload.clear();
        wire::put_response(&mut self.payload, id, 200, "OK");
        let mask = self.masks.random();
        websocket::put_frame(&mut self.outbox, websocket::BINARY, &self.payload, mask);
    }

    /// Queues a frame of any kind with any content.
    pub fn queue_frame(&mut self, opcode: u8, payload: &[u8]) {
        let mask = self.masks.random();
        websocket::put_frame(&mut self.outbox, opcode, payload, mask);
    }

    /// Queues bytes that need not be a websocket frame.
    pub fn queue_raw(&mut self, bytes: &[u8]) {
        self.outbox.extend_from_slice(bytes);
    }

    /// Number of queued bytes that have not been handed to TLS yet.
    pub fn unsent(&self) -> usize {
        self.outbox.len() - self.written
    }

    /// The next whole frame that has been received, if there is one. Pings are answered on the way.
    pub fn received(&mut self) -> anyhow::Result<Option<Event<'_>>> {
        loop {
            let span = match websocket::first_frame(&self.inbox[self.start..self.end])? {
                Ok(span) => span,
                Err(needed) => {
                    self.make_room(needed);
                    return Ok(None);
                }
            };
            let FrameSpan { opcode, payload, len } = span;
            let payload = self.start + payload..self.start + len;
            self.start += len;
            match opcode {
                websocket::BINARY => return Ok(Some(Event::Frame(FrameView::parse(&self.inbox[payload])?))),
                websocket::CLOSE => return close_event(&self.inbox[payload]).map(Some),
                websocket::PING => {
                    let mask = self.masks.random();
                    websocket::put_frame(&mut self.outbox, websocket::PONG, &self.inbox[payload], mask);
                }
                websocket::PONG => {}
                other => bail!("unexpected websocket opcode {other}"),
            }
        }
    }

    /// Makes the buffer hold at least `needed` bytes from `start` on, with a record's worth to read into.
    fn make_room(&mut self, needed: usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.inbox.len() - self.end < READ_LEN / 4 || self.inbox.len() - self.start < needed {
            self.inbox.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.inbox.len() - self.start < needed.max(READ_LEN) {
            self.inbox.resize(self.start + needed.max(READ_LEN), 0);
        }
    }

    /// Sends what is queued and reads what there is. Ready when something was read; an error when the
    /// connection has ended. Call [`Self::received`] until it has no more before polling.
    pub fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        if self.inbox.len() == self.end {
            self.make_room(READ_LEN);
        }
        let mut buffer = ReadBuf::new(&mut self.inbox[self.end..]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled().len();
        if read == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.end += read;
        Poll::Ready(Ok(()))
    }

    /// Sends what is queued. Ready when all of it has been given to the kernel.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.outbox.len() {
            let pending = &self.outbox[self.written..];
            self.written += ready!(Pin::new(&mut self.stream).poll_write(cx, pending))?;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        self.written = 0;
        self.outbox.clear();
        self.outbox.shrink_to(WRITE_KEEP_LEN);
        Poll::Ready(Ok(()))
    }

    /// Waits until all that is queued has been given to the kernel.
    pub async fn flush(&mut self) -> anyhow::Result<()> {
        Ok(poll_fn(|cx| self.poll_send(cx)).await?)
    }

    /// Waits until a frame is there. Deliveries and the end of the queue are set aside for
    /// [`Self::delivery`] and [`Self::queue_empty`]; an answer or a close is returned. Cancelling it loses
    /// nothing.
    async fn step(&mut self) -> anyhow::Result<Step> {
        loop {
            match self.received()? {
                Some(Event::Frame(FrameView::Response(response))) => {
                    let answer = SocketAnswer { status: response.status, body: response.body.to_vec() };
                    return Ok(Step::Answer(response.id, answer));
                }
                Some(Event::Frame(FrameView::Request(request))) => {
                    if request.is_delivery() {
                        let delivery = Delivery { id: request.id, envelope: request.body.to_vec() };
                        self.deliveries.push_back(delivery);
                    } else if request.is_queue_empty() {
                        anyhow::ensure!(!self.queue_empty, "the end of the queue was said twice");
                        self.queue_empty = true;
                    } else {
                        bail!("unexpected request from the server");
                    }
                    return Ok(Step::SetAside);
                }
                Some(Event::Close(code, reason)) => {
                    let reason = reason.to_owned();
                    self.close_code = Some(code);
                    return Ok(Step::Close(code, reason));
                }
                None => poll_fn(|cx| self.poll_io(cx)).await?,
            }
        }
    }

    /// Sends a request and waits for its answer. One at a time.
    pub async fn request(
        &mut self,
        verb: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<SocketAnswer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let headers: &[&str] = if body.is_empty() { &[] } else { &["content-type: application/json"] };
        let id = self.queue_request(verb, path, headers, body.as_bytes());
        self.answer(id).await
    }

    /// Waits for the answer to a queued request; answers to others are dropped.
    pub async fn answer(&mut self, id: u64) -> anyhow::Result<SocketAnswer> {
        loop {
            match self.step().await? {
                Step::Answer(answered, answer) if answered == id => return Ok(answer),
                Step::Close(code, reason) => bail!("closed with {code} {reason:?}"),
                Step::Answer(..) | Step::SetAside => {}
            }
        }
    }

    /// Waits for the answer to any queued request: its id and the answer.
    pub async fn any_answer(&mut self) -> anyhow::Result<(u64, SocketAnswer)> {
        loop {
            match self.step().await? {
                Step::Answer(id, answer) => return Ok((id, answer)),
                Step::Close(code, reason) => bail!("closed with {code} {reason:?}"),
                Step::SetAside => {}
            }
        }
    }

    /// The code with which the server has closed, if it has.
    pub fn close_code(&self) -> Option<u16> {
        self.close_code
    }

    /// The next delivery; it is not acknowledged.
    pub async fn delivery(&mut self) -> anyhow::Result<Delivery> {
        loop {
            if let Some(delivery) = self.deliveries.pop_front() {
                return Ok(delivery);
            }
            if let Step::Close(code, reason) = self.step().await? {
                bail!("closed with {code} {reason:?}");
            }
        }
    }

    /// Deliveries that have come in already and were not taken.
    pub fn pending_deliveries(&self) -> usize {
        self.deliveries.len()
    }

    /// Waits until the server has said that what waited at connect is delivered.
    pub async fn queue_empty(&mut self) -> anyhow::Result<()> {
        while !self.queue_empty {
            if let Step::Close(code, reason) = self.step().await? {
                bail!("closed with {code} {reason:?}");
            }
        }
        Ok(())
    }

    /// Acknowledges what waits, until the queue is empty, and says how many messages that were.
    pub async fn settle(&mut self) -> anyhow::Result<u64> {
        let mut settled = 0;
        loop {
            while let Some(delivery) = self.deliveries.pop_front() {
                self.queue_ack(delivery.id);
                settled += 1;
            }
            if self.queue_empty {
                self.flush().await?;
                return Ok(settled);
            }
            if let Step::Close(code, reason) = self.step().await? {
                bail!("closed with {code} {reason:?}");
            }
        }
    }

    /// Waits until the server closes and returns its code and reason; everything else is set aside.
    pub async fn closed(&mut self) -> anyhow::Result<(u16, String)> {
        loop {
            if let Step::Close(code, reason) = self.step().await? {
                return Ok((code, reason));
            }
        }
    }
}

enum Step {
    Answer(u64, SocketAnswer),
    SetAside,
    Close(u16, String),
}

fn close_event(payload: &[u8]) -> anyhow::Result<Event<'_>> {
    match payload {
        [] => Ok(Event::Close(1005, "")),
        [high, low, reason @ ..] => {
            Ok(Event::Close(u16::from_be_bytes([*high, *low]), std::str::from_utf8(reason)?))
        }
        [_] => bail!("close frame of one byte"),
    }
}
