//! What a running server leaves in its data folder for other commands.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context, Result};

/// The address the server listens on: with port 0 nobody else knows it.
const ADDRESS_FILE: &str = "address";

/// The same for the operator's port, if there is one.
const METRICS_ADDRESS_FILE: &str = "metrics-address";

/// Notes the address.
pub(crate) fn write(data: &Path, address: SocketAddr) -> Result<()> {
    fs::write(data.join(ADDRESS_FILE), format!("{address}\n")).context("the address cannot be noted")
}

/// Notes the address of the operator's port.
pub(crate) fn write_metrics(data: &Path, address: SocketAddr) -> Result<()> {
    let path = data.join(METRICS_ADDRESS_FILE);
    fs::write(path, format!("{address}\n")).context("the address of the metrics cannot be noted")
}

/// The address of the server that runs, or ran last.
pub(crate) fn read(data: &Path) -> Option<SocketAddr> {
    fs::read_to_string(data.join(ADDRESS_FILE)).ok()?.trim().parse().ok()
}
