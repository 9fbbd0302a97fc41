//! Settings that the operator gives to clients.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::secrets::hex;

/// Settings for clients, by name, with the tag under which clients remember them.
///
/// A name that is missing means what the client has built in.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    values: BTreeMap<String, String>,
    etag: String,
}

impl RemoteConfig {
    /// Those settings. The tag follows from them alone, so every node and every start gives the same one.
    pub fn new(values: BTreeMap<String, String>) -> Self {
        let mut digest = Sha256::new();
        for text in values.iter().flat_map(|(name, value)| [name, value]) {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        }
        let etag = hex(&digest.finalize()[..8]);
        Self { values, etag }
    }

    /// The settings by name.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// The tag, without the quotes that HTTP puts around it.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// Whether a client that holds these tags (the value of `If-None-Match`, or one bare tag) has the
    /// present settings. Compared weakly (RFC 9110, section 8.8.3.2).
    pub fn is_current(&self, tags: &str) -> bool {
        tags.split(',').any(|tag| {
            let tag = tag.trim();
            tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"') == self.etag
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_follows_the_values() {
        let config = |values: &[(&str, &str)]| {
            RemoteConfig::new(
                values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            )
        };
        let first = config(&[("a", "bc")]);
        assert_eq!(first.etag(), config(&[("a", "bc")]).etag());
        assert_ne!(first.etag(), config(&[("ab", "c")]).etag());
        let tag = first.etag();
        for held in
            [tag.to_owned(), format!("\"{tag}\""), format!("W/\"{tag}\""), format!("\"x\", \"{tag}\"")]
        {
            assert!(first.is_current(&held), "{held}");
        }
        assert!(!first.is_current("") && !config(&[]).is_current(""));
    }
}
