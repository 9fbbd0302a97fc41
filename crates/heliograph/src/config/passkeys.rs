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
    /// instead, such as `android:apk-key-hash:…`. Empty: https and the domain, and the origin of `public_url`, which may
    /// have a port.
    pub(crate) origins: Vec<String>,
}

impl Passkeys {
    /// Who asks for passkeys, on a server with that public URL.
    pub(super) fn relying_party(&self, public_url: &str) -> RelyingParty {
        let Self { domain, origins } = self;
        let id = if domain.is_empty() { public_name(public_url) } else { domain };
        let mut origins = origins.clone();
        if origins.is_empty() {
            let names = [Some(id), authority(public_url)];
            origins.extend(names.into_iter().flatten().map(|name| format!("https://{name}")));
            origins.dedup();
        }
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
pub(crate) fn public_name(url: &str) -> &str {
    let name = authority(url).and_then(|authority| authority.split(':').next());
    name.filter(|name| !name.is_empty()).unwrap_or("localhost")
}

/// The name in an `https://` URL, and the port if it says one.
fn authority(url: &str) -> Option<&str> {
    url.strip_prefix("https://").and_then(|rest| rest.split('/').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_where_clients_are_told_to_go() {
        let of = |passkeys: &Passkeys, url| {
            let RelyingParty { id, origins } = passkeys.relying_party(url);
            (id, origins.join(" "))
        };
        let expected = |id: &str, origins: &str| (id.to_owned(), origins.to_owned());
        let default = Passkeys::default();
        assert_eq!(of(&default, ""), expected("localhost", "https://localhost"));
        assert_eq!(of(&default, "https://a.example/"), expected("a.example", "https://a.example"));
        let with_port = expected("a.example", "https://a.example https://a.example:8443");
        assert_eq!(of(&default, "https://a.example:8443"), with_port);
        let configured =
            Passkeys { domain: "example".to_owned(), origins: vec!["https://b.example".to_owned()] };
        assert_eq!(of(&configured, "https://a.example"), expected("example", "https://b.example"));
    }
}
