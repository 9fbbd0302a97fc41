//! Signal's API: REST, and gRPC beside it. One file per resource.
//!
//! A handler does four things: it takes its arguments out of the request, says who may call it, calls one
//! service, and writes the answer down.

pub(crate) mod accounts;
mod agent;
pub(crate) mod certificates;
pub(crate) mod challenge;
pub(crate) mod config;
pub(crate) mod devices;
mod keepalive;
pub(crate) mod keys;
pub(crate) mod messages;
mod newcomer;
mod registration;
mod unidentified;
mod verification;

use crate::{limits::BODY_MAX, routes::Routes};

/// Every route of Signal's REST API.
pub(crate) fn routes() -> Routes {
    Routes::default()
        .merge(accounts::routes())
        .merge(certificates::routes())
        .merge(challenge::routes())
        .merge(config::routes())
        .merge(devices::routes())
        .merge(keepalive::routes())
        .merge(keys::routes())
        .merge(messages::routes())
        .merge(registration::routes())
        .merge(verification::routes())
        // Handlers that take more, or less, say so themselves.
        .body_max(BODY_MAX)
}
