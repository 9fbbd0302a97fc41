//! `GET /v1/keepalive`: clients ask whether the socket still carries requests.

use http::StatusCode;

use crate::{caller::Anybody, routes::Routes};

pub(super) fn routes() -> Routes {
    Routes::default().get("/v1/keepalive", alive).get("/v1/keepalive/provisioning", alive)
}

async fn alive(_: Anybody) -> StatusCode {
    StatusCode::OK
}
