//! Tokens as clients get them.

use auth::native::{LoggedIn, Tokens};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header::CACHE_CONTROL};
use serde::Serialize;
use utoipa::ToSchema;

/// What to call with, and what to go on with.
#[derive(Serialize, ToSchema)]
#[schema(as = Tokens)]
pub(super) struct TokensBody {
    /// A JWT, shown with every request as `Authorization: Bearer …`.
    access_token: String,
    /// Always `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds for which the access token is good.
    #[schema(example = 900)]
    expires_in: u64,
    /// Opaque. Traded in once at `POST /token/refresh` for the next tokens.
    refresh_token: String,
    /// Seconds for which the refresh token is good if it is not used.
    refresh_expires_in: u64,
}

/// Somebody is logged in.
#[derive(Serialize, ToSchema)]
#[schema(as = LoggedIn)]
pub(super) struct LoggedInBody {
    /// The account: what others send to.
    #[schema(example = "796abedb-ca4e-4f18-8803-1fde5b921f9f")]
    user_id: String,
    /// Which of the account's devices this is.
    #[schema(example = 1)]
    device_id: u8,
    /// By what senders notice that the device has been reinstalled.
    registration_id: u16,
    /// The session.
    session_id: String,
    /// What to call with, and what to go on with.
    tokens: TokensBody,
}

impl From<&Tokens> for TokensBody {
    fn from(tokens: &Tokens) -> Self {
        Self {
            access_token: tokens.access.to_string(),
            token_type: "Bearer",
            expires_in: tokens.access_lifetime.as_secs(),
            refresh_token: tokens.refresh.to_string(),
            refresh_expires_in: tokens.refresh_lifetime.as_secs(),
        }
    }
}

impl From<&LoggedIn> for LoggedInBody {
    fn from(logged_in: &LoggedIn) -> Self {
        Self {
            user_id: logged_in.device.aci.to_string(),
            device_id: logged_in.device.device_id.get(),
            registration_id: logged_in.registration_id.get(),
            session_id: logged_in.session.to_string(),
            tokens: TokensBody::from(&logged_in.tokens),
        }
    }
}

/// An answer with tokens in it, which nothing on the way keeps.
pub(super) fn answer(status: StatusCode, body: impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
