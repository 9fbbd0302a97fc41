//! The chat websocket: REST in frames in one direction, deliveries in the other.
//!
//! [`upgrade`] turns a request into a socket, [`chat`] owns the open socket, [`frames`] translates between
//! frames and HTTP.

mod chat;
mod frames;

use auth::{Authenticated, credentials::BasicCredentials};
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
pub(crate) async fn upgrade(
    door: &Door,
    Kind::Chat: Kind,
    request: Request<Body>,
    origin: Origin,
) -> Response {
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let admission = Admission::begin(door, &parts.headers);
    let identity = match admission.identify(door).await {
        Ok(identity) => identity,
        Err(Unidentified::Refused) => return StatusCode::FORBIDDEN.into_response(),
        Err(Unidentified::Storage(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a socket could not be authenticated");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let origin = Origin { carrier: Carrier::Socket(identity), ..origin };
    let inherited = inherited(&parts.headers, identity);
    let wish = delivery_wish(identity, &parts.headers);
    let chat = Chat::new(door.clone(), origin, inherited, wish.map(|wish| (wish, admission)));
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

/// How a device that connects wants its messages.
#[derive(Clone, Copy, Debug)]
struct DeliveryWish {
    device: Authenticated,
    receive_stories: bool,
}

fn delivery_wish(identity: Option<Authenticated>, headers: &HeaderMap) -> Option<DeliveryWish> {
    let receive_stories = headers.get(RECEIVE_STORIES).is_some_and(|value| value == "true");
    identity.map(|device| DeliveryWish { device, receive_stories })
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
            headers.get(header::AUTHORIZATION).map(|value| (header::AUTHORIZATION, value.clone()));
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
        .filter_map(|name| headers.get(&name).map(|value| (name, value.clone())))
        .collect()
}
