//! The certificate clients see.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The certificate clients see.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    /// PEM file of the certificate chain, the server's own first. Empty: the one that `heliograph init --name`
    /// made.
    pub(crate) certificate: PathBuf,
    /// PEM file of its private key.
    pub(crate) key: PathBuf,
}

impl Tls {
    /// What makes no sense.
    pub(super) fn check(&self, check: &mut impl FnMut(bool, &str)) {
        check(
            self.certificate.as_os_str().is_empty() == self.key.as_os_str().is_empty(),
            "tls: certificate and key go together",
        );
    }
}
