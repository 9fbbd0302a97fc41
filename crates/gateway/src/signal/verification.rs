//! `/v1/verification/session`: proving that somebody holds a phone number.
//!
//! Knowing a session's id is holding it, so nobody says who they are here. Credentials are passed over:
//! some apps already send those of the account they are about to register.

use std::sync::Arc;

use auth::verification::{
    CodeRequest, CreateSessionError, InvalidSessionId, SessionError, SessionUpdate, SessionView, Transport,
    VerificationService,
};
use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header::ACCEPT_LANGUAGE};
use serde::{Deserialize, Serialize};

use crate::{
    body::JsonBody,
    caller::Anybody,
    reply::{Refusal, TOO_MANY_REQUESTS},
    routes::Routes,
};

/// Signal's status for a code that the provider did not take.
const CODE_NOT_DELIVERED: StatusCode = match StatusCode::from_u16(440) {
    Ok(status) => status,
    Err(_) => panic!("440 has three digits"),
};

pub(super) fn routes() -> Routes {
    Routes::default()
        .post("/v1/verification/session", create)
        .get("/v1/verification/session/{id}", show)
        .patch("/v1/verification/session/{id}", update)
        .post("/v1/verification/session/{id}/code", request_code)
        .put("/v1/verification/session/{id}/code", submit_code)
}

/// The mobile network of the client's SIM card comes along too and is passed over.
#[derive(Deserialize)]
struct CreateRequest {
    number: String,
    #[serde(flatten)]
    push: PushToken,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateRequest {
    captcha: Option<String>,
    push_challenge: Option<String>,
    #[serde(flatten)]
    push: PushToken,
}

/// Where a push challenge could be sent. This server sends none, so it only checks that the request is
/// one that others would take.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PushToken {
    push_token: Option<String>,
    push_token_type: Option<PushTokenType>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum PushTokenType {
    Apn,
    Fcm,
}

#[derive(Deserialize)]
struct CodeRequestBody {
    transport: Transport,
    client: Option<String>,
}

#[derive(Deserialize)]
struct SubmitRequest {
    code: String,
}

/// Body of 400 for a number that is not in the international form.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotNormalized {
    original_number: String,
    normalized_number: String,
}

/// Body of 440.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotDelivered {
    reason: &'static str,
    permanent_failure: bool,
}

impl PushToken {
    fn check(&self) -> Result<(), Refusal> {
        if self.push_token.is_some() == self.push_token_type.is_some() {
            Ok(())
        } else {
            Err(Refusal::invalid("a push token has a type"))
        }
    }
}

async fn create(
    _: Anybody,
    State(service): State<Arc<VerificationService>>,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<Json<SessionView>, Response> {
    request.push.check().map_err(IntoResponse::into_response)?;
    service.create(&request.number).await.map(Json).map_err(refuse_creation)
}

async fn show(
    _: Anybody,
    State(service): State<Arc<VerificationService>>,
    Path(id): Path<String>,
) -> Result<Json<SessionView>, Response> {
    service.get(&id).await.map(Json).map_err(refuse)
}

async fn update(
    _: Anybody,
    State(service): State<Arc<VerificationService>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<UpdateRequest>,
) -> Result<Json<SessionView>, Response> {
    request.push.check().map_err(IntoResponse::into_response)?;
    let update = SessionUpdate { captcha: request.captcha, push_challenge: request.push_challenge };
    service.update(&id, update).await.map(Json).map_err(refuse)
}

async fn request_code(
    _: Anybody,
    State(service): State<Arc<VerificationService>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(CodeRequestBody { transport, client }): JsonBody<CodeRequestBody>,
) -> Result<Json<SessionView>, Response> {
    let languages = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let request = CodeRequest { transport, client, languages };
    service.request_code(&id, request).await.map(Json).map_err(refuse)
}

async fn submit_code(
    _: Anybody,
    State(service): State<Arc<VerificationService>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<SubmitRequest>,
) -> Result<Json<SessionView>, Response> {
    service.submit_code(&id, &request.code).await.map(Json).map_err(refuse)
}

fn refuse_creation(error: CreateSessionError) -> Response {
    match error {
        CreateSessionError::ImpossibleNumber => StatusCode::BAD_REQUEST.into_response(),
        CreateSessionError::NotNormalized { original, normalized } => {
            let body = NotNormalized {
                original_number: original,
                normalized_number: normalized.as_str().to_owned(),
            };
            (StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
        CreateSessionError::RateLimited(wait) => Refusal::rate_limited(wait.0).into_response(),
        CreateSessionError::Storage(error) => Refusal::from(error).into_response(),
    }
}

/// Clients bring their view of the session up to date with every refusal that carries one.
fn refuse(error: SessionError) -> Response {
    let session = |status: StatusCode, session: SessionView| (status, Json(session)).into_response();
    match error {
        SessionError::InvalidId(InvalidSessionId::NotBase64) => {
            Refusal::invalid("not a session id").into_response()
        }
        SessionError::InvalidId(InvalidSessionId::Unusable) | SessionError::Malformed => {
            StatusCode::BAD_REQUEST.into_response()
        }
        SessionError::NotFound => StatusCode::NOT_FOUND.into_response(),
        SessionError::Rejected(view) => session(StatusCode::FORBIDDEN, view),
        SessionError::NotReady(view) => session(StatusCode::CONFLICT, view),
        SessionError::TransportUnavailable(view) => session(StatusCode::IM_A_TEAPOT, view),
        SessionError::NotDelivered { reason, permanent } => {
            let body = NotDelivered { reason: reason.name(), permanent_failure: permanent };
            (CODE_NOT_DELIVERED, Json(body)).into_response()
        }
        SessionError::RateLimited { session: view, retry_after } => {
            let limited =
                retry_after.map_or(Refusal::bare(TOO_MANY_REQUESTS), |wait| Refusal::rate_limited(wait.0));
            let headers = limited.into_response().into_parts().0.headers;
            (TOO_MANY_REQUESTS, headers, Json(view)).into_response()
        }
        SessionError::CaptchaUnavailable(cause) => {
            tracing::error!(error = &*cause as &dyn std::error::Error, "captchas cannot be judged");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        SessionError::Storage(error) => Refusal::from(error).into_response(),
    }
}
