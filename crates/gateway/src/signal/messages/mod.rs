//! Sending messages: `PUT /v1/messages/{serviceId}` and `messages.Messages`.

pub(crate) mod grpc;
mod rest;

use crate::routes::Routes;

/// Largest body of a send: a copy of the largest content for a handful of devices, in base64. What a frame
/// of the socket can carry is less.
const SEND_BODY_MAX: usize = 1024 * 1024;

pub(super) fn routes() -> Routes {
    Routes::default().put("/v1/messages/{destination}", rest::send).body_max(SEND_BODY_MAX)
}
