//! Who is calling: the parameter types by which a handler says who may call it.
//!
//! A handler without one of these does not compile into the route table's tests: every route is walked with
//! no credentials, wrong ones, and those of another device.

use std::{convert::Infallible, net::IpAddr};

use auth::{AccountService, AuthenticateError, Authenticated, credentials::BasicCredentials};
use axum::extract::{FromRef, FromRequestParts};
use http::{HeaderMap, StatusCode, header::AUTHORIZATION, request::Parts};
use protocol::ambient::StorageError;

use crate::reply::Refusal;

/// How a request came in, and what is known of its sender without looking at its headers. The door puts it
/// into every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// The address of the other end of the connection.
    pub(crate) peer: IpAddr,
    /// What carried it.
    pub(crate) carrier: Carrier,
}

/// What carried a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Carrier {
    /// HTTPS, with credentials of its own if it has any.
    Https,
    /// A websocket, whose identity is that of all its requests.
    Socket(Option<Authenticated>),
}

/// A device that has proved who it is. Anybody else is answered 401.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AuthenticatedDevice(pub(crate) Authenticated);

/// A caller that says who it is, or does not. Wrong credentials are answered 401.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MaybeAuthenticated(pub(crate) Option<Authenticated>);

/// A caller that does not say who it is. One that does is answered 400: it would tell the server what the
/// call is made to hide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anonymous;

/// The network address a request came from, for limits by address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Why nobody could be made out.
#[derive(Debug)]
pub(crate) enum Unidentified {
    /// There are credentials and they are wrong.
    Refused,
    /// Nothing can be said about them.
    Storage(StorageError),
}

/// Who the credentials in the headers belong to, if there are any.
pub(crate) async fn identify(
    accounts: &AccountService,
    headers: &HeaderMap,
) -> Result<Option<Authenticated>, Unidentified> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let credentials = value
        .to_str()
        .ok()
        .and_then(|value| BasicCredentials::from_header(value).ok())
        .ok_or(Unidentified::Refused)?;
    match accounts.authenticate(&credentials).await {
        Ok(authenticated) => Ok(Some(authenticated)),
        Err(AuthenticateError::Refused) => Err(Unidentified::Refused),
        Err(AuthenticateError::Storage(error)) => Err(Unidentified::Storage(error)),
    }
}

async fn caller<S>(parts: &Parts, state: &S) -> Result<Option<Authenticated>, Refusal>
where
    S: Send + Sync,
    AccountService: FromRef<S>,
{
    if let Some(Origin { carrier: Carrier::Socket(identity), .. }) = parts.extensions.get() {
        return Ok(*identity);
    }
    identify(&AccountService::from_ref(state), &parts.headers).await.map_err(|unidentified| match unidentified {
        Unidentified::Refused => Refusal::bare(StatusCode::UNAUTHORIZED),
        Unidentified::Storage(error) => error.into(),
    })
}

impl<S> FromRequestParts<S> for AuthenticatedDevice
where
    S: Send + Sync,
    AccountService: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        caller(parts, state).await?.map(Self).ok_or(Refusal::bare(StatusCode::UNAUTHORIZED))
    }
}

impl<S> FromRequestParts<S> for MaybeAuthenticated
where
    S: Send + Sync,
    AccountService: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        caller(parts, state).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Anonymous {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let identified = match parts.extensions.get() {
            Some(Origin { carrier: Carrier::Socket(identity), .. }) => identity.is_some(),
            Some(Origin { carrier: Carrier::Https, .. }) | None => parts.headers.contains_key(AUTHORIZATION),
        };
        if identified {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "this is asked without credentials"));
        }
        Ok(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let unspecified = IpAddr::from([0, 0, 0, 0]);
        Ok(Self(parts.extensions.get::<Origin>().map_or(unspecified, |origin| origin.peer)))
    }
}
