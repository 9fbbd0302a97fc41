//! `PUT /v1/accounts/attributes` and `PUT /v1/devices/capabilities`.

use std::collections::HashMap;

use auth::{AccountService, attributes::AccountAttributes, capabilities::Capabilities};
use axum::extract::State;
use http::StatusCode;

use super::done;
use crate::{body::JsonBody, caller::AuthenticatedDevice, reply::Refusal, signal::agent::SignalAgent};

pub(super) async fn set(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(accounts): State<AccountService>,
    SignalAgent(agent): SignalAgent,
    JsonBody(attributes): JsonBody<AccountAttributes>,
) -> Result<StatusCode, Refusal> {
    done(accounts.set_attributes(&device, attributes, agent).await)
}

pub(super) async fn set_capabilities(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(accounts): State<AccountService>,
    JsonBody(flags): JsonBody<HashMap<String, bool>>,
) -> Result<StatusCode, Refusal> {
    done(accounts.set_capabilities(&device, Capabilities::from_names(&flags)).await)
}
