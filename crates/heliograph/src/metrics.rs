//! What is counted, where the operator reads it.

use anyhow::{Context, Result};
use gateway::{Door, GatewayMetrics, OperatorListener};
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;

use crate::{config::Config, state, wiring::Backend};

/// Opens the operator's port, if there is to be one.
pub(crate) async fn listen(
    config: &Config,
    door: &Door,
    gateway: &GatewayMetrics,
    backend: &Backend,
) -> Result<Option<JoinHandle<()>>> {
    let Some(address) = config.metrics.address() else { return Ok(None) };
    let listener = OperatorListener::bind(address)
        .await
        .with_context(|| format!("{address} cannot be listened on for metrics"))?;
    state::write_metrics(&config.data, listener.address())?;
    let mut registry = Registry::with_prefix("heliograph");
    gateway.register(registry.sub_registry_with_prefix("gateway"));
    backend.message_metrics.register(registry.sub_registry_with_prefix("messages"));
    backend.push_metrics.register(registry.sub_registry_with_prefix("push"));
    Ok(Some(tokio::spawn(listener.run(registry, door.clone()))))
}
