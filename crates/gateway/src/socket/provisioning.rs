//! The websocket of a device that is being set up: it is told an address, gets what comes there, and is closed.

use std::{sync::Arc, time::Duration};

use auth::linking::provisioning::{Mailbox, Parcel};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use hyper_util::rt::TokioIo;
use prost::Message as _;
use protocol::{
    ambient::Clock,
    frame::{Frame, RequestFrame},
    websocket::Message,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    frames,
    handshake::Handshake,
    websocket::{Unreadable, WebSocket},
};
use crate::{
    caller::{Carrier, Origin},
    door::Door,
    reply::Refusal,
};

/// How long such a socket lives. Clients open a new one every 45 seconds.
const LIFETIME: Duration = Duration::from_secs(90);

/// A socket from which nothing is heard for so long is closed. Clients ping every 30 or 55 seconds.
const IDLE: Duration = Duration::from_mins(1);

/// Largest frame a client may send here: it answers, and asks for keepalives.
const FRAME_MAX: usize = 16 * 1024;

/// Ids of the two requests of the server.
const ADDRESS_REQUEST: u64 = 1;
const MESSAGE_REQUEST: u64 = 2;

/// How a socket ends: a close code and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ending(u16, &'static str);

const DELIVERED: Ending = Ending(1000, "Closed");
const TIMED_OUT: Ending = Ending(1000, "Timeout");
const GOING_AWAY: Ending = Ending(1001, "Server is stopping");
const MALFORMED: Ending = Ending(1007, "Badly formatted");

/// Nobody is at the other end any more.
struct Gone;

/// Body of the first frame: the address at which this device is reached.
#[derive(Clone, PartialEq, prost::Message)]
struct ProvisioningAddress {
    #[prost(string, optional, tag = "1")]
    address: Option<String>,
}

/// Answers a request to open such a socket.
pub(super) fn upgrade(door: &Door, handshake: Handshake, origin: Origin) -> Response {
    let Some(mailbox) = door.services().parts().provisioning.open() else {
        return Refusal::overloaded().into_response();
    };
    let origin = Origin { carrier: Carrier::Socket(None), ..origin };
    let provisioning = Provisioning {
        mailbox,
        clock: Arc::clone(&door.services().parts().clock),
        stopping: door.stopping().clone(),
        write_limit: door.config().socket_write_timeout,
        close_limit: door.config().socket_close_timeout,
    };
    let (response, upgrade) = handshake.grant();
    let (door, tasks) = (door.clone(), door.tasks().clone());
    tasks.spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                let socket = WebSocket::new(TokioIo::new(upgraded), FRAME_MAX);
                provisioning.run(socket, |frame| answer(door.clone(), origin, frame)).await;
            }
            Err(error) => tracing::debug!(%error, "an upgrade was not completed"),
        }
    });
    response
}

/// Answers what the client asks for; `None` where it wants no answer or makes no sense.
async fn answer(door: Door, origin: Origin, frame: RequestFrame) -> Option<Frame> {
    let id = frame.id?;
    let request = frames::request(frame, &HeaderMap::new())?;
    let response = door.handle_framed(request, origin).await;
    Some(frames::response(id, response, door.timestamp()).await)
}

struct Provisioning {
    mailbox: Mailbox,
    clock: Arc<dyn Clock>,
    stopping: CancellationToken,
    write_limit: Duration,
    close_limit: Duration,
}

impl Provisioning {
    /// Runs the socket to its end.
    async fn run<S, A, F>(mut self, mut socket: WebSocket<S>, answer: A)
    where
        S: AsyncRead + AsyncWrite + Unpin,
        A: Fn(RequestFrame) -> F,
        F: Future<Output = Option<Frame>>,
    {
        let served = timeout(LIFETIME, self.serve(&mut socket, answer)).await;
        // Nobody is to send to an address that is not answered any more.
        drop(self.mailbox);
        let Ending(code, reason) = match served {
            Ok(Ok(ending)) => ending,
            Ok(Err(Gone)) => return,
            Err(_) => TIMED_OUT,
        };
        let _ = timeout(self.close_limit, socket.close(code, reason)).await;
    }

