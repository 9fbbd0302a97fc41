//! Somebody who is about to have a device here.

use auth::credentials::BasicCredentials;
use axum::extract::FromRequestParts;
use http::{StatusCode, header::AUTHORIZATION, request::Parts};

use crate::{
    reply::Refusal,
    routes::{Access, Caller},
};

/// Somebody with the password that their device is going to have. The user says little: the number that is to be
/// registered, or whatever the client thinks the account is called. Anybody else is answered 401.
pub(super) struct Newcomer(pub(super) BasicCredentials);

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
