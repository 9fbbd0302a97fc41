//! Where the master key is.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The key that protects all other keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MasterKeySource {
    /// File that holds it; best on another disk than the data. Empty: secrets/master.key in the data folder.
    pub(crate) file: PathBuf,
    /// Environment variable that holds it; wins over the file.
    pub(crate) env: String,
}
