//! The service account: a JSON file that Google's console gives the operator.

use std::fmt;

use http::Uri;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::jwt::{KeyError, Signer};

/// Who we are to Google.
pub struct ServiceAccount {
    project_id: String,
    pub(super) email: String,
    pub(super) key_id: Option<String>,
    pub(super) signer: Signer,
    /// Where access tokens are given out.
    pub(super) token_uri: Uri,
    /// The same as it is written, for the token we sign.
    pub(super) audience: String,
}

/// Why the file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ServiceAccountError {
    /// It is not the JSON of a service account.
    #[error("not the JSON file of a service account")]
    NotJson,
    /// Its key.
    #[error("its private_key is {0}")]
    Key(#[from] KeyError),
    /// Where access tokens are given out.
    #[error("its token_uri is not an https address")]
    TokenUri,
    /// The name of the project.
    #[error("its project_id is not one")]
    ProjectId,
}

#[derive(Deserialize)]
struct File {
    project_id: String,
    client_email: String,
    private_key_id: Option<String>,
    private_key: String,
    token_uri: String,
}

impl ServiceAccount {
    /// Reads the file.
    pub fn from_json(json: &str) -> Result<Self, ServiceAccountError> {
        // What serde says could show part of the key.
        let file: File = serde_json::from_str(json).map_err(|_| ServiceAccountError::NotJson)?;
        let private_key = Zeroizing::new(file.private_key);
        let token_uri: Uri = file.token_uri.parse().map_err(|_| ServiceAccountError::TokenUri)?;
        if token_uri.scheme_str() != Some("https") {
            return Err(ServiceAccountError::TokenUri);
        }
        let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b':' | b'.');
        if file.project_id.is_empty() || !file.project_id.bytes().all(named) {
            return Err(ServiceAccountError::ProjectId);
        }
        Ok(Self {
            signer: Signer::rs256_pem(&private_key)?,
            project_id: file.project_id,
            email: file.client_email,
            key_id: file.private_key_id,
            audience: file.token_uri,
            token_uri,
        })
    }

    /// The project whose apps are reached.
    pub fn project_id(&self) -> &str {
        &self.project_id
    }
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount").field("project_id", &self.project_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_none_is_told_apart_without_showing_it() {
        let read = |json: &str| ServiceAccount::from_json(json).unwrap_err();
        assert!(matches!(read("{"), ServiceAccountError::NotJson));
        let with = |project: &str, uri: &str| {
            read(&format!(
                r#"{{"project_id":"{project}","client_email":"e","private_key":"secret","token_uri":"{uri}"}}"#
            ))
        };
        assert!(matches!(with("p", "http://example.org/"), ServiceAccountError::TokenUri));
        assert!(matches!(with("p/../q", "https://example.org/"), ServiceAccountError::ProjectId));
        let error = with("p", "https://example.org/");
        assert!(matches!(error, ServiceAccountError::Key(KeyError::NotPem)));
        assert!(!format!("{error:?} {error}").contains("secret"));
    }
}
