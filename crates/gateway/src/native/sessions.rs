//! `GET /sessions`, `DELETE /sessions`, `DELETE /sessions/{session_id}`: one's own sessions.

use auth::native::{NativeService, SessionId, session::SessionInfo};
use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{Code, Problem, ProblemBody};
use crate::caller::BearerDevice;

/// The sessions of an account.
#[derive(Serialize, ToSchema)]
#[schema(as = Sessions)]
pub(super) struct SessionsBody {
    sessions: Vec<SessionBody>,
}

/// A session. Times are milliseconds since the epoch.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
struct SessionBody {
    session_id: String,
    device_id: u8,
    /// What the person calls the device.
    device_name: Option<String>,
    /// When somebody logged in.
    created: u64,
    /// When it was last refreshed.
    last_used: u64,
    /// When it is over unless it is refreshed.
    expires: u64,
    /// It is the one that calls.
    current: bool,
}

/// Shows where the account is logged in.
#[utoipa::path(
    get, path = "/sessions", tag = "sessions", security(("bearer" = [])),
    responses(
        (status = 200, body = SessionsBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    BearerDevice(bearer): BearerDevice,
    State(service): State<NativeService>,
) -> Result<Json<SessionsBody>, Problem> {
    let sessions = service.sessions(&bearer).await?;
    let sessions = sessions.iter().map(|session| SessionBody::of(session, bearer.session)).collect();
    Ok(Json(SessionsBody { sessions }))
}

/// Ends every session of the account but the one that calls.
#[utoipa::path(
    delete, path = "/sessions", tag = "sessions", security(("bearer" = [])),
    responses(
        (status = 204, description = "They have ended."),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn end_others(
    BearerDevice(bearer): BearerDevice,
    State(service): State<NativeService>,
) -> Result<StatusCode, Problem> {
    service.end_other_sessions(&bearer).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends one session of the account.
#[utoipa::path(
    delete, path = "/sessions/{session_id}", tag = "sessions", security(("bearer" = [])),
    params(("session_id" = String, Path, description = "As `GET /sessions` shows it.")),
    responses(
        (status = 204, description = "It has ended."),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn end(
    BearerDevice(bearer): BearerDevice,
    State(service): State<NativeService>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let not_found = || Problem::of(Code::NotFound);
    let id: SessionId = id.parse().map_err(|_| not_found())?;
    let ended = service.end_session(&bearer, id).await?;
    if ended { Ok(StatusCode::NO_CONTENT) } else { Err(not_found()) }
}

impl SessionBody {
    fn of(session: &SessionInfo, current: SessionId) -> Self {
        Self {
            session_id: session.id.to_string(),
            device_id: session.device_id.get(),
            device_name: session.label.as_ref().map(|label| label.as_str().to_owned()),
            created: session.created.as_millis(),
            last_used: session.last_used.as_millis(),
            expires: session.expires.as_millis(),
            current: session.id == current,
        }
    }
}
