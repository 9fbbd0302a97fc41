//! The loop that owns an open chat socket, its timers and its wake-ups.
//!
//! It does what two state machines tell it: the websocket, and [`DeliverySession`], which knows what the
//! device is to be sent. Whatever a burst of events causes is written at once.

use std::{pin::Pin, sync::Arc, time::Duration};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::{FutureExt, SinkExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::{HeaderMap, StatusCode};
use messages::{CloseReason, DeliverySession, Outbound, Subscription, session::Settled};
use protocol::frame::{self, Frame, RequestFrame};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{Admission, DeliveryWish, frames};
use crate::{
    caller::Origin,
    door::Door,
    limits::{SOCKET_BURST, SOCKET_REQUESTS_MAX},
};

/// What a socket needs from its upgrade on.
pub(super) struct Chat {
    door: Door,
    origin: Origin,
    inherited: Arc<HeaderMap>,
    device: Option<(DeliveryWish, Admission)>,
}

/// How a socket ends: a close code and its reason (RFC 6455 §7.4; from 4000 on, Signal's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ending(u16, &'static str);

const IDLE: Ending = Ending(1000, "Timeout");
const GOING_AWAY: Ending = Ending(1001, "Server is stopping");
const MALFORMED: Ending = Ending(1007, "Badly formatted");
const TOO_LARGE: Ending = Ending(1009, "Frame too large");
const READ_FAILED: Ending = Ending(1011, "Failed to retrieve messages");
const REVOKED: Ending = Ending(4401, "Reauthentication required");
const CONNECTED_ELSEWHERE: Ending = Ending(4409, "Connected elsewhere");

/// How long a socket whose credentials are gone stays open, doing nothing. The request that ended them, such
/// as the deletion of the account, is answered meanwhile; clients take a connection that breaks first for a
/// failure.
const REVOKED_LINGER: Duration = Duration::from_millis(100);

impl From<CloseReason> for Ending {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::ConnectedElsewhere => CONNECTED_ELSEWHERE,
            CloseReason::CredentialsRevoked => REVOKED,
            CloseReason::ShuttingDown => GOING_AWAY,
        }
    }
}

/// Why the loop stops: with a word to the client, or because nobody is there any more.
enum Stop {
    Close(Ending),
    Gone,
}

enum Event {
    Received(Option<Result<Message, axum::Error>>),
    Answered(Option<Frame>),
    QueueChanged,
    Idle,
    Stopping,
}

/// An open socket.
struct Open {
    socket: WebSocket,
    chat: Chat,
    delivery: Option<Delivery>,
    in_flight: FuturesUnordered<BoxFuture<'static, Option<Frame>>>,
    outbox: Vec<Message>,
    last_heard: Instant,
    idle: Pin<Box<Sleep>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// The device's queue and what it has been sent of it.
struct Delivery {
    subscription: Subscription,
    session: DeliverySession,
    wish: DeliveryWish,
    /// The queue may hold more than has been read.
    more: bool,
}

impl Chat {
    pub(super) fn new(
        door: Door,
        origin: Origin,
        inherited: HeaderMap,
        device: Option<(DeliveryWish, Admission)>,
    ) -> Self {
        Self { door, origin, inherited: Arc::new(inherited), device }
    }

    /// Runs the socket to its end.
    pub(super) async fn run(mut self, socket: WebSocket) {
        let device = self.device.take();
        let delivery = device.as_ref().map(|(wish, _)| Delivery::begin(&self.door, *wish));
        let admitted = match device {
            Some((_, admission)) => admission.is_still_good(&self.door).await,
            None => true,
        };
        let mut open = Open::new(socket, self, delivery);
        let stop = if admitted { open.serve().await } else { Stop::Close(REVOKED) };
        open.finish(stop).await;
    }
}

impl Open {
    fn new(socket: WebSocket, chat: Chat, delivery: Option<Delivery>) -> Self {
        let now = Instant::now();
        Self {
            idle: Box::pin(sleep_until(now + chat.door.config().socket_idle_timeout)),
            stopping: Box::pin(chat.door.stopping().clone().cancelled_owned()),
            socket,
            chat,
            delivery,
            in_flight: FuturesUnordered::new(),
            outbox: Vec::new(),
            last_heard: now,
        }
    }

    async fn serve(&mut self) -> Stop {
        loop {
            let event = self.next().await;
            if let Err(stop) = self.handle_burst(event).await {
                return stop;
            }
            if let Err(stop) = self.write().await {
                return stop;
            }
        }
    }

