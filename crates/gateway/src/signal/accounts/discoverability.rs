//! `PUT /v2/accounts/phone_number_discoverability`.

use auth::AccountService;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use super::done;
use crate::{body::JsonBody, caller::AuthenticatedDevice, reply::Refusal};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DiscoverabilityBody {
    discoverable_by_phone_number: bool,
}

pub(super) async fn set(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(accounts): State<AccountService>,
    JsonBody(body): JsonBody<DiscoverabilityBody>,
) -> Result<StatusCode, Refusal> {
    done(accounts.set_discoverable(&device, body.discoverable_by_phone_number).await)
}
