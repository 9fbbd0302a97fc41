//! An account's devices and how more come to it: `/v1/devices`, `/v1/provisioning` and
//! `device.Devices`.

mod created_at;
pub(crate) mod grpc;
mod link;
mod link_code;
mod list;
mod provisioning;
mod removal;
mod restore_account;
mod transfer_archive;
mod wait;

use auth::linking::DeviceLimitReached;
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;

use crate::routes::Routes;

pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/v1/devices", list::list)
        .delete("/v1/devices/{device}", removal::remove)
        .get("/v1/devices/provisioning/code", link_code::make)
        .put("/v1/devices/link", link::link)
        .get("/v1/devices/wait_for_linked_device/{code}", wait::wait)
        .put("/v1/devices/transfer_archive", transfer_archive::leave)
        .get("/v1/devices/transfer_archive", transfer_archive::wait)
        .put("/v1/devices/restore_account/{token}", restore_account::leave)
        .get("/v1/devices/restore_account/{token}", restore_account::wait)
        .put("/v1/provisioning/{address}", provisioning::send)
}

/// Body of 411: there is no place for another device.
#[derive(Serialize)]
struct DeviceLimitBody {
    current: usize,
    max: usize,
}

fn refuse_full(DeviceLimitReached { current }: DeviceLimitReached) -> Response {
    let body = DeviceLimitBody { current, max: auth::linking::DEVICES_MAX };
    (StatusCode::LENGTH_REQUIRED, Json(body)).into_response()
}
