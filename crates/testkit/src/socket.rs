//! The chat socket: request and response frames over a websocket over TLS, on HTTP/1.1 or HTTP/2.
//!
//! One owner, no tasks, no locks.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    task::{Context, Poll},
};

use anyhow::bail;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::Value;

use crate::{
    account::Account,
    https::HttpVersion,
    pipe::Pipe,
    tls::Target,
    upgrade::{Upgraded, Wish, upgrade},
    websocket::{self, FrameSpan},
    wire::{self, FrameView},
};

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
    /// The lines of the headers.
    pub headers: Vec<String>,
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
    pipe: Pipe,
    payload: Vec<u8>,
    masks: SmallRng,
    next_id: u64,
    deliveries: VecDeque<Delivery>,
    queue_empty: bool,
    close_code: Option<u16>,
    alert: Option<String>,
}

impl ChatSocket {
    /// Connects as that account's device, or anonymously, over HTTP/1.1.
    pub async fn connect(target: &Target, account: Option<&Account>) -> anyhow::Result<Self> {
        Self::connect_over(target, HttpVersion::Http1, account).await
    }

    /// Connects as that account's device, or anonymously, over that version of HTTP.
    pub async fn connect_over(
        target: &Target,
        version: HttpVersion,
        account: Option<&Account>,
    ) -> anyhow::Result<Self> {
        let authorization = account.map(Account::authorization);
        let wish = Wish { authorization: authorization.as_deref(), ..Wish::default() };
        Ok(Self::new(upgrade(target, version, wish).await?))
    }

    /// Connects as that account's device and asks for no messages.
    pub async fn connect_without_messages(
        target: &Target,
        version: HttpVersion,
        account: &Account,
    ) -> anyhow::Result<Self> {
        let authorization = account.authorization();
        let wish = Wish { authorization: Some(&authorization), disable_messages: true, ..Wish::default() };
        Ok(Self::new(upgrade(target, version, wish).await?))
    }

    /// Connects over HTTP/1.1 with this `Authorization` header, whatever it is.
    pub async fn upgrade(target: &Target, authorization: Option<&str>) -> anyhow::Result<Self> {
        let wish = Wish { authorization, ..Wish::default() };
        Ok(Self::new(upgrade(target, HttpVersion::Http1, wish).await?))
    }

    fn new(Upgraded { pipe, alert }: Upgraded) -> Self {
        Self {
            pipe,
            alert,
            payload: Vec::new(),
            masks: SmallRng::seed_from_u64(rand::random()),
            next_id: 0,
            deliveries: VecDeque::new(),
            queue_empty: false,
            close_code: None,
        }
    }

    /// What the server told the device on the way in, in `X-Signal-Alert`.
    pub fn alert(&self) -> Option<&str> {
        self.alert.as_deref()
    }

    /// Queues a request and returns its id.
    pub fn queue_request(&mut self, verb: &str, path: &str, headers: &[&str], body: &[u8]) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.payload.clear();
        wire::put_request(&mut self.payload, id, verb, path, headers, body);
        let mask = self.masks.random();
        websocket::put_frame(self.pipe.outbox(), websocket::BINARY, &self.payload, mask);
        id
    }

    /// Queues the acknowledgement of a delivery.
    pub fn queue_ack(&mut self, id: u64) {
        self.payload.clear();
        wire::put_response(&mut self.payload, id, 200, "OK");
        let mask = self.masks.random();
        websocket::put_frame(self.pipe.outbox(), websocket::BINARY, &self.payload, mask);
    }

    /// Queues a frame of any kind with any content.
    pub fn queue_frame(&mut self, opcode: u8, payload: &[u8]) {
        let mask = self.masks.random();
        websocket::put_frame(self.pipe.outbox(), opcode, payload, mask);
    }

    /// Queues bytes that need not be a websocket frame.
    pub fn queue_raw(&mut self, bytes: &[u8]) {
        self.pipe.outbox().extend_from_slice(bytes);
    }

    /// Number of queued bytes that have not been handed to TLS yet.
    pub fn unsent(&self) -> usize {
        self.pipe.unsent()
    }

    /// The next whole frame that has been received, if there is one. Pings are answered on the way.
    pub fn received(&mut self) -> anyhow::Result<Option<Event<'_>>> {
        loop {
            let FrameSpan { opcode, payload, len } = match websocket::first_frame(self.pipe.received())? {
                Ok(span) => span,
                Err(needed) => {
                    self.pipe.make_room(needed);
                    return Ok(None);
                }
            };
            match opcode {
                websocket::BINARY => {
                    return Ok(Some(Event::Frame(FrameView::parse(&self.pipe.take(len)[payload..])?)));
                }
                websocket::CLOSE => return close_event(&self.pipe.take(len)[payload..]).map(Some),
                websocket::PING => {
                    let content = self.pipe.take(len)[payload..].to_vec();
                    self.queue_frame(websocket::PONG, &content);
                }
                websocket::PONG => _ = self.pipe.take(len),
                other => bail!("unexpected websocket opcode {other}"),
            }
        }
    }

    /// Sends what is queued and reads what there is. Ready when something was read; an error when the
    /// connection has ended. Call [`Self::received`] until it has no more before polling.
    pub fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.poll_io(cx)
    }

    /// Sends what is queued. Ready when all of it has been given to the kernel.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.poll_send(cx)
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
                    let headers = response.headers().map(str::to_owned).collect();
                    let answer =
                        SocketAnswer { status: response.status, headers, body: response.body.to_vec() };
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
