//! `POST /v1/registration`: an account comes to be, or passes to a new device.

use std::sync::Arc;

use auth::{
    credentials::BasicCredentials,
    registration::{RegisterError, Registered, RegistrationRequest, RegistrationService},
};
use axum::{
    Json,
    extract::{FromRequestParts, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::AUTHORIZATION, request::Parts};
use serde::Serialize;

use super::{accounts::identity::AccountIdentityBody, agent::SignalAgent};
use crate::{
    body::JsonBody,
    reply::Refusal,
    routes::{Access, Caller, Routes},
};

/// Signal's status for clients that are too old.
const CLIENT_TOO_OLD: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => panic!("499 has three digits"),
};

/// Stands for the credentials of the service that recovers PINs. There is none here, but Signal's Android
/// app cannot read a lock without them.
const NO_CREDENTIALS: Svr2Credentials = Svr2Credentials { username: "none", password: "none" };

pub(super) fn routes() -> Routes {
    Routes::default().post("/v1/registration", register)
}

/// Somebody with a phone number and the password that their device is going to have.
struct Newcomer(BasicCredentials);

impl Caller for Newcomer {
    const ACCESS: Access = Access::Newcomer;
}

impl<S: Send + Sync> FromRequestParts<S> for Newcomer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let value = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let credentials = value.and_then(|value| BasicCredentials::from_header(value).ok());
        credentials.map(Self).ok_or(Refusal::bare(StatusCode::UNAUTHORIZED))
    }
}

#[derive(Serialize)]
struct RegisteredBody {
    #[serde(flatten)]
    identity: AccountIdentityBody,
    reregistration: bool,
}

/// Body of 423.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RegistrationLockFailure {
    /// In milliseconds.
    time_remaining: u64,
    svr2_credentials: Svr2Credentials,
}

#[derive(Serialize)]
struct Svr2Credentials {
    username: &'static str,
    password: &'static str,
}

async fn register(
    Newcomer(credentials): Newcomer,
    State(service): State<Arc<RegistrationService>>,
    SignalAgent(agent): SignalAgent,
    JsonBody(request): JsonBody<RegistrationRequest>,
) -> Result<Json<RegisteredBody>, Response> {
    match service.register(&credentials, request, agent).await {
        Ok(registered) => Ok(Json(registered.into())),
        Err(error) => Err(refuse(error)),
    }
}

impl From<Registered> for RegisteredBody {
    fn from(Registered { identity, reregistration }: Registered) -> Self {
        Self { identity: identity.into(), reregistration }
    }
}

fn refuse(error: RegisterError) -> Response {
    match error {
        RegisterError::IncompleteKeys => Refusal::invalid("keys are missing").into_response(),
        RegisterError::WrongSignature => Refusal::invalid("a signature does not verify").into_response(),
        RegisterError::ClientTooOld => CLIENT_TOO_OLD.into_response(),
        RegisterError::Mismatch => StatusCode::BAD_REQUEST.into_response(),
        RegisterError::NotVerified => StatusCode::UNAUTHORIZED.into_response(),
        RegisterError::WrongRecoveryPassword => StatusCode::FORBIDDEN.into_response(),
        RegisterError::TransferPossible => StatusCode::CONFLICT.into_response(),
        RegisterError::Locked { time_remaining } => {
            let time_remaining = u64::try_from(time_remaining.as_millis()).unwrap_or(u64::MAX);
            let body = RegistrationLockFailure { time_remaining, svr2_credentials: NO_CREDENTIALS };
            (StatusCode::LOCKED, Json(body)).into_response()
        }
        RegisterError::RateLimited(wait) => Refusal::rate_limited(wait.0).into_response(),
        RegisterError::Storage(error) => Refusal::from(error).into_response(),
    }
}