    /// Handles an event and whatever else is ready: a burst of events causes one write.
    async fn handle_burst(&mut self, first: Event) -> Result<(), Stop> {
        self.handle(first).await?;
        for _ in 1..SOCKET_BURST {
            // Polling once and letting go leaves nothing behind that the next real wait would miss: every
            // source is polled afresh there.
            match self.next().now_or_never() {
                Some(event) => self.handle(event).await?,
                None => break,
            }
        }
        Ok(())
    }

    async fn next(&mut self) -> Event {
        let changed = async {
            match &self.delivery {
                Some(delivery) => delivery.subscription.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            received = self.socket.next() => Event::Received(received),
            Some(answer) = self.in_flight.next() => Event::Answered(answer),
            () = changed => Event::QueueChanged,
            () = self.idle.as_mut() => Event::Idle,
            () = self.stopping.as_mut() => Event::Stopping,
        }
    }

    async fn handle(&mut self, event: Event) -> Result<(), Stop> {
        match event {
            Event::Received(Some(Ok(message))) => self.receive(message).await,
            Event::Received(Some(Err(error))) => Err(read_error(error)),
            Event::Received(None) => Err(Stop::Gone),
            Event::Answered(answer) => {
                self.outbox.extend(answer.map(|frame| Message::Binary(frame.encode())));
                Ok(())
            }
            Event::QueueChanged => self.read_queue(true).await,
            Event::Idle => self.check_idle(),
            Event::Stopping => Err(Stop::Close(GOING_AWAY)),
        }
    }

    async fn receive(&mut self, message: Message) -> Result<(), Stop> {
        self.last_heard = Instant::now();
        match message {
            Message::Binary(bytes) => match Frame::decode(bytes) {
                Ok(Frame::Request(request)) => self.call(request),
                Ok(Frame::Response(response)) => self.answered(response.id, response.status).await,
                Err(_) => Err(Stop::Close(MALFORMED)),
            },
            // Pings are answered by the websocket itself; text means nothing here.
            Message::Ping(_) | Message::Pong(_) | Message::Text(_) => Ok(()),
            Message::Close(_) => Err(Stop::Gone),
        }
    }

    fn call(&mut self, frame: RequestFrame) -> Result<(), Stop> {
        let id = frame.id;
        let request = frames::request(frame, &self.chat.inherited).ok_or(Stop::Close(MALFORMED))?;
        let door = self.chat.door.clone();
        if self.in_flight.len() >= SOCKET_REQUESTS_MAX {
            let busy = |id| frames::bare_response(id, StatusCode::SERVICE_UNAVAILABLE, &door.timestamp());
            self.outbox.extend(id.map(|id| Message::Binary(busy(id).encode())));
            return Ok(());
        }
        let origin = self.chat.origin;
        self.in_flight.push(Box::pin(async move {
            let response = door.handle_framed(request, origin).await;
            match id {
                Some(id) => Some(frames::response(id, response, door.timestamp()).await),
                None => None,
            }
        }));
        Ok(())
    }

    async fn answered(&mut self, request_id: u64, status: u16) -> Result<(), Stop> {
        let Some(delivery) = &mut self.delivery else { return Ok(()) };
        let settled = delivery.session.answered(request_id, status);
        delivery.settle(&self.chat.door, settled).await;
        let more = delivery.more;
        self.announce_empty();
        if more { self.read_queue(false).await } else { Ok(()) }
    }

    /// Sends what the queue holds, as far as the device's window allows.
    async fn read_queue(&mut self, changed: bool) -> Result<(), Stop> {
        loop {
            let Some(delivery) = &mut self.delivery else { return Ok(()) };
            if let Some(reason) = delivery.subscription.closed() {
                return Err(Stop::Close(reason.into()));
            }
            delivery.more |= changed;
            let room = delivery.session.room();
            if room == 0 || !delivery.more {
                return Ok(());
            }
            let Ok(read) = delivery.subscription.read(room).await else {
                return Err(Stop::Close(READ_FAILED));
            };
            delivery.more = !read.is_empty();
            let (outbound, settled) = delivery.session.deliver(read);
            for settled in settled {
                delivery.settle(&self.chat.door, Some(settled)).await;
            }
            self.enclose(outbound);
            self.announce_empty();
            if self.delivery.as_ref().is_none_or(|delivery| !delivery.more) {
                return Ok(());
            }
            // A page at a time: a long queue must not gather in memory.
            self.write().await?;
        }
    }

    fn announce_empty(&mut self) {
        let empty = self.delivery.as_mut().and_then(|delivery| delivery.session.queue_empty());
        self.enclose(empty);
    }

    fn enclose(&mut self, outbound: impl IntoIterator<Item = Outbound>) {
        let now = self.chat.door.services().parts().clock.now();
        self.outbox.extend(outbound.into_iter().map(|outbound| {
            Message::Binary(match outbound {
                Outbound::Message { request_id, envelope } => {
                    frame::encode_delivery(request_id, &envelope, now)
                }
                Outbound::QueueEmpty { request_id } => frame::encode_queue_empty(request_id, now),
            })
        }));
    }

    fn check_idle(&mut self) -> Result<(), Stop> {
        let deadline = self.last_heard + self.chat.door.config().socket_idle_timeout;
        if deadline <= Instant::now() {
            return Err(Stop::Close(IDLE));
        }
        self.idle.as_mut().reset(deadline);
        Ok(())
    }

    async fn write(&mut self) -> Result<(), Stop> {
        let limit = self.chat.door.config().socket_write_timeout;
        let Self { socket, outbox, .. } = self;
        let written = timeout(limit, async {
            for message in outbox.drain(..) {
                socket.feed(message).await?;
            }
            socket.flush().await
        });
        let outcome = written.await;
        outbox.shrink_to(SOCKET_BURST);
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Stop::Gone),
        }
    }

