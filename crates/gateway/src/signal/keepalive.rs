//! `GET /v1/keepalive`: clients ask whether the socket still carries requests.

use axum::{Router, routing::get};
use http::StatusCode;

use crate::services::Services;

pub(super) fn routes() -> Router<Services> {
    Router::new()
        .route("/v1/keepalive", get(async || StatusCode::OK))
        .route("/v1/keepalive/provisioning", get(async || StatusCode::OK))
}
