//! Pre-keys: `/v2/keys`, `keys.Keys` and `keys.KeysAnonymous`.

pub(crate) mod grpc;
mod rest;

use auth::Authenticated;
use axum::{
    Router,
    routing::{get, post, put},
};
use protocol::{IdentityKind, ServiceId};

use crate::services::Services;

pub(super) fn routes() -> Router<Services> {
    Router::new()
        .route("/v2/keys", put(rest::upload).get(rest::counts))
        .route("/v2/keys/check", post(rest::check))
        .route("/v2/keys/{target}/{devices}", get(rest::fetch))
}

/// The identity of that kind of the device's account; `None` for the phone-number identity of an account
/// without a number.
fn own_identity(device: &Authenticated, kind: IdentityKind) -> Option<ServiceId> {
    match kind {
        IdentityKind::Aci => Some(device.aci.into()),
        IdentityKind::Pni => device.pni.map(ServiceId::from),
    }
}
