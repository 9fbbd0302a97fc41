//! What is written to standard error.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is written to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// Which lines: error, warn, info, debug or trace; or finer, such as "info,gateway=debug".
    pub(crate) filter: String,
    /// "text" for people, "json" for machines.
    pub(crate) format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}
