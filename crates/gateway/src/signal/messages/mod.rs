//! Sending messages, `PUT /v1/messages/…`, `messages.Messages` and `messages.MessagesAnonymous`, and reporting them.

pub(crate) mod grpc;
mod multi_recipient;
mod plain;
mod report;
mod rest;

use messages::{QueueError, send::FULL_RETRY_AFTER};
use protocol::multi_recipient::MAX_MULTI_RECIPIENT_LEN;

use crate::{reply::Refusal, routes::Routes};

pub(crate) use plain::PlainSend;

/// Largest body of a send: a copy of the largest content for a handful of devices, in base64. What a frame
/// of the socket can carry is less.
const SEND_BODY_MAX: usize = 1024 * 1024;

/// Largest body of a report: a token.
const REPORT_BODY_MAX: usize = 4 * 1024;

pub(super) fn routes() -> Routes {
    let many = Routes::default().put("/v1/messages/multi_recipient", multi_recipient::send);
    let one = Routes::default().put("/v1/messages/{destination}", rest::send);
    let report = Routes::default().post("/v1/messages/report/{source}/{guid}", report::report);
    many.body_max(MAX_MULTI_RECIPIENT_LEN)
        .merge(one.body_max(SEND_BODY_MAX))
        .merge(report.body_max(REPORT_BODY_MAX))
}

fn refuse_queue(error: QueueError) -> Refusal {
    match error {
        QueueError::Overloaded => Refusal::overloaded(),
        QueueError::Full => Refusal::rate_limited(FULL_RETRY_AFTER),
        QueueError::Storage(error) => error.into(),
    }
}
