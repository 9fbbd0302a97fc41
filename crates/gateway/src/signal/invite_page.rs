//! `GET /invite`: where the link of an invitation leads.
//!
//! The code stands behind the `#` of the link, which a browser keeps to itself: neither the server nor anything in between
//! gets to see it here.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};

use crate::{caller::Anybody, routes::Routes};

const PAGE: &str = include_str!("invite_page.html");

pub(super) fn routes() -> Routes {
    Routes::default().get("/invite", page)
}

async fn page(_: Anybody) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, PAGE).into_response()
}
