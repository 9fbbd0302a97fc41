//! `PUT` and `GET /v1/devices/restore_account/{token}`: a new phone tells the old one how the account is restored.

use std::sync::Arc;

use auth::handover::{HandoverService, RestoreChoice, RestoreToken};
use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use limits::{LimitId, RateLimits};

use super::transfer_archive::refuse;
use crate::{
    body::JsonBody,
    caller::{Anybody, Peer},
    long_poll::{NOTHING_YET, Patience},
    reply::Refusal,
};

pub(super) async fn leave(
    _: Anybody,
    peer: Peer,
    State(limits): State<Arc<RateLimits>>,
    State(handovers): State<Arc<HandoverService>>,
    Path(token): Path<String>,
    JsonBody(choice): JsonBody<RestoreChoice>,
) -> Result<StatusCode, Refusal> {
    let token = RestoreToken::new(&token).ok_or(Refusal::invalid("the token is too long"))?;
    check(&limits, LimitId::RestoreAccount, peer)?;
    check(&limits, LimitId::RestoreAccountKept, peer)?;
    handovers.leave_choice(token, choice).await.map_err(refuse)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn wait(
    _: Anybody,
    peer: Peer,
    State(limits): State<Arc<RateLimits>>,
    State(handovers): State<Arc<HandoverService>>,
    Path(token): Path<String>,
    Patience(patience): Patience,
) -> Result<Response, Refusal> {
    let token =
        RestoreToken::new(&token).ok_or(Refusal::new(StatusCode::BAD_REQUEST, "the token is too long"))?;
    check(&limits, LimitId::RestoreAccount, peer)?;
    let found = handovers.wait_for_choice(token, patience).await.map_err(refuse)?;
    Ok(found.map_or_else(|| NOTHING_YET.into_response(), |choice| Json(choice).into_response()))
}

fn check(limits: &RateLimits, limit: LimitId, peer: Peer) -> Result<(), Refusal> {
    limits.check(limit, &peer.limit_key(), 1).map_err(|wait| Refusal::rate_limited(wait.0))
}
