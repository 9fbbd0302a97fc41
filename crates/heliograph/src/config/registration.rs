//! Who may register.

use auth::admission::{AdmissionMode, AdmissionPolicy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may register.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Registration {
    /// Who may have a new account: "open" everybody, "invite" whoever has an invitation (`heliograph invite`), "approval"
    /// whoever the operator approves (`heliograph registration`), "closed" nobody. "default" is "invite", and "open" for a
    /// development server. Whoever has an account is not asked.
    pub(crate) mode: RegistrationMode,
    /// With what the numbers of new accounts must begin, such as `["+49", "+43"]`. Empty: all may come.
    pub(crate) number_prefixes: Vec<String>,
    /// Domains of which the e-mail address of a new account without a number must be, such as `["example.org"]`; it is proved
    /// by a code that is mailed. Empty: all may come, and an address is not needed.
    pub(crate) email_domains: Vec<String>,
}

/// On what condition somebody may register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RegistrationMode {
    /// As fits the kind of server.
    #[default]
    Default,
    /// None.
    Open,
    /// An invitation.
    Invite,
    /// The operator's word.
    Approval,
    /// Nobody may.
    Closed,
}

impl Registration {
    /// What the server is told.
    pub(crate) fn policy(&self, development: bool) -> AdmissionPolicy {
        let mode = match self.mode {
            RegistrationMode::Default if development => AdmissionMode::Open,
            RegistrationMode::Default | RegistrationMode::Invite => AdmissionMode::Invite,
            RegistrationMode::Open => AdmissionMode::Open,
            RegistrationMode::Approval => AdmissionMode::Approval,
            RegistrationMode::Closed => AdmissionMode::Closed,
        };
        AdmissionPolicy {
            mode,
            number_prefixes: self.number_prefixes.clone(),
            email_domains: self.email_domains.iter().map(|domain| domain.to_lowercase()).collect(),
        }
    }

    /// What makes no sense.
    pub(super) fn check(&self, check: &mut impl FnMut(bool, &str)) {
        let is_prefix = |text: &String| {
            text.len() <= 16
                && text.strip_prefix('+').is_some_and(|digits| {
                    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
                })
        };
        check(
            self.number_prefixes.iter().all(is_prefix),
            "registration.number_prefixes: each must be + and digits, such as +49",
        );
        check(
            self.email_domains.iter().all(|domain| domain.contains('.') && !domain.contains(['@', ' '])),
            "registration.email_domains: each must be a domain, such as example.org",
        );
    }
}
