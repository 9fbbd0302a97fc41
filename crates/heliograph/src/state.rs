//! What a running server leaves in its data folder for other commands.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context, Result};

/// The address the server listens on: with port 0 nobody else knows it.
const ADDRESS_FILE: &str = "address";

/// Notes the address.
pub(crate) fn write(data: &Path, address: SocketAddr) -> Result<()> {
    fs::write(data.join(ADDRESS_FILE), format!("{address}\n")).context("the address cannot be noted")
}

/// The address of the server that runs, or ran last.
pub(crate) fn read(data: &Path) -> Option<SocketAddr> {
    fs::read_to_string(data.join(ADDRESS_FILE)).ok()?.trim().parse().ok()
}
