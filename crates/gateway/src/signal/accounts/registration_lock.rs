//! `PUT` and `DELETE /v1/accounts/registration_lock`.

use auth::{AccountService, secrets::RegistrationLockToken};
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use super::done;
use crate::{body::JsonBody, caller::AuthenticatedDevice, reply::Refusal};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegistrationLockBody {
    registration_lock: String,
}

pub(super) async fn set(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(accounts): State<AccountService>,
    JsonBody(body): JsonBody<RegistrationLockBody>,
) -> Result<StatusCode, Refusal> {
    let token = RegistrationLockToken::from_text(body.registration_lock)
        .ok_or(Refusal::invalid("a registration lock has 64 characters"))?;
    done(accounts.set_registration_lock(&device, Some(token)).await)
}

pub(super) async fn clear(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(accounts): State<AccountService>,
) -> Result<StatusCode, Refusal> {
    done(accounts.set_registration_lock(&device, None).await)
}
