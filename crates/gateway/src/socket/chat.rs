//! The loop that owns an open chat socket, its timers and its wake-ups.
//!
//! It does what two state machines tell it: the websocket, and [`DeliverySession`], which knows what the
//! device is to be sent. Whatever a burst of events causes is written at once.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::{HeaderMap, Request, StatusCode};
use messages::{DeliverySession, Outbound, Subscription, Watch, session::Settled};
use protocol::{
    ambient::Timestamp,
    frame::{Frame, JsonAnswer, RequestFrame, ServerRequest},
    websocket::Message,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{
    Admission, DeliveryWish,
    ending::{Ending, GOING_AWAY, IDLE, MALFORMED, READ_FAILED, REVOKED, Stop},
    frames,
    idle::Idle,
    websocket::{Unreadable, WebSocket},
};
use crate::{
    caller::Origin,
    door::Door,
    limits::{SOCKET_BURST, SOCKET_GATHER, SOCKET_REQUESTS_MAX},
    metrics,
    signal::messages::PlainSend,
};

/// What a socket needs from its upgrade on.
pub(super) struct Chat {
    door: Door,
    origin: Origin,
    inherited: Arc<HeaderMap>,
    device: Option<(DeliveryWish, Admission)>,
}

/// How long a socket whose credentials are gone stays open, doing nothing. The request that ended them, such
/// as the deletion of the account, is answered meanwhile; clients take a connection that breaks first for a
/// failure.
const REVOKED_LINGER: Duration = Duration::from_millis(300);

/// Every so many bursts a socket that is never silent looks whether it is to stop.
const SILENCE_EVERY: u8 = 16;

enum Event {
    Received(Result<Message, Unreadable>),
    Answered(Option<Answer>),
    QueueChanged,
    Idle,
    Stopping,
}

/// What a client is answered.
enum Answer {
    /// Its messages were accepted: nearly always. The body is in JSON.
    Accepted { id: u64, body: Bytes, now: Timestamp },
    /// Something else.
    Frame(Frame),
}

/// What a client asks for.
enum Asked {
    /// To send messages: nearly always.
    ToSend(PlainSend),
    /// Something else.
    Request(Request<Body>),
}

/// An open socket.
struct Open {
    socket: WebSocket,
    chat: Box<Chat>,
    delivery: Option<Delivery>,
    /// In place of a delivery, for a device that wants none.
    watch: Option<Watch>,
    in_flight: FuturesUnordered<BoxFuture<'static, Option<Answer>>>,
    idle: Idle,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    bursts: u8,
}

/// The device's queue and what it has been sent of it.
struct Delivery {
    subscription: Subscription,
    session: DeliverySession,
    /// The queue may hold more than has been read.
    more: bool,
    /// What the device has answered in this burst.
    answered: Vec<Settled>,
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
    pub(super) async fn run(self: Box<Self>, socket: WebSocket) {
        let _open = metrics::Open::new(&self.door.metrics().sockets);
        // Apart from this future, which would otherwise have room for it twice.
        let mut open = Box::new(Open::new(socket, self));
        let stop = match Box::pin(open.admit()).await {
            Ok(()) => open.serve().await,
            Err(stop) => stop,
        };
        Box::pin(open.finish(stop)).await;
    }
}

impl Open {
    fn new(socket: WebSocket, chat: Box<Chat>) -> Self {
        Self {
            idle: Idle::new(chat.door.config().socket_idle_timeout),
            stopping: Box::pin(chat.door.stopping().clone().cancelled_owned()),
            socket,
            chat,
            delivery: None,
            watch: None,
            in_flight: FuturesUnordered::new(),
            bursts: 0,
        }
    }

    /// Takes up the device's queue, and makes sure that its credentials have not been revoked meanwhile.
    async fn admit(&mut self) -> Result<(), Stop> {
        let Some((wish, admission)) = self.chat.device.take() else { return Ok(()) };
        let queue = self.chat.door.services().parts().messages.queue();
        if wish.messages {
            self.delivery = Some(Delivery::begin(&self.chat.door, wish));
        } else {
            self.watch = Some(queue.watch(wish.device.address()));
        }
        if admission.is_still_good(&self.chat.door).await { Ok(()) } else { Err(Stop::Close(REVOKED)) }
    }

    async fn serve(&mut self) -> Stop {
        loop {
            let burst = poll_fn(|context| self.poll_burst(context)).await;
            if let Err(stop) = self.handle_burst(burst).await {
                return stop;
            }
        }
    }

    async fn handle_burst(&mut self, burst: Vec<Event>) -> Result<(), Stop> {
        let mut handled = Ok(());
        for event in burst {
            handled = self.handle(event).await;
            if handled.is_err() {
                break;
            }
        }
        // Also at the end of a socket: what its device had answered before counts.
        self.settle_answered().await;
        handled?;
        // There may be room for more now.
        self.read_queue(false).await?;
        self.write().await
    }

    /// Waits until something has happened, and takes all that has: what a burst of events causes is written
    /// at once.
    fn poll_burst(&mut self, context: &mut Context<'_>) -> Poll<Vec<Event>> {
        let mut burst = Vec::new();
        while burst.len() < SOCKET_BURST
            && let Poll::Ready(Some(answer)) = self.in_flight.poll_next_unpin(context)
        {
            burst.push(Event::Answered(answer));
        }
        self.poll_received(context, &mut burst);
        let changed = match (&self.delivery, &self.watch) {
            (Some(delivery), _) => delivery.subscription.poll_changed(context),
            (None, Some(watch)) => watch.poll_changed(context),
            (None, None) => Poll::Pending,
        };
        if changed.is_ready() {
            burst.push(Event::QueueChanged);
        }
        // These matter when nothing else happens; but a socket that is never silent shall stop as well.
        self.bursts = self.bursts.wrapping_add(1);
        if burst.is_empty() || self.bursts.is_multiple_of(SILENCE_EVERY) {
            if self.idle.poll(context).is_ready() {
                burst.push(Event::Idle);
            }
            if self.stopping.as_mut().poll(context).is_ready() {
                burst.push(Event::Stopping);
            }
        }
        if burst.is_empty() { Poll::Pending } else { Poll::Ready(burst) }
    }

    /// Takes what the client has sent, until there is nothing more or it is enough for one burst.
    fn poll_received(&mut self, context: &mut Context<'_>, burst: &mut Vec<Event>) {
        let mut bytes = 0;
        while burst.len() < SOCKET_BURST
            && bytes < SOCKET_GATHER
            && let Poll::Ready(received) = self.socket.poll_next(context)
        {
            let ended = received.is_err();
            if let Ok(Message::Binary(message)) = &received {
                bytes += message.len();
            }
            burst.push(Event::Received(received));
            if ended {
                break;
            }
        }
    }

    async fn handle(&mut self, event: Event) -> Result<(), Stop> {
        match event {
            Event::Received(Ok(message)) => self.receive(message),
            Event::Received(Err(Unreadable::Violation(violation))) => Err(Stop::Close(violation.into())),
            Event::Received(Err(Unreadable::Gone)) => Err(Stop::Gone),
            Event::Answered(answer) => {
                self.enclose(answer);
                Ok(())
            }
            Event::QueueChanged => self.read_queue(true).await,
            Event::Idle => Err(Stop::Close(IDLE)),
            Event::Stopping => Err(Stop::Close(GOING_AWAY)),
        }
    }

    fn receive(&mut self, message: Message) -> Result<(), Stop> {
        self.idle.heard();
        match message {
            Message::Binary(bytes) => match Frame::decode(bytes) {
                Ok(Frame::Request(request)) => self.call(request),
                Ok(Frame::Response(response)) => {
                    if let Some(delivery) = &mut self.delivery {
                        let settled = delivery.session.answered(response.id, response.status);
                        delivery.answered.extend(settled);
                    }
                    Ok(())
                }
                Err(_) => Err(Stop::Close(MALFORMED)),
            },
            Message::Ping(payload) => {
                self.socket.queue_pong(&payload);
                Ok(())
            }
            // Text means nothing here.
            Message::Pong | Message::Text(_) => Ok(()),
            Message::Close(code) => Err(Stop::Closed(code)),
        }
    }

    fn call(&mut self, frame: RequestFrame) -> Result<(), Stop> {
        let id = frame.id;
        let asked = Asked::of(frame, &self.chat.inherited).ok_or(Stop::Close(MALFORMED))?;
        if self.in_flight.len() >= SOCKET_REQUESTS_MAX {
            let now = self.chat.door.timestamp();
            let busy = |id| frames::bare_response(id, StatusCode::SERVICE_UNAVAILABLE, &now);
            self.enclose(id.map(busy).map(Answer::Frame));
            return Ok(());
        }
        let (door, origin) = (self.chat.door.clone(), self.chat.origin);
        self.in_flight.push(match asked {
            Asked::ToSend(send) => Box::pin(async move { send_message(&door, id, send, origin).await }),
            Asked::Request(request) => Box::pin(async move { answer(&door, id, request, origin).await }),
        });
        Ok(())
    }

    /// Settles what the device has answered, all of it together.
    async fn settle_answered(&mut self) {
        let Some(delivery) = &mut self.delivery else { return };
        let answered = std::mem::take(&mut delivery.answered);
        delivery.settle(&self.chat.door, answered).await;
        self.announce_empty();
    }

    /// Sends what the queue holds, as far as the device's window allows.
    async fn read_queue(&mut self, changed: bool) -> Result<(), Stop> {
        loop {
            let Some(delivery) = &mut self.delivery else {
                let closed = self.watch.as_ref().and_then(Watch::closed);
                return closed.map_or(Ok(()), |reason| Err(Stop::Close(reason.into())));
            };
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
            delivery.settle(&self.chat.door, settled).await;
            self.enclose_deliveries(outbound);
            self.announce_empty();
            if self.delivery.as_ref().is_none_or(|delivery| !delivery.more) {
                return Ok(());
            }
            // A long queue must not gather in memory.
            if self.socket.queued() >= SOCKET_GATHER {
                self.write().await?;
            }
        }
    }

    fn announce_empty(&mut self) {
        if let Some(empty) = self.delivery.as_mut().and_then(|delivery| delivery.session.queue_empty()) {
            self.enclose_deliveries([empty]);
        }
    }

    fn enclose_deliveries(&mut self, outbound: impl IntoIterator<Item = Outbound>) {
        let now = self.chat.door.now();
        for outbound in outbound {
            match outbound {
                Outbound::Message { request_id, envelope } => {
                    let shared = envelope.shared.as_ref().map_or(&[][..], |shared| &shared.bytes);
                    let pieces = [&envelope.head[..], shared];
                    self.enclose_request(ServerRequest::delivery(request_id, &pieces, now));
                }
                Outbound::QueueEmpty { request_id } => {
                    self.enclose_request(ServerRequest::queue_empty(request_id, now));
                }
            }
        }
    }

    fn enclose_request(&mut self, request: ServerRequest<'_>) {
        self.socket.queue(request.encoded_len(), |out| request.encode(out));
    }

    fn enclose(&mut self, answer: Option<Answer>) {
        match answer {
            Some(Answer::Accepted { id, body, now }) => {
                let answer = JsonAnswer { id, body: &body, now };
                self.socket.queue(answer.encoded_len(), |out| answer.encode(out));
            }
            Some(Answer::Frame(frame)) => {
                self.socket.queue(frame.encoded_len(), |out| frame.encode_to(out));
            }
            None => {}
        }
    }

    async fn write(&mut self) -> Result<(), Stop> {
        let limit = self.chat.door.config().socket_write_timeout;
        match timeout(limit, self.socket.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Stop::Gone),
        }
    }

    async fn finish(&mut self, stop: Stop) {
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
            Stop::Close(_) | Stop::Closed(_) | Stop::Gone => self.abandon_in_flight(),
        }
        let limit = self.chat.door.config().socket_close_timeout;
        // Nobody is left who could be told of a failure.
        let _ = match stop {
            Stop::Close(Ending(code, reason)) => timeout(limit, self.socket.close(code, reason)).await,
            Stop::Closed(code) => timeout(limit, self.socket.closed(code)).await,
            Stop::Gone => return,
        };
    }

    async fn answer_in_flight(&mut self) {
        let deadline = Instant::now() + self.chat.door.config().socket_drain_timeout;
        while let Ok(Some(answer)) = timeout_at(deadline, self.in_flight.next()).await {
            self.enclose(answer);
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
}

impl Asked {
    /// What that frame asks for; none if its verb or path is none.
    fn of(frame: RequestFrame, inherited: &HeaderMap) -> Option<Self> {
        match PlainSend::of(&frame) {
            Some(send) => Some(Self::ToSend(send)),
            None => frames::request(frame, inherited).map(Self::Request),
        }
    }
}

async fn answer(door: &Door, id: Option<u64>, request: Request<Body>, origin: Origin) -> Option<Answer> {
    let response = door.handle_framed(request, origin).await;
    Some(Answer::Frame(frames::response(id?, response, door.timestamp()).await))
}

async fn send_message(door: &Door, id: Option<u64>, send: PlainSend, origin: Origin) -> Option<Answer> {
    match door.send_framed(send, origin).await {
        Ok(body) => Some(Answer::Accepted { id: id?, body, now: door.now() }),
        Err(refused) => Some(Answer::Frame(frames::response(id?, refused, door.timestamp()).await)),
    }
}

impl Delivery {
    fn begin(door: &Door, wish: DeliveryWish) -> Self {
        let subscription = door.services().parts().messages.queue().subscribe(wish.device.address());
        let session = DeliverySession::new(wish.device.aci, wish.receive_stories, subscription.horizon());
        Self { subscription, session, more: true, answered: Vec::new() }
    }

    async fn settle(&self, door: &Door, settled: Vec<Settled>) {
        if settled.is_empty() {
            return;
        }
        let settling = door.services().parts().messages.settle(&self.subscription, settled);
        // Apart: it would be the largest part of what every socket holds while it waits.
        Box::pin(settling).await;
    }
}
