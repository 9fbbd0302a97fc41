//! `GET /invite`: where the link of an invitation leads.
//!
//! The code stands behind the `#` of the link, which a browser keeps to itself: neither the server nor anything in between
//! gets to see it here.

use axum::response::Response;

use super::text_page;
use crate::{caller::Anybody, routes::Routes};

pub(super) fn routes() -> Routes {
    Routes::default().get("/invite", page)
}

async fn page(_: Anybody) -> Response {
    text_page(include_str!("invite.html"))
}