    async fn serve<S, A, F>(&mut self, socket: &mut WebSocket<S>, answer: A) -> Result<Ending, Gone>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        A: Fn(RequestFrame) -> F,
        F: Future<Output = Option<Frame>>,
    {
        let address = ProvisioningAddress { address: Some(self.mailbox.address().to_owned()) };
        self.send(socket, self.put(ADDRESS_REQUEST, "/v1/address", address.encode_to_vec())).await?;
        let mut last_heard = Instant::now();
        let mut delivered = false;
        loop {
            tokio::select! {
                received = socket.next() => {
                    last_heard = Instant::now();
                    let bytes = match received {
                        Ok(Message::Binary(bytes)) => bytes,
                        Ok(Message::Ping(payload)) => {
                            socket.queue_pong(&payload);
                            self.flush(socket).await?;
                            continue;
                        }
                        Ok(Message::Pong | Message::Text(_)) => continue,
                        Ok(Message::Close(_)) | Err(Unreadable::Gone) => return Err(Gone),
                        Err(Unreadable::Violation(violation)) => {
                            return Ok(Ending(violation.close_code(), "Badly formatted"));
                        }
                    };
                    match Frame::decode(bytes) {
                        Ok(Frame::Response(response)) if delivered && response.id == MESSAGE_REQUEST => {
                            return Ok(DELIVERED);
                        }
                        Ok(Frame::Response(_)) => {}
                        Ok(Frame::Request(request)) => {
                            if let Some(frame) = answer(request).await {
                                self.send(socket, frame).await?;
                            }
                        }
                        Err(_) => return Ok(MALFORMED),
                    }
                }
                parcel = self.mailbox.parcel(), if !delivered => {
                    self.hand_over(socket, parcel).await?;
                    delivered = true;
                }
                () = sleep_until(last_heard + IDLE) => return Ok(TIMED_OUT),
                () = self.stopping.cancelled() => return Ok(GOING_AWAY),
            }
        }
    }

