//! Sender certificates: `GET /v1/certificate/delivery` and `credentials.Credentials`.

pub(crate) mod grpc;
mod rest;

use crate::routes::Routes;

pub(super) fn routes() -> Routes {
    Routes::default().get("/v1/certificate/delivery", rest::issue)
}
