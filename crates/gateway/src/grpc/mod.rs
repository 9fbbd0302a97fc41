//! Signal's gRPC interface: its messages, who may call, and how errors look.
//!
//! The methods themselves stand beside their REST twins in [`signal`](crate::signal).

pub(crate) mod access;
pub(crate) mod convert;
pub(crate) mod error;

/// The messages and service traits, compiled from `proto/`.
#[expect(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::pedantic,
    reason = "generated code; the .proto files carry the documentation"
)]
pub(crate) mod chat {
    pub(crate) mod account {
        tonic::include_proto!("org.signal.chat.account");
    }
    pub(crate) mod common {
        tonic::include_proto!("org.signal.chat.common");
    }
    pub(crate) mod errors {
        tonic::include_proto!("org.signal.chat.errors");
    }
    pub(crate) mod keys {
        tonic::include_proto!("org.signal.chat.keys");
    }
    pub(crate) mod messages {
        tonic::include_proto!("org.signal.chat.messages");
    }
}

use axum::{Router, response::Response};
use tonic::{Status, service::Routes};

use crate::{limits::GRPC_MESSAGE_MAX, services::Services, signal};

use chat::messages::messages_server::MessagesServer;

/// Every gRPC service.
pub(crate) fn router(services: Services) -> Router {
    let authenticated = Routes::new(
        MessagesServer::new(signal::messages::grpc::Messages::new(&services)).max_decoding_message_size(GRPC_MESSAGE_MAX),
    );
    access::authenticated(authenticated, services)
}

/// The answer for a method that does not exist.
pub(crate) fn unimplemented() -> Response {
    Status::unimplemented("").into_http()
}
