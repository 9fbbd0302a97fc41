//! What a start costs.

use std::time::Duration;

use serde::Serialize;
use testkit::{
    Server, ServerOptions,
    process::{self, Memory},
};
use tokio::time::sleep;

use crate::{contestant::stop, report::median};

const RESTARTS: usize = 5;

/// A start of the program.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StartResult {
    /// On an empty folder, with keys and certificates to be made.
    pub(crate) first_ready_ms: f64,
    /// On an existing folder, each of the starts.
    pub(crate) ready_ms: Vec<f64>,
    pub(crate) median_ready_ms: f64,
    /// One second after the last ready line.
    pub(crate) memory: Memory,
}

/// Measures how long the program takes to be ready, and its memory a second later.
pub(crate) async fn measure(options: ServerOptions) -> anyhow::Result<StartResult> {
    let mut server = Server::start(options).await?;
    let first_ready_ms = millis(server.ready_after());
    let mut ready_ms = Vec::new();
    for _ in 0..RESTARTS {
        stop(&mut server).await?;
        server.restart().await?;
        ready_ms.push(millis(server.ready_after()));
    }
    sleep(Duration::from_secs(1)).await;
    let memory = process::memory(server.pid())?;
    let median_ready_ms = median(ready_ms.iter().copied()).unwrap_or_default();
    Ok(StartResult { first_ready_ms, ready_ms, median_ready_ms, memory })
}

/// As a figure.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
