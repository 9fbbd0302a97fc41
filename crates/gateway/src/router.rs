//! Everything that can be asked: Signal's REST and gRPC, the native API, and pages for people.

use axum::{
    Router,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};

use crate::{grpc, native, pages, routes::Route, services::Services, signal};

/// Every route there is.
pub fn route_table() -> Vec<Route> {
    let mut table = signal::routes().table();
    table.extend(grpc::routes().table());
    table.extend(native::routes().table());
    table.extend(pages::routes().table());
    table
}

/// Every route, with the services that it calls.
pub(crate) fn router(services: &Services) -> Router {
    signal::routes()
        .into_router(services.clone())
        .merge(grpc::routes().into_router(services.clone()))
        .merge(native::routes().into_router(services.clone()))
        .merge(pages::routes().into_router(services.clone()))
        .fallback(unknown)
}

/// A path or method that does not exist, in the language it was asked for in.
async fn unknown(headers: HeaderMap) -> Response {
    let is_grpc = headers
        .get(CONTENT_TYPE)
        .is_some_and(|content_type| content_type.as_bytes().starts_with(b"application/grpc"));
    if is_grpc { grpc::unimplemented() } else { StatusCode::NOT_FOUND.into_response() }
}
