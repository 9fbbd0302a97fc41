//! Messages that come in a frame of a socket, past the router.
//!
//! Nearly every request of a busy socket is `PUT /v1/messages/{serviceId}`. The router, its layers and a map of headers
//! cost as much again as all that sending it takes. What is not plainly such a request is left to the router, which
//! gives the same answers: `testkit/tests/plain_messages.rs` asks both.

use auth::Authenticated;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use messages::MessageService;
use protocol::{
    ServiceId,
    frame::{RequestFrame, parse_header},
};

use super::{SEND_BODY_MAX, rest};
use crate::{body, signal::unidentified::Presented};

const PATH: &str = "/v1/messages/";

/// A request to send messages in which everything is as it should be, up to the body.
pub(crate) struct PlainSend {
    destination: ServiceId,
    story: bool,
    shown: Presented,
    body: Bytes,
}

impl PlainSend {
    /// The request of that frame, if it is one.
    pub(crate) fn of(frame: &RequestFrame) -> Option<Self> {
        let rest = frame.path.strip_prefix(PATH).filter(|_| frame.verb == "PUT")?;
        let (destination, story) = match rest.split_once('?') {
            None => (rest, false),
            Some((destination, "story=false")) => (destination, false),
            Some((destination, "story=true")) => (destination, true),
            Some(_) => return None,
        };
        let body = frame.body.clone().filter(|body| body.len() <= SEND_BODY_MAX)?;
        Some(Self { destination: destination.parse().ok()?, story, shown: shown(frame)?, body })
    }

    /// Sends what is asked for, for whoever opened the socket. Returns the body of the answer, in JSON, or the whole
    /// answer if it is refused.
    pub(crate) async fn send(
        self,
        service: &MessageService,
        device: Option<Authenticated>,
    ) -> Result<Bytes, Response> {
        let request = body::parse(&self.body).map_err(IntoResponse::into_response)?;
        let sent = rest::perform(service, device, self.destination, self.shown, self.story, request).await?;
        Ok(rest::accepted(sent))
    }
}

/// The credentials in the headers of that frame; none if they can be read in more than one way.
fn shown(frame: &RequestFrame) -> Option<Presented> {
    let mut shown = Presented::NOTHING;
    for line in &frame.headers {
        let Some((name, value)) = parse_header(line) else { continue };
        if Presented::is_named(name) {
            shown = shown.with(name, value)?;
        }
    }
    Some(shown)
}
