//! Sending messages: `PUT /v1/messages/{serviceId}` and `messages.Messages`.

pub(crate) mod grpc;
mod rest;

use axum::{Router, extract::DefaultBodyLimit, routing::put};

use crate::services::Services;

/// Largest body of a send: a copy of the largest content for a handful of devices, in base64. What a frame
/// of the socket can carry is less.
const SEND_BODY_MAX: usize = 1024 * 1024;

pub(super) fn routes() -> Router<Services> {
    Router::new()
        .route("/v1/messages/{destination}", put(rest::send))
        .layer(DefaultBodyLimit::max(SEND_BODY_MAX))
}
