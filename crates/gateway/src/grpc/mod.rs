//! Signal's gRPC interface: its messages, who may call, and how errors look.
//!
//! The methods themselves stand beside their REST twins in [`signal`](crate::signal).

pub(crate) mod access;
pub(crate) mod convert;
pub(crate) mod error;
mod routes;

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
    pub(crate) mod challenge {
        tonic::include_proto!("org.signal.chat.challenge");
    }
    pub(crate) mod common {
        tonic::include_proto!("org.signal.chat.common");
    }
    pub(crate) mod credentials {
        tonic::include_proto!("org.signal.chat.credentials");
    }
    pub(crate) mod device {
        tonic::include_proto!("org.signal.chat.device");
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
    pub(crate) mod remoteconfiguration {
        tonic::include_proto!("org.signal.chat.remoteconfiguration");
    }
}

use axum::response::Response;
use tonic::Status;

use crate::{
    limits::GRPC_MESSAGE_MAX,
    signal::{
        accounts::{grpc as accounts, recovery_check::CredentialsAnonymous},
        certificates::grpc as certificates,
        challenge::grpc as challenge,
        config::RemoteConfiguration,
        devices::grpc as devices,
        keys::grpc as keys,
        messages::grpc as messages,
    },
};

use chat::{
    account::{accounts_anonymous_server::AccountsAnonymousServer, accounts_server::AccountsServer},
    challenge::challenge_server::ChallengeServer,
    credentials::{
        credentials_anonymous_server::CredentialsAnonymousServer, credentials_server::CredentialsServer,
    },
    device::devices_server::DevicesServer,
    keys::{keys_anonymous_server::KeysAnonymousServer, keys_server::KeysServer},
    messages::{messages_anonymous_server::MessagesAnonymousServer, messages_server::MessagesServer},
    remoteconfiguration::remote_configuration_server::RemoteConfigurationServer,
};
use routes::GrpcRoutes;

/// Every gRPC service.
pub(crate) fn routes() -> GrpcRoutes {
    let max = GRPC_MESSAGE_MAX;
    GrpcRoutes::default()
        .authenticated(move |s| {
            AccountsServer::new(accounts::Accounts::new(s)).max_decoding_message_size(max)
        })
        .anonymous(move |s| {
            AccountsAnonymousServer::new(accounts::AccountsAnonymous::new(s)).max_decoding_message_size(max)
        })
        .authenticated(move |s| {
            ChallengeServer::new(challenge::Challenge::new(s)).max_decoding_message_size(max)
        })
        .authenticated(move |s| {
            CredentialsServer::new(certificates::Credentials::new(s)).max_decoding_message_size(max)
        })
        .anonymous(move |_| {
            CredentialsAnonymousServer::new(CredentialsAnonymous).max_decoding_message_size(max)
        })
        .authenticated(move |s| {
            RemoteConfigurationServer::new(RemoteConfiguration::new(s)).max_decoding_message_size(max)
        })
        .authenticated(move |s| DevicesServer::new(devices::Devices::new(s)).max_decoding_message_size(max))
        .authenticated(move |s| KeysServer::new(keys::Keys::new(s)).max_decoding_message_size(max))
        .anonymous(move |s| {
            KeysAnonymousServer::new(keys::KeysAnonymous::new(s)).max_decoding_message_size(max)
        })
        .authenticated(move |s| {
            MessagesServer::new(messages::Messages::new(s)).max_decoding_message_size(max)
        })
        .anonymous(move |s| {
            MessagesAnonymousServer::new(messages::MessagesAnonymous::new(s)).max_decoding_message_size(max)
        })
}

/// The answer for a method that does not exist.
pub(crate) fn unimplemented() -> Response {
    Status::unimplemented("").into_http()
}