    async fn finish(mut self, stop: Stop) {
        // The queue is given up before anything is waited for: what was not acknowledged is for the next
        // connection, and whoever waits for an acknowledgement now waits for the disk instead.
        drop(self.delivery.take());
        match stop {
            Stop::Close(GOING_AWAY) => self.answer_in_flight().await,
            Stop::Close(REVOKED) => {
                self.answer_in_flight().await;
                // A gRPC call beside this socket may have been what revoked them.
                sleep(REVOKED_LINGER).await;
            }
            Stop::Close(_) | Stop::Gone => self.abandon_in_flight(),
        }
        if let Stop::Close(ending) = stop {
            self.say_goodbye(ending).await;
        }
    }

    async fn answer_in_flight(&mut self) {
        let deadline = Instant::now() + self.chat.door.config().socket_drain_timeout;
        while let Ok(Some(answer)) = timeout_at(deadline, self.in_flight.next()).await {
            self.outbox.extend(answer.map(|frame| Message::Binary(frame.encode())));
        }
        // A client that is gone already does not need the answers.
        let _ = self.write().await;
        self.abandon_in_flight();
    }

    /// What the client asked for is done even though it will not hear of it.
    fn abandon_in_flight(&mut self) {
        let mut in_flight = std::mem::take(&mut self.in_flight);
        if !in_flight.is_empty() {
            self.chat.door.tasks().spawn(async move { while in_flight.next().await.is_some() {} });
        }
    }

    async fn say_goodbye(&mut self, Ending(code, reason): Ending) {
        let limit = self.chat.door.config().socket_close_timeout;
        let close = Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }));
        let goodbye = async {
            if self.socket.send(close).await.is_ok() {
                // Until the client has closed too, or has gone.
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        let _ = timeout(limit, goodbye).await;
    }
}

impl Delivery {
    fn begin(door: &Door, wish: DeliveryWish) -> Self {
        let subscription = door.services().parts().messages.queue().subscribe(wish.device.address());
        let session = DeliverySession::new(wish.device.aci, wish.receive_stories, subscription.horizon());
        Self { subscription, session, wish, more: true }
    }

    async fn settle(&self, door: &Door, settled: Option<Settled>) {
        let Some(settled) = settled else { return };
        self.subscription.acknowledge(settled.position);
        if let Some(receipt) = settled.receipt {
            door.services().parts().messages.send_receipt(receipt, self.wish.device.device_id).await;
        }
    }
}

/// Only a frame that is too large deserves a word; everything else means that nobody is there, or that
/// nobody there speaks the protocol.
fn read_error(error: axum::Error) -> Stop {
    let error = error.into_inner();
    match error.downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => Stop::Close(TOO_LARGE),
        Some(tungstenite::Error::Utf8(_)) => Stop::Close(MALFORMED),
        _ => Stop::Gone,
    }
}
