//! Who is calling: the parameter types by which a handler says who may call it.
//!
//! One of these comes first among the parameters of every handler: without it, a route cannot be added.

use std::{convert::Infallible, net::IpAddr};

use auth::{
    AccountService, AuthenticateError, Authenticated,
    credentials::BasicCredentials,
    native::{self, Bearer, NativeService, error::BearerError},
};
use axum::extract::{FromRef, FromRequestParts};
use http::{Extensions, HeaderMap, HeaderName, StatusCode, header::AUTHORIZATION, request::Parts};
use protocol::ambient::StorageError;

use crate::{
    native::problem::{Code, Problem},
    reply::Refusal,
};

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

/// A native device that shows an access token of a session that has not ended. Anybody else is answered 401.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BearerDevice(pub(crate) Bearer);

/// A native device whose owner has just shown again who they are, by a token of that in the header
/// [`REAUTHENTICATION_TOKEN`]. Without a good one the answer is 403, without a good access token 401.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReauthenticatedDevice(pub(crate) Bearer);

/// Where the token goes that shows that the owner was there.
const REAUTHENTICATION_TOKEN: HeaderName = HeaderName::from_static("reauthentication-token");

/// A caller that says who it is, or does not. Wrong credentials are answered 401.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MaybeAuthenticated(pub(crate) Option<Authenticated>);

/// A caller that does not say who it is. One that does is answered 400: it would tell the server what the
/// call is made to hide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anonymous;

/// Anybody: credentials are not looked at, right or wrong. Some clients send those of an account that does
/// not exist yet with everything that leads there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anybody;

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
    identify(&AccountService::from_ref(state), &parts.headers).await.map_err(
        |unidentified| match unidentified {
            Unidentified::Refused => Refusal::bare(StatusCode::UNAUTHORIZED),
            Unidentified::Storage(error) => error.into(),
        },
    )
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

/// Who the access token in the headers speaks for.
pub(crate) async fn bearer(service: &NativeService, headers: &HeaderMap) -> Result<Bearer, Problem> {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer_token);
    let token = token.ok_or(Problem::of(Code::Unauthorized))?;
    service.bearer(token).await.map_err(|error| match error {
        BearerError::Refused => Problem::of(Code::Unauthorized),
        BearerError::Storage(error) => error.into(),
    })
}

/// The token of `Bearer token` (RFC 6750 §2.1).
fn bearer_token(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl<S> FromRequestParts<S> for BearerDevice
where
    S: Send + Sync,
    NativeService: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // A socket has the identity with which it was opened, and no other.
        if let Some(Origin { carrier: Carrier::Socket(_), .. }) = parts.extensions.get() {
            return Err(Problem::of(Code::Unauthorized));
        }
        bearer(&NativeService::from_ref(state), &parts.headers).await.map(Self)
    }
}

impl<S> FromRequestParts<S> for ReauthenticatedDevice
where
    S: Send + Sync,
    NativeService: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let BearerDevice(bearer) = BearerDevice::from_request_parts(parts, state).await?;
        let token = parts.headers.get(REAUTHENTICATION_TOKEN).and_then(|value| value.to_str().ok());
        if token.is_some_and(|token| NativeService::from_ref(state).is_fresh(&bearer, token)) {
            Ok(Self(bearer))
        } else {
            Err(Problem::of(Code::ReauthenticationRequired))
        }
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

impl<S: Send + Sync> FromRequestParts<S> for Anybody {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self)
    }
}

impl Peer {
    /// The address that the door has put into a request.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        let unspecified = IpAddr::from([0, 0, 0, 0]);
        Self(extensions.get::<Origin>().map_or(unspecified, |origin| origin.peer))
    }

    /// The address as the native service counts by it.
    pub(crate) fn origin(self) -> native::Origin {
        native::Origin(self.limit_key())
    }

    /// What limits by address count by: the address, or for IPv6 the network of 64 bits, since whoever
    /// has one of its addresses has them all.
    pub(crate) fn limit_key(self) -> [u8; 8] {
        let mut key = [0; 8];
        match self.0.to_canonical() {
            IpAddr::V4(address) => key[..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => key.copy_from_slice(&address.octets()[..8]),
        }
        key
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_count_what_one_person_holds() {
        let key = |address: &str| Peer(address.parse().unwrap()).limit_key();
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
    }
}
