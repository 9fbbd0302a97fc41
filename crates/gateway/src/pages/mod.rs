//! Pages for people: where a link leads that the server has given out. One file per page.
//!
//! They take nothing from anywhere else, stand in nobody's frame, and tell nobody where a person came from.

mod invite;
mod reset;

use axum::response::{IntoResponse, Response};
use http::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY},
};

use crate::routes::Routes;

/// Largest body of a form.
const BODY_MAX: usize = 32 * 1024;

/// Every page.
pub(crate) fn routes() -> Routes {
    Routes::default().merge(invite::routes()).merge(reset::routes()).body_max(BODY_MAX)
}

/// A page that has no more than text to it.
fn text_page(html: &'static str) -> Response {
    page(StatusCode::OK, "default-src 'none'; frame-ancestors 'none'", html)
}

/// A page with a form that is sent here, in the style of the documentation.
fn form_page(status: StatusCode, html: String) -> Response {
    const POLICY: &str =
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    page(status, POLICY, html)
}

fn page(status: StatusCode, policy: &'static str, html: impl IntoResponse) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    (status, headers, html).into_response()
}
