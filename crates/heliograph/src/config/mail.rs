//! How mail is sent to people.

use std::{fmt, path::PathBuf, time::Duration};

use auth::mail::Security;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The part of a link that stands for the code.
const PLACEHOLDER: &str = "{code}";

/// How mail is sent to people with native accounts: codes for e-mail addresses and forgotten passwords.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Mail {
    /// Name of the mail server that takes messages from this one, which its certificate must bear. Empty: no mail is sent;
    /// a development server (--dev) appends it to outbox.jsonl in the data folder.
    pub(crate) server: String,
    /// Its port. 0: 587, or 465 where `security` is "tls".
    pub(crate) port: u16,
    /// How the connection is protected: "starttls" or "tls". Nothing is sent without.
    pub(crate) security: MailSecurity,
    /// Whom to log in as, where the mail server asks for it.
    pub(crate) user: String,
    /// File with the password.
    pub(crate) password_file: PathBuf,
    /// The password itself, where a file will not do. Whoever reads this configuration reads it.
    pub(crate) password: InlineSecret,
    /// Whom messages are from, such as `chat@example.org` or `Chat <chat@example.org>`.
    pub(crate) sender: String,
    /// Seconds that handing over one message may take.
    pub(crate) timeout_seconds: u64,
    /// PEM file of a certificate authority that the mail server may have besides the system's. Empty: none.
    pub(crate) ca_file: PathBuf,
    /// Where people hand in the code for a new password: a page of your app, in which `{code}` stands for the code, such as
    /// `https://app.example.org/reset#{code}`. Empty: the page of this server under `public_url`, and no link if that is
    /// empty too.
    pub(crate) reset_link: String,
    /// Where people hand in the code for an e-mail address, likewise. Empty: no link; the app asks for the code.
    pub(crate) confirm_link: String,
}

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MailSecurity {
    /// TLS after STARTTLS.
    StartTls,
    /// TLS from the first byte.
    Tls,
}

/// A secret in the configuration itself. It does not print.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct InlineSecret(String);

impl Default for Mail {
    fn default() -> Self {
        Self {
            server: String::new(),
            port: 0,
            security: MailSecurity::StartTls,
            user: String::new(),
            password_file: PathBuf::new(),
            password: InlineSecret::default(),
            sender: String::new(),
            timeout_seconds: 20,
            ca_file: PathBuf::new(),
            reset_link: String::new(),
            confirm_link: String::new(),
        }
    }
}

impl Mail {
    /// The port of the mail server.
    pub(crate) fn port(&self) -> u16 {
        match (self.port, self.security) {
            (0, MailSecurity::StartTls) => 587,
            (0, MailSecurity::Tls) => 465,
            (port, _) => port,
        }
    }

    /// What handing over one message may take.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    /// Where a code for a new password is handed in, for a server of that public address.
    pub(crate) fn reset_link(&self, public_url: &str) -> Option<String> {
        let own = || format!("{}/password/reset", public_url.trim_end_matches('/'));
        match (self.reset_link.as_str(), public_url) {
            ("", "") => None,
            ("", _) => Some(own()),
            (link, _) => Some(link.to_owned()),
        }
    }

    /// Where a code for an e-mail address is handed in.
    pub(crate) fn confirm_link(&self) -> Option<String> {
        (!self.confirm_link.is_empty()).then(|| self.confirm_link.clone())
    }

    pub(super) fn check(&self, check: &mut impl FnMut(bool, &str)) {
        let on = !self.server.is_empty();
        check(
            !on || !self.sender.is_empty(),
            "mail.sender: the mail server must be told whom messages are from",
        );
        let (from_file, inline) = (!self.password_file.as_os_str().is_empty(), !self.password.is_empty());
        check(!(from_file && inline), "mail.password: is in a file already");
        check(self.user.is_empty() != (from_file || inline), "mail.user: user and password go together");
        check((1..=300).contains(&self.timeout_seconds), "mail.timeout_seconds: must be from 1 to 300");
        for (key, link) in [("mail.reset_link", &self.reset_link), ("mail.confirm_link", &self.confirm_link)]
        {
            check(
                link.is_empty() || link.matches(PLACEHOLDER).count() == 1,
                &format!("{key}: must have {{code}} in it once"),
            );
        }
    }
}

impl From<MailSecurity> for Security {
    fn from(security: MailSecurity) -> Self {
        match security {
            MailSecurity::StartTls => Self::StartTls,
            MailSecurity::Tls => Self::Tls,
        }
    }
}

impl InlineSecret {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret; nothing if it is empty.
    pub(crate) fn get(&self) -> Option<Zeroizing<String>> {
        (!self.is_empty()).then(|| Zeroizing::new(self.0.clone()))
    }
}

impl Drop for InlineSecret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

impl fmt::Debug for InlineSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(toml: &str) -> Vec<String> {
        let mail: Mail = toml::from_str(toml).unwrap();
        let mut mistakes = Vec::new();
        mail.check(&mut |fine, mistake| {
            if !fine {
                mistakes.push(mistake.to_owned());
            }
        });
        mistakes
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        assert!(mistakes("server = 'mail.example.org'\nsender = 'chat@example.org'\n").is_empty());
        for (toml, key) in [
            ("server = 'mail.example.org'\n", "mail.sender"),
            ("user = 'chat'\n", "mail.user"),
            ("password = 'x'\n", "mail.user"),
            ("user = 'chat'\npassword = 'x'\npassword_file = 'y'\n", "mail.password"),
            ("timeout_seconds = 0\n", "mail.timeout_seconds"),
            ("reset_link = 'https://app.example.org/reset'\n", "mail.reset_link"),
            ("confirm_link = '{code}{code}'\n", "mail.confirm_link"),
        ] {
            let found = mistakes(toml);
            assert!(found.len() == 1 && found[0].starts_with(key), "{toml} {found:?}");
        }
    }

    #[test]
    fn the_password_does_not_print() {
        let mail: Mail = toml::from_str("user = 'chat'\npassword = 'right horse'\n").unwrap();
        assert!(!format!("{mail:?}").contains("horse"));
        assert_eq!(**mail.password.get().as_ref().unwrap(), "right horse");
    }

    #[test]
    fn the_link_is_the_apps_or_the_servers() {
        let link =
            |own: &str, url: &str| Mail { reset_link: own.to_owned(), ..Mail::default() }.reset_link(url);
        assert_eq!(link("", ""), None);
        assert_eq!(link("", "https://c.example/").as_deref(), Some("https://c.example/password/reset"));
        assert_eq!(link("app:{code}", "https://c.example").as_deref(), Some("app:{code}"));
    }
}
