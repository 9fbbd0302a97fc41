//! The websocket of a native device: messages as JSON text, acknowledged as they arrive.
//!
//! The server sends `{"type":"message","message":{…}}` and, once what was waiting at the beginning has been
//! acknowledged, `{"type":"queue_empty"}`. The client sends `{"type":"acknowledge","message_ids":["…"]}`. The socket is its
//! session's, and is closed (4401) when that ends.

use std::{collections::HashMap, time::Duration};

use auth::native::Bearer;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use hyper_util::rt::TokioIo;
use messages::{DeliverySession, Outbound, Position, Subscription, session::Settled};
use protocol::websocket::Message;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};

use super::{
    ending::{Ending, GOING_AWAY, IDLE, MALFORMED, READ_FAILED, REVOKED},
    handshake::Handshake,
    websocket::{Unreadable, WebSocket},
};
use crate::{
    caller,
    door::Door,
    limits::SOCKET_GATHER,
    metrics,
    native::{envelope::MessageBody, messages::position},
};

/// Where it is opened.
pub(crate) const PATH: &str = "/messages/stream";

/// Largest message a client may send: acknowledgements.
const MESSAGE_MAX: usize = 64 * 1024;

/// How often the client is asked whether it is there. Its library answers by itself.
const PING: Duration = Duration::from_secs(30);

/// What the server sends.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum FromServer {
    Message { message: MessageBody },
    QueueEmpty,
}

/// What the client sends.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum FromClient {
    Acknowledge { message_ids: Vec<String> },
}

/// Why the loop stops.
enum Stop {
    Close(Ending),
    Closed(Option<u16>),
    Gone,
}

/// Opens a websocket (RFC 6455, or RFC 8441 over HTTP/2) on which messages arrive as they come. Text of JSON in both
/// directions: the server sends `{"type":"message","message":{…}}`, with the message as `GET /messages` shows it, and
/// `{"type":"queue_empty"}` once all that was waiting has been acknowledged; the client sends
/// `{"type":"acknowledge","message_ids":["…"]}`. A device has one reader at a time: a second connection closes the first
/// (4409). The end of the session closes it too (4401).
#[utoipa::path(
    get, path = PATH, tag = "messages", security(("bearer" = [])),
    responses(
        (status = 101, description = "The socket is open."),
        (status = 401, description = "`unauthorized`"),
    ),
)]
#[expect(dead_code, reason = "what it is described by; the door opens it before the router is asked")]
pub(crate) fn stream() {}

/// Answers a request to open such a socket.
pub(super) async fn upgrade(door: &Door, handshake: Handshake, headers: &HeaderMap) -> Response {
    let bearer = match caller::bearer(&door.services().parts().native, headers).await {
        Ok(bearer) => bearer,
        Err(problem) => return problem.into_response(),
    };
    let (response, upgrade) = handshake.grant();
    let (door, tasks) = (door.clone(), door.tasks().clone());
    tasks.spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                let socket = WebSocket::new(TokioIo::new(upgraded), MESSAGE_MAX);
                Box::new(Stream::begin(door, bearer, socket)).run().await;
            }
            Err(error) => tracing::debug!(%error, "an upgrade was not completed"),
        }
    });
    response
}

/// An open socket.
struct Stream {
    door: Door,
    bearer: Bearer,
    socket: WebSocket,
    subscription: Subscription,
    session: DeliverySession,
    /// What the client has been sent, by what it acknowledges it.
    sent: HashMap<Position, u64>,
}

impl Stream {
    fn begin(door: Door, bearer: Bearer, socket: WebSocket) -> Self {
        let device = bearer.device.address();
        let subscription = door.services().parts().messages.queue().subscribe(device);
        let session = DeliverySession::new(device.aci, true, subscription.horizon());
        Self { door, bearer, socket, subscription, session, sent: HashMap::new() }
    }

    async fn run(mut self: Box<Self>) {
        let metrics = self.door.metrics().clone();
        let _open = metrics::Open::new(&metrics.sockets);
        let stop = match self.check_session().await {
            // Its end before the queue was taken up was not told to this socket.
            Ok(_) => self.serve().await,
            Err(stop) => stop,
        };
        let Self { door, mut socket, subscription, .. } = *self;
        // What was not acknowledged is for the next connection, and its senders wait for the disk instead.
        drop(subscription);
        let limit = door.config().socket_close_timeout;
        let _ = match stop {
            Stop::Close(Ending(code, reason)) => timeout(limit, socket.close(code, reason)).await,
            Stop::Closed(code) => timeout(limit, socket.closed(code)).await,
            Stop::Gone => return,
        };
    }

