//! Signal's API: REST, and gRPC beside it. One file per resource.
//!
//! A handler does four things: it takes its arguments out of the request, says who may call it, calls one
//! service, and writes the answer down.

pub(crate) mod accounts;
mod agent;
pub(crate) mod certificates;
pub(crate) mod challenge;
mod config;
pub(crate) mod devices;
mod invite_page;
mod keepalive;
pub(crate) mod keys;
pub(crate) mod messages;
mod newcomer;
mod registration;
mod unidentified;
mod verification;

use axum::{Router, response::IntoResponse};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};

use crate::{
    grpc,
    limits::BODY_MAX,
    native,
    routes::{Route, Routes},
    services::Services,
};

/// Every route there is.
pub fn route_table() -> Vec<Route> {
    let mut table = routes().table();
    table.extend(grpc::routes().table());
    table.extend(native::routes().table());
    table
}

/// Every route of Signal's API and the native one.
pub(crate) fn router(services: Services) -> Router {
    let rest = routes().into_router(services.clone());
    let grpc = grpc::routes().into_router(services.clone());
    rest.merge(grpc).merge(native::routes().into_router(services)).fallback(unknown)
}

fn routes() -> Routes {
    Routes::default()
        .merge(accounts::routes())
        .merge(certificates::routes())
        .merge(challenge::routes())
        .merge(config::routes())
        .merge(devices::routes())
        .merge(invite_page::routes())
        .merge(keepalive::routes())
        .merge(keys::routes())
        .merge(messages::routes())
        .merge(registration::routes())
        .merge(verification::routes())
        // Handlers that take more, or less, say so themselves.
        .body_max(BODY_MAX)
}

/// A path or method that does not exist, in the language it was asked for in.
async fn unknown(headers: HeaderMap) -> axum::response::Response {
    let is_grpc = headers
        .get(CONTENT_TYPE)
        .is_some_and(|content_type| content_type.as_bytes().starts_with(b"application/grpc"));
    if is_grpc { grpc::unimplemented() } else { StatusCode::NOT_FOUND.into_response() }
}
