//! The chat websocket: REST in frames in one direction, deliveries in the other.
//!
//! [`upgrade`] turns a request into a socket, [`chat`] owns the open socket, [`frames`] translates between
//! frames and HTTP.

mod chat;
mod frames;

use auth::Authenticated;
use axum::{
    body::Body,
    extract::{FromRequestParts, WebSocketUpgrade},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, Request, StatusCode, header};
use protocol::PhoneNumber;

use crate::{
    caller::{self, Carrier, Origin, Unidentified},
    door::Door,
    limits::{SOCKET_FRAME_MAX, SOCKET_READ_BUFFER, SOCKET_WRITE_BUFFER, SOCKET_WRITE_BUFFER_MAX},
};

use chat::Chat;

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
}

impl Kind {
    /// The kind of socket that is opened at that path.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        (path == "/v1/websocket").then_some(Self::Chat)
    }
}

/// Answers a request to open a socket.
///
/// Wrong credentials are 403 here and only here: clients take it to mean that their device is gone for
/// good. So nothing else may be answered with it, least of all a store that is away.
pub(crate) async fn upgrade(door: &Door, Kind::Chat: Kind, request: Request<Body>, origin: Origin) -> Response {
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let identity = match identify(door, &parts.headers).await {
        Ok(identity) => identity,
        Err(Unidentified::Refused) => return StatusCode::FORBIDDEN.into_response(),
        Err(Unidentified::Storage(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a socket could not be authenticated");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let origin = Origin { carrier: Carrier::Socket(identity), ..origin };
    let chat = Chat::new(door.clone(), origin, inherited(&parts.headers), delivery_wish(identity, &parts.headers));
    let tasks = door.tasks().clone();
    upgrade
        .read_buffer_size(SOCKET_READ_BUFFER)
        .write_buffer_size(SOCKET_WRITE_BUFFER)
        .max_write_buffer_size(SOCKET_WRITE_BUFFER_MAX)
        .max_message_size(SOCKET_FRAME_MAX)
        .max_frame_size(SOCKET_FRAME_MAX)
        .on_failed_upgrade(|error| tracing::debug!(%error, "an upgrade was not completed"))
        .on_upgrade(move |socket| tasks.track_future(chat.run(socket)))
}

/// How a device that connects wants its messages; `None` if it wants none.
#[derive(Clone, Copy, Debug)]
struct DeliveryWish {
    device: Authenticated,
    receive_stories: bool,
}

fn delivery_wish(identity: Option<Authenticated>, headers: &HeaderMap) -> Option<DeliveryWish> {
    let says = |name, value: &str| headers.get(name).is_some_and(|found| found == value);
    identity
        .filter(|_| !says(DISABLE_MESSAGES, "true"))
        .map(|device| DeliveryWish { device, receive_stories: says(RECEIVE_STORIES, "true") })
}

async fn identify(door: &Door, headers: &HeaderMap) -> Result<Option<Authenticated>, Unidentified> {
    match caller::identify(&door.services().parts().accounts, headers).await {
        // A client about to register opens its socket with its number and the password it is going to
        // have, and expects the registration inside to use them.
        Err(Unidentified::Refused) if names_a_number(headers) => Ok(None),
        outcome => outcome,
    }
}

fn names_a_number(headers: &HeaderMap) -> bool {
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| auth::credentials::BasicCredentials::from_header(value).ok())
        .is_some_and(|credentials| credentials.user().parse::<PhoneNumber>().is_ok())
}

fn inherited(headers: &HeaderMap) -> HeaderMap {
    INHERITED.into_iter().filter_map(|name| headers.get(&name).map(|value| (name, value.clone()))).collect()
}
