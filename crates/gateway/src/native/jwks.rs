//! `GET /.well-known/jwks.json`: the keys by which access tokens are believed.

use auth::native::NativeService;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header::CACHE_CONTROL};

use crate::caller::Anybody;

/// How long whoever checks tokens may keep the keys. A new key is among them at once.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// Shows the public keys that access tokens are signed with (RFC 7517).
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "sessions",
    responses((status = 200, description = "A JSON Web Key Set; the key that signs now is the first.", body = Object)),
)]
pub(super) async fn show(_: Anybody, State(service): State<NativeService>) -> Response {
    let mut response = Json(service.access_tokens().jwks()).into_response();
    response.headers_mut().insert(CACHE_CONTROL, KEPT);
    response
}
