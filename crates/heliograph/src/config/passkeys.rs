//! Passkeys: whose they are, and where they may be used.

use auth::second_factor::webauthn::RelyingParty;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Passkeys, and where they may be used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Passkeys {
    /// The domain that passkeys belong to. Browsers only use them under it. Empty: the name in `public_url`, or
    /// localhost. Passkeys made under one domain are lost under another.
    pub(crate) domain: String,
    /// Where they may be used from: origins of pages, such as `https://chat.example.org`, and what apps have
    /// instead, such as `android:apk-key-hash:…`. Empty: https and the domain.
    pub(crate) origins: Vec<String>,
}

impl Passkeys {
    /// Who asks for passkeys, on a server with that public URL.
    pub(super) fn relying_party(&self, public_url: &str) -> RelyingParty {
        let Self { domain, origins } = self;
        let id = if domain.is_empty() { public_name(public_url) } else { domain };
        let origins = if origins.is_empty() { vec![format!("https://{id}")] } else { origins.clone() };
        RelyingParty { id: id.to_owned(), origins }
    }

    /// What makes no sense.
    pub(super) fn check(&self, check: &mut impl FnMut(bool, &str)) {
        check(!self.domain.contains(['/', ':']), "passkeys.domain: must be a name, such as chat.example.org");
        check(
            self.origins.iter().all(|origin| origin.contains(':') && !origin.ends_with('/')),
            "passkeys.origins: must be origins, such as https://chat.example.org",
        );
    }
}

/// The name in an `https://` URL, or localhost where there is none.
fn public_name(url: &str) -> &str {
    let authority = url.strip_prefix("https://").and_then(|rest| rest.split('/').next());
    let name = authority.and_then(|authority| authority.split(':').next());
    name.filter(|name| !name.is_empty()).unwrap_or("localhost")
}
