//! Pre-keys: `/v2/keys`, `keys.Keys` and `keys.KeysAnonymous`.

pub(crate) mod grpc;
mod rest;

use auth::Authenticated;
use protocol::{IdentityKind, Pni, ServiceId};

use crate::routes::Routes;

pub(super) fn routes() -> Routes {
    Routes::default()
        .put("/v2/keys", rest::upload)
        .get("/v2/keys", rest::counts)
        .post("/v2/keys/check", rest::check)
        .get("/v2/keys/{target}/{devices}", rest::fetch)
}

/// The identity of that kind of the device's account; `None` for the phone-number identity of an account
/// without a number. `pni` is the one it has now, and not when a socket was opened: the account may have got another
/// number since, and somebody else its former one.
fn own_identity(device: &Authenticated, pni: Option<Pni>, kind: IdentityKind) -> Option<ServiceId> {
    match kind {
        IdentityKind::Aci => Some(device.aci.into()),
        IdentityKind::Pni => pni.map(ServiceId::from),
    }
}
