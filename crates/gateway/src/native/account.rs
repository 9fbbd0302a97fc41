//! `PUT /password`, `DELETE /account`, `GET /profiles/{user_id}`.

use std::sync::Arc;

use auth::{
    AccountService,
    native::{NativeService, error::ChangePasswordError},
};
use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;
use profiles::ProfileStore;
use protocol::Aci;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    extract::{Body, Secret},
    problem::{Code, Problem, ProblemBody},
    register,
};
use crate::caller::BearerDevice;

/// A password to be changed.
#[derive(Deserialize, ToSchema)]
#[schema(as = ChangePassword)]
pub(super) struct ChangePasswordBody {
    /// The present one.
    #[schema(value_type = String)]
    password: Secret,
    /// The next one.
    #[schema(value_type = String)]
    new_password: Secret,
}

/// What somebody shows of themselves.
#[derive(Serialize, ToSchema)]
#[schema(as = Profile)]
pub(super) struct ProfileBody {
    user_id: String,
    username: String,
}

/// Changes the password. Every other session of the account ends.
#[utoipa::path(
    put, path = "/password", tag = "accounts", security(("bearer" = [])),
    request_body = ChangePasswordBody,
    responses(
        (status = 204, description = "It is changed; this session goes on."),
        (status = "4XX", description = "`wrong_password`, `password_too_short` and others",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn change_password(
    BearerDevice(bearer): BearerDevice,
    State(service): State<NativeService>,
    Body(body): Body<ChangePasswordBody>,
) -> Result<StatusCode, Problem> {
    let changed = service.change_password(&bearer, &body.password.0, &body.new_password.0).await;
    changed.map_err(|error| match error {
        ChangePasswordError::WrongPassword => Problem::of(Code::WrongPassword),
        ChangePasswordError::Password(refused) => register::password(refused),
        ChangePasswordError::RateLimited(wait) => Problem::rate_limited(wait),
        ChangePasswordError::Busy => Problem::busy(),
        ChangePasswordError::Gone => Problem::of(Code::Unauthorized),
        ChangePasswordError::Storage(error) => error.into(),
    })?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes the account, with its devices, keys, profile and what waits for it.
#[utoipa::path(
    delete, path = "/account", tag = "accounts", security(("bearer" = [])),
    responses(
        (status = 204, description = "It is gone, and its username free."),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(
    BearerDevice(bearer): BearerDevice,
    State(accounts): State<AccountService>,
) -> Result<StatusCode, Problem> {
    accounts.delete(&bearer.device).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Shows what somebody shows of themselves.
#[utoipa::path(
    get, path = "/profiles/{user_id}", tag = "accounts", security(("bearer" = [])),
    params(("user_id" = String, Path, description = "The account.")),
    responses(
        (status = 200, body = ProfileBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn profile(
    _: BearerDevice,
    State(profiles): State<Arc<dyn ProfileStore>>,
    Path(user_id): Path<String>,
) -> Result<Json<ProfileBody>, Problem> {
    let not_found = || Problem::of(Code::NotFound);
    let aci: Aci = user_id.parse().map_err(|_| not_found())?;
    let profile = profiles.profile(aci).await?.ok_or_else(not_found)?;
    Ok(Json(ProfileBody { user_id: profile.aci.to_string(), username: profile.username }))
}
