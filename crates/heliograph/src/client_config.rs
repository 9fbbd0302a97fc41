//! `heliograph client-config`: what a client must be told to use this server.

use std::net::SocketAddr;

use anyhow::Result;
use protocol::{
    ambient::{Clock, SystemClock},
    base64,
};
use serde::Serialize;

use crate::{config::Config, secrets::Secrets, state};

#[derive(Serialize)]
struct ClientConfig {
    /// Where to connect.
    chat_url: String,
    /// The CA to trust, when it is a private one.
    ca_pem: Option<String>,
    /// Public keys under which sender certificates are good: base64 of 33 bytes each.
    unidentified_sender_trust_roots: Vec<String>,
    /// The key to subscribe to Web Push with (`applicationServerKey`): base64url of a point of P-256. Null when this
    /// server does no Web Push.
    web_push_key: Option<String>,
}

/// The configuration as JSON.
pub(crate) fn json(config: &Config) -> Result<String> {
    let secrets = Secrets::of(config);
    let trust = secrets.sender_trust()?;
    let client = ClientConfig {
        chat_url: chat_url(config),
        ca_pem: secrets.ca_pem(),
        unidentified_sender_trust_roots: trust
            .published(SystemClock.now())
            .map(|(_, root)| base64::encode_padded(root.key.as_bytes()))
            .collect(),
        web_push_key: config.web_push.enabled.then(|| secrets.vapid_public_key()).transpose()?,
    };
    Ok(serde_json::to_string_pretty(&client)?)
}

fn chat_url(config: &Config) -> String {
    if !config.public_url.is_empty() {
        return config.public_url.clone();
    }
    let address: SocketAddr = state::read(&config.data).unwrap_or(config.listen);
    // The name that a development certificate covers and that clients insist on.
    if address.ip().is_loopback() {
        format!("https://localhost:{}", address.port())
    } else {
        format!("https://{address}")
    }
}
