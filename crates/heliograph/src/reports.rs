//! `heliograph reports`: which accounts were reported as spam.

use anyhow::{Context, Result};
use serde::Serialize;
use store::sqlite::read_report_sources;

use crate::{config::Config, wiring::ACCOUNTS_FILE};

/// One line of the output. Times are milliseconds since the epoch.
#[derive(Serialize)]
struct Line {
    source: String,
    reports: u64,
    first: u64,
    last: u64,
}

/// A line of JSON for each reported account, the most reported first. The server may be running.
pub(crate) fn json_lines(config: &Config) -> Result<Vec<String>> {
    let path = config.data.join(ACCOUNTS_FILE);
    let sources =
        read_report_sources(&path).with_context(|| format!("the store {} cannot be read", path.display()))?;
    let lines = sources.into_iter().map(|found| {
        let line = Line {
            source: found.source.to_string(),
            reports: found.reports,
            first: found.first.as_millis(),
            last: found.last.as_millis(),
        };
        serde_json::to_string(&line).context("a report cannot be written as JSON")
    });
    lines.collect()
}
