//! How phone numbers are proved.

use std::path::PathBuf;

use http::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::challenges::PushProvider;

/// How phone numbers are proved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Verification {
    /// Who delivers codes. "outbox" appends them to outbox.jsonl in the data folder; "operator" keeps them for
    /// `heliograph codes`; "webhook" hands them to a server of yours; "twilio" is Twilio Verify, which draws and checks
    /// them itself.
    pub(crate) provider: Provider,
    /// Offer a captcha step, in which every answer is accepted. Some clients do not register without one.
    pub(crate) offer_captcha: bool,
    /// Who delivers push challenges, which serve in place of a captcha. "push" sends them as pushes, to clients that
    /// say where a push reaches them; "none" offers none; "outbox" is for development.
    pub(crate) push: PushProvider,
    /// Where the webhook is: an https address, or http on this machine.
    pub(crate) webhook_url: String,
    /// File with the secret that requests to it are signed with, at least 16 bytes.
    pub(crate) webhook_secret_file: PathBuf,
    /// Twilio's account (AC…), or an API key of it (SK…).
    pub(crate) twilio_account: String,
    /// File with its token, or the key's secret.
    pub(crate) twilio_token_file: PathBuf,
    /// The Verify service (VA…).
    pub(crate) twilio_service: String,
    /// Where Twilio Verify is.
    pub(crate) twilio_url: String,
    /// PEM file of certificate authorities that are trusted besides the system's, for a webhook under a private one.
    pub(crate) ca_file: PathBuf,
}

impl Default for Verification {
    fn default() -> Self {
        Self {
            provider: Provider::Outbox,
            offer_captcha: true,
            push: PushProvider::Push,
            webhook_url: String::new(),
            webhook_secret_file: PathBuf::new(),
            twilio_account: String::new(),
            twilio_token_file: PathBuf::new(),
            twilio_service: String::new(),
            twilio_url: codes::twilio::BASE.to_owned(),
            ca_file: PathBuf::new(),
        }
    }
}

impl Verification {
    /// What the provider needs and does not have.
    pub(super) fn check(&self, check: &mut impl FnMut(bool, &str)) {
        let (webhook, twilio) = (self.provider == Provider::Webhook, self.provider == Provider::Twilio);
        let set = |text: &str| !text.is_empty();
        let address = |text: &str| {
            let here = ["http://localhost", "http://127.0.0.1", "http://[::1]"];
            text.parse::<Uri>().is_ok()
                && (text.starts_with("https://")
                    || here.iter().any(|start| {
                        text.strip_prefix(start)
                            .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
                    }))
        };
        check(
            !webhook || address(&self.webhook_url),
            "verification.webhook_url: must be an https address, or http on this machine",
        );
        check(
            !webhook || !self.webhook_secret_file.as_os_str().is_empty(),
            "verification.webhook_secret_file: the webhook needs one",
        );
        check(!twilio || set(&self.twilio_account), "verification.twilio_account: Twilio needs it");
        check(!twilio || set(&self.twilio_service), "verification.twilio_service: Twilio needs it");
        check(
            !twilio || !self.twilio_token_file.as_os_str().is_empty(),
            "verification.twilio_token_file: Twilio needs it",
        );
        check(
            !twilio || address(&self.twilio_url),
            "verification.twilio_url: must be an https address, or http on this machine",
        );
    }
}

/// Who delivers verification codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Provider {
    /// A file that the operator reads.
    Outbox,
    /// The operator, who looks them up.
    Operator,
    /// A server of the operator's.
    Webhook,
    /// Twilio Verify.
    Twilio,
}
