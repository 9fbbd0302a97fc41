//! `HEAD /v1/accounts/account/{serviceId}`: whether there is an account with that identity.

use std::sync::Arc;

use auth::AccountService;
use axum::extract::{Path, State};
use http::StatusCode;
use limits::{LimitId, RateLimits, RetryAfter};
use protocol::{ServiceId, ambient::StorageError};

use crate::{
    caller::{Anonymous, Peer},
    reply::Refusal,
};

/// Why the question was not answered.
pub(super) enum Unanswered {
    /// Too many questions from that network address.
    RateLimited(RetryAfter),
    /// What remembers failed.
    Storage(StorageError),
}

pub(super) async fn check(
    _: Anonymous,
    State(accounts): State<AccountService>,
    State(limits): State<Arc<RateLimits>>,
    peer: Peer,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    let Ok(id) = id.parse() else { return Ok(StatusCode::NOT_FOUND) };
    match exists(&accounts, &limits, peer, id).await {
        Ok(true) => Ok(StatusCode::OK),
        Ok(false) => Ok(StatusCode::NOT_FOUND),
        Err(Unanswered::RateLimited(wait)) => Err(Refusal::rate_limited(wait.0)),
        Err(Unanswered::Storage(error)) => Err(error.into()),
    }
}

/// Whether there is an account with that identity, if that address may still ask.
pub(super) async fn exists(
    accounts: &AccountService,
    limits: &RateLimits,
    peer: Peer,
    id: ServiceId,
) -> Result<bool, Unanswered> {
    limits.check(LimitId::CheckAccountExistence, &peer.limit_key(), 1).map_err(Unanswered::RateLimited)?;
    accounts.exists(id).await.map_err(Unanswered::Storage)
}