    async fn hand_over<S>(&self, socket: &mut WebSocket<S>, mut parcel: Parcel) -> Result<(), Gone>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let envelope = std::mem::take(&mut parcel.envelope);
        self.send(socket, self.put(MESSAGE_REQUEST, "/v1/message", envelope)).await?;
        parcel.handed_over();
        Ok(())
    }

    fn put(&self, id: u64, path: &str, body: Vec<u8>) -> Frame {
        Frame::Request(RequestFrame {
            verb: "PUT".to_owned(),
            path: path.to_owned(),
            body: Some(Bytes::from(body)),
            headers: vec![format!("X-Signal-Timestamp:{}", self.clock.now().as_millis())],
            id: Some(id),
        })
    }

    async fn send<S>(&self, socket: &mut WebSocket<S>, frame: Frame) -> Result<(), Gone>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        socket.queue(frame.encoded_len(), |out| frame.encode_to(out));
        self.flush(socket).await
    }

    async fn flush<S>(&self, socket: &mut WebSocket<S>) -> Result<(), Gone>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match timeout(self.write_limit, socket.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

#[cfg(test)]
mod tests {
    use auth::{
        Authenticated,
        linking::provisioning::{NotProvisioned, ProvisioningRelay},
    };
    use futures_util::future::{Ready, ready};
    use limits::RateLimits;
    use protocol::{
        Aci, DeviceId,
        ambient::{SeededEntropy, SystemClock},
        frame::ResponseFrame,
    };
    use tokio::io::duplex;

    use super::*;
    use crate::socket::websocket::client::{Client as ClientEnd, Received};

    struct Client {
        relay: Arc<ProvisioningRelay>,
        stopping: CancellationToken,
        socket: ClientEnd,
    }

    impl Client {
        fn connect() -> Self {
            let limits = Arc::new(RateLimits::new(Arc::new(SystemClock), []));
            let relay = Arc::new(ProvisioningRelay::new(limits, Arc::new(SeededEntropy::new(1))));
            let (ours, theirs) = duplex(100_000);
            let stopping = CancellationToken::new();
            let provisioning = Provisioning {
                mailbox: relay.open().unwrap(),
                clock: Arc::new(SystemClock),
                stopping: stopping.clone(),
                write_limit: Duration::from_secs(1),
                close_limit: Duration::from_secs(1),
            };
            tokio::spawn(provisioning.run(WebSocket::new(ours, FRAME_MAX), echo));
            Self { relay, stopping, socket: ClientEnd::new(theirs) }
        }

        async fn receive(&mut self) -> Received {
            self.socket.receive().await.unwrap()
        }

        async fn request(&mut self) -> RequestFrame {
            let Received::Binary(bytes) = self.receive().await else { panic!("a frame") };
            let Ok(Frame::Request(request)) = Frame::decode(bytes) else { panic!("a request") };
            request
        }

        async fn address(&mut self) -> String {
            let request = self.request().await;
            assert_eq!((request.verb.as_str(), request.path.as_str()), ("PUT", "/v1/address"));
            self.answer(request.id.unwrap()).await;
            ProvisioningAddress::decode(request.body.unwrap()).unwrap().address.unwrap()
        }

        async fn answer(&mut self, id: u64) {
            self.send(&Frame::Response(ResponseFrame { id, status: 200, ..ResponseFrame::default() })).await;
        }

        async fn send(&mut self, frame: &Frame) {
            self.socket.send_binary(&frame.encode()).await;
        }

        async fn ending(&mut self) -> (u16, String) {
            let Received::Close(code, reason) = self.receive().await else { panic!("a close frame") };
            (code, reason)
        }

        async fn deliver(&self, address: &str) -> Result<(), NotProvisioned> {
            let caller =
                Authenticated { aci: Aci(uuid::Uuid::nil()), device_id: DeviceId::PRIMARY, pni: None };
            self.relay.deliver(&caller, address, vec![7; 3]).await
        }
    }

    /// Answers every request with its own id.
    fn echo(RequestFrame { id, .. }: RequestFrame) -> Ready<Option<Frame>> {
        let answer = |id| ResponseFrame { id, status: 200, ..ResponseFrame::default() };
        ready(id.map(answer).map(Frame::Response))
    }

    fn keepalive(id: u64) -> Frame {
        let (verb, path) = ("GET".to_owned(), "/v1/keepalive/provisioning".to_owned());
        Frame::Request(RequestFrame { verb, path, id: Some(id), ..RequestFrame::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_to_the_address_is_passed_on_and_that_is_the_end() {
        let mut client = Client::connect();
        let address = client.address().await;
        assert_eq!(client.deliver(&address).await, Ok(()));
        let request = client.request().await;
        assert_eq!((request.path.as_str(), request.body.as_deref()), ("/v1/message", Some(&[7; 3][..])));
        assert_eq!(client.deliver(&address).await, Err(NotProvisioned::NobodyThere));
        client.answer(request.id.unwrap()).await;
        assert_eq!(client.ending().await, (1000, "Closed".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn ninety_seconds_are_all_however_lively_the_client() {
        let mut client = Client::connect();
        let began = Instant::now();
        let address = client.address().await;
        for id in 0..2 {
            tokio::time::sleep(Duration::from_secs(40)).await;
            client.send(&keepalive(id)).await;
            let Received::Binary(answer) = client.receive().await else { panic!("a frame") };
            assert!(matches!(Frame::decode(answer), Ok(Frame::Response(response)) if response.id == id));
        }
        assert_eq!(client.ending().await, (1000, "Timeout".to_owned()));
        assert_eq!(began.elapsed().as_secs(), LIFETIME.as_secs());
        assert_eq!(client.deliver(&address).await, Err(NotProvisioned::NobodyThere));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_given_up_earlier() {
        let mut client = Client::connect();
        let began = Instant::now();
        client.address().await;
        assert_eq!(client.ending().await, (1000, "Timeout".to_owned()));
        assert_eq!(began.elapsed().as_secs(), IDLE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopping_server_says_so_and_nonsense_is_not_listened_to() {
        let mut client = Client::connect();
        client.address().await;
        client.stopping.cancel();
        assert_eq!(client.ending().await.0, 1001);
        let mut client = Client::connect();
        client.address().await;
        client.socket.send_binary(&[0xFF]).await;
        assert_eq!(client.ending().await.0, 1007);
    }
}
