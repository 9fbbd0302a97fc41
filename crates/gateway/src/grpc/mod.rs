//! Signal's gRPC interface: its messages, who may call, and how errors look.
//!
//! The methods themselves stand beside their REST twins in [`signal`](crate::signal).

pub(crate) mod access;
pub(crate) mod convert;
pub(crate) mod error;

/// The messages and service traits, compiled from `proto/`.
#[expect(
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

use chat::{
    keys::{keys_anonymous_server::KeysAnonymousServer, keys_server::KeysServer},
    messages::messages_server::MessagesServer,
};

/// Every gRPC service.
pub(crate) fn router(services: Services) -> Router {
    let messages = MessagesServer::new(signal::messages::grpc::Messages::new(&services));
    let keys = KeysServer::new(signal::keys::grpc::Keys::new(&services));
    let keys_anonymous = KeysAnonymousServer::new(signal::keys::grpc::KeysAnonymous::new(&services));
    let authenticated = Routes::new(messages.max_decoding_message_size(GRPC_MESSAGE_MAX))
        .add_service(keys.max_decoding_message_size(GRPC_MESSAGE_MAX));
    let anonymous = Routes::new(keys_anonymous.max_decoding_message_size(GRPC_MESSAGE_MAX));
    access::authenticated(authenticated, services).merge(access::anonymous(anonymous))
}

/// The answer for a method that does not exist.
pub(crate) fn unimplemented() -> Response {
    Status::unimplemented("").into_http()
}
