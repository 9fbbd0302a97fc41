//! `DELETE /v1/accounts/me`.

use auth::AccountService;
use axum::extract::State;
use http::StatusCode;

use crate::{caller::AuthenticatedDevice, reply::Refusal};

pub(super) async fn delete(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(accounts): State<AccountService>,
) -> Result<StatusCode, Refusal> {
    accounts.delete(&device).await?;
    Ok(StatusCode::NO_CONTENT)
}