    async fn serve(&mut self) -> Stop {
        match self.served().await {
            Ok(never) => match never {},
            Err(stop) => stop,
        }
    }

    async fn served(&mut self) -> Result<std::convert::Infallible, Stop> {
        let idle = self.door.config().socket_idle_timeout;
        let stopping = self.door.stopping().clone();
        let mut ping = interval_at(Instant::now() + PING, PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let mut session_until = self.session_until();
        self.deliver().await?;
        loop {
            tokio::select! {
                received = self.socket.next() => {
                    heard = Instant::now();
                    self.receive(received).await?;
                }
                () = self.subscription.changed() => self.deliver().await?,
                _ = ping.tick() => {
                    self.socket.queue_ping();
                    self.write().await?;
                }
                () = sleep_until(heard + idle) => return Err(Stop::Close(IDLE)),
                () = sleep_until(session_until) => {
                    // It may have been refreshed meanwhile.
                    self.bearer = self.check_session().await?;
                    session_until = self.session_until();
                }
                () = stopping.cancelled() => return Err(Stop::Close(GOING_AWAY)),
            }
        }
    }

    fn session_until(&self) -> Instant {
        let now = self.door.now();
        Instant::now() + self.bearer.expires.saturating_since(now).max(Duration::from_secs(1))
    }

    async fn check_session(&mut self) -> Result<Bearer, Stop> {
        match self.door.services().parts().native.still_bears(&self.bearer).await {
            Ok(Some(bearer)) => Ok(bearer),
            Ok(None) => Err(Stop::Close(REVOKED)),
            Err(_) => Err(Stop::Close(READ_FAILED)),
        }
    }

    async fn receive(&mut self, received: Result<Message, Unreadable>) -> Result<(), Stop> {
        match received {
            Ok(Message::Text(text)) => {
                let FromClient::Acknowledge { message_ids } =
                    serde_json::from_str(&text).map_err(|_| Stop::Close(MALFORMED))?;
                let positions: Option<Vec<_>> = message_ids.iter().map(|id| position(id)).collect();
                let settled = self.acknowledged(&positions.ok_or(Stop::Close(MALFORMED))?);
                self.settle(settled).await;
                // There may be room for more.
                self.deliver().await
            }
            Ok(Message::Ping(payload)) => {
                self.socket.queue_pong(&payload);
                self.write().await
            }
            // Bytes mean nothing here.
            Ok(Message::Pong | Message::Binary(_)) => Ok(()),
            Ok(Message::Close(code)) => Err(Stop::Closed(code)),
            Err(Unreadable::Gone) => Err(Stop::Gone),
            Err(Unreadable::Violation(violation)) => Err(Stop::Close(violation.into())),
        }
    }

    fn acknowledged(&mut self, positions: &[Position]) -> Vec<Settled> {
        let requests = positions.iter().filter_map(|position| self.sent.remove(position));
        requests.filter_map(|request| self.session.answered(request, 200)).collect()
    }

    async fn settle(&mut self, settled: Vec<Settled>) {
        self.door.services().parts().messages.settle(&self.subscription, settled).await;
    }

    /// Sends what the queue holds, as far as the device's window allows.
    async fn deliver(&mut self) -> Result<(), Stop> {
        loop {
            if let Some(reason) = self.subscription.closed() {
                return Err(Stop::Close(reason.into()));
            }
            let room = self.session.room();
            if room == 0 {
                return self.write().await;
            }
            let read = self.subscription.read(room).await.map_err(|_| Stop::Close(READ_FAILED))?;
            let (nothing, deliveries) = (read.is_empty(), read.clone());
            let (outbound, settled) = self.session.deliver(read);
            self.settle(settled).await;
            // Stories are wanted, so that each delivery is sent, in order.
            for (delivery, outbound) in deliveries.iter().zip(outbound) {
                if let (Outbound::Message { request_id, .. }, Some(message)) =
                    (outbound, MessageBody::of(delivery))
                {
                    self.sent.insert(delivery.position, request_id);
                    self.enclose(&FromServer::Message { message });
                }
            }
            if self.session.queue_empty().is_some() {
                self.enclose(&FromServer::QueueEmpty);
            }
            // A long queue must not gather in memory.
            if nothing || self.socket.queued() >= SOCKET_GATHER {
                self.write().await?;
            }
            if nothing {
                return Ok(());
            }
        }
    }

    fn enclose(&mut self, message: &FromServer) {
        if let Ok(text) = serde_json::to_vec(message) {
            self.socket.queue_text(&text);
        }
    }

    async fn write(&mut self) -> Result<(), Stop> {
        match timeout(self.door.config().socket_write_timeout, self.socket.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Stop::Gone),
        }
    }
}
