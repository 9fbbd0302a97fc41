//! The chat websocket: REST in frames in one direction, deliveries in the other.
//!
//! [`upgrade`] turns a request into a socket, with the [`handshake`] that the RFCs ask for; [`websocket`] is
//! the socket as messages, [`chat`] owns the open one and [`ending`] says how it ends, [`frames`] translates between frames and HTTP,
//! [`alerts`] says what a device is told on the way in.
//! [`provisioning`] is another kind of socket, for devices that are being set up, and [`native`] one that carries messages
//! as JSON.

mod alerts;
mod chat;
mod ending;
mod frames;
mod handshake;
mod idle;
pub(crate) mod native;
mod provisioning;
mod websocket;

use auth::{Authenticated, credentials::BasicCredentials};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use protocol::PhoneNumber;

use crate::{
    caller::{self, Carrier, Origin, Unidentified},
    door::Door,
    limits::SOCKET_FRAME_MAX,
};

use chat::Chat;
use handshake::Handshake;
use websocket::WebSocket;

/// The headers of the upgrade that hold for every request in the socket, unless it brings its own.
const INHERITED: [HeaderName; 4] = [
    header::AUTHORIZATION,
    header::USER_AGENT,
    header::ACCEPT_LANGUAGE,
    HeaderName::from_static("x-signal-agent"),
];

const RECEIVE_STORIES: HeaderName = HeaderName::from_static("x-signal-receive-stories");
const DISABLE_MESSAGES: HeaderName = HeaderName::from_static("x-signal-disable-messages");

/// The kinds of websocket there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Requests, and deliveries if the caller is a device.
    Chat,
    /// For a device that is being set up.
    Provisioning,
    /// Messages to a native device.
    Native,
}

impl Kind {
    /// The kind of socket that is opened at that path.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        match path {
            "/v1/websocket" => Some(Self::Chat),
            "/v1/websocket/provisioning" => Some(Self::Provisioning),
            native::PATH => Some(Self::Native),
            _ => None,
        }
    }
}

/// Answers a request to open a socket.
///
/// Wrong credentials are 403 here and only here: clients take it to mean that their device is gone for
/// good. So nothing else may be answered with it, least of all a store that is away.
pub(crate) async fn upgrade(door: &Door, kind: Kind, mut request: Request<Body>, origin: Origin) -> Response {
    let handshake = match Handshake::of(&mut request) {
        Ok(handshake) => handshake,
        Err(status) => return status.into_response(),
    };
    match kind {
        Kind::Provisioning => return provisioning::upgrade(door, handshake, origin),
        Kind::Native => return native::upgrade(door, handshake, request.headers()).await,
        Kind::Chat => {}
    }
    let admission = Admission::begin(door, request.headers());
    let identity = match admission.identify(door).await {
        Ok(identity) => identity,
        Err(Unidentified::Refused) => return StatusCode::FORBIDDEN.into_response(),
        Err(Unidentified::Storage(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a socket could not be authenticated");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let alerts = alerts::of(door, identity).await;
    let origin = Origin { carrier: Carrier::Socket(identity), ..origin };
    let inherited = inherited(request.headers(), identity);
    let wish = delivery_wish(identity, request.headers());
    let chat = Box::new(Chat::new(door.clone(), origin, inherited, wish.map(|wish| (wish, admission))));
    let (response, upgrade) = handshake.grant();
    door.tasks().spawn(async move {
        match upgrade.await {
            Ok(upgraded) => chat.run(WebSocket::new(TokioIo::new(upgraded), SOCKET_FRAME_MAX)).await,
            Err(error) => tracing::debug!(%error, "an upgrade was not completed"),
        }
    });
    (alerts, response).into_response()
}

/// How a device that connects wants its messages.
#[derive(Clone, Copy, Debug)]
struct DeliveryWish {
    device: Authenticated,
    /// It is to get messages. A socket without them neither takes the place of the device's other socket nor
    /// loses its own to it.
    messages: bool,
    receive_stories: bool,
}

fn delivery_wish(identity: Option<Authenticated>, headers: &HeaderMap) -> Option<DeliveryWish> {
    let says_true = |name| headers.get(name).is_some_and(|value| value == "true");
    identity.map(|device| DeliveryWish {
        device,
        messages: !says_true(DISABLE_MESSAGES),
        receive_stories: says_true(RECEIVE_STORIES),
    })
}

/// The credentials of an upgrade, until its socket is where a revocation reaches it.
struct Admission {
    credentials: HeaderMap,
    /// Revocations before the credentials were looked at.
    disconnections: u64,
}

impl Admission {
    fn begin(door: &Door, headers: &HeaderMap) -> Self {
        let credentials =
            headers.get(header::AUTHORIZATION).map(|value| (header::AUTHORIZATION, copied(value)));
        Self {
            credentials: credentials.into_iter().collect(),
            disconnections: door.services().parts().messages.queue().disconnections(),
        }
    }

    async fn identify(&self, door: &Door) -> Result<Option<Authenticated>, Unidentified> {
        match caller::identify(&door.services().parts().accounts, &self.credentials).await {
            // A client about to register opens its socket with its number and the password it is going to
            // have, and expects the registration inside to use them.
            Err(Unidentified::Refused) if names_a_number(&self.credentials) => Ok(None),
            outcome => outcome,
        }
    }

    /// Whether the credentials are still good, for a socket that has just subscribed. A revocation after
    /// they were looked at and before that would have passed the socket by.
    async fn is_still_good(&self, door: &Door) -> bool {
        let unchanged = door.services().parts().messages.queue().disconnections() == self.disconnections;
        unchanged || matches!(self.identify(door).await, Ok(Some(_)))
    }
}

fn names_a_number(headers: &HeaderMap) -> bool {
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| BasicCredentials::from_header(value).ok())
        .is_some_and(|credentials| credentials.user().parse::<PhoneNumber>().is_ok())
}

/// An authenticated socket does not keep the password that opened it.
fn inherited(headers: &HeaderMap, identity: Option<Authenticated>) -> HeaderMap {
    INHERITED
        .into_iter()
        .filter(|name| identity.is_none() || name != header::AUTHORIZATION)
        .filter_map(|name| headers.get(&name).map(|value| (name, copied(value))))
        .collect()
}

/// A value by itself: as it comes it is a slice of all that was read of the connection before the upgrade,
/// and keeps that in memory.
fn copied(value: &HeaderValue) -> HeaderValue {
    let mut copy = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
    copy.set_sensitive(value.is_sensitive());
    copy
}
