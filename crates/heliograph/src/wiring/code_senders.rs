//! Who delivers verification codes, as configured.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use auth::verification::{CodeSender, Outbox, ShownToOperator};
use codes::{
    Patience,
    twilio::{TwilioParts, TwilioVerify},
    webhook::{SECRET_MIN, Webhook, WebhookParts},
};
use outgoing::{AddressPolicy, Client, ClientSettings};
use protocol::ambient::{Clock, Entropy};
use zeroize::Zeroizing;

use super::providers::extra_roots;
use crate::config::{Provider, Verification};

pub(super) fn code_sender(
    config: &Verification,
    outbox: &Arc<Outbox>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Arc<dyn CodeSender>> {
    Ok(match config.provider {
        Provider::Outbox => outbox.clone(),
        Provider::Operator => Arc::new(ShownToOperator),
        Provider::Webhook => Arc::new(Webhook::new(WebhookParts {
            client: client(config)?,
            address: config.webhook_url.parse().context("verification.webhook_url cannot be understood")?,
            secret: webhook_secret(&config.webhook_secret_file)?,
            patience: Patience::default(),
            clock,
            entropy,
        })),
        Provider::Twilio => Arc::new(TwilioVerify::new(TwilioParts {
            client: client(config)?,
            base: config.twilio_url.trim_end_matches('/').to_owned(),
            account: config.twilio_account.clone(),
            token: secret(&config.twilio_token_file)?,
            service: config.twilio_service.clone(),
            patience: Patience::default(),
            entropy,
        })),
    })
}

/// Reaches wherever the operator said: that was no stranger's choice. Plain HTTP was refused with the configuration but
/// for this machine.
fn client(config: &Verification) -> Result<Arc<Client>> {
    let extra_roots = extra_roots(&config.ca_file)?;
    Ok(Arc::new(Client::new(ClientSettings {
        addresses: AddressPolicy::everywhere(),
        extra_roots,
        https_only: false,
        timeout: PROVIDER_TIMEOUT,
        ..ClientSettings::default()
    })))
}

/// How long one request to a provider may take: with those that follow, less than the client's own may.
const PROVIDER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(8);

fn webhook_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let text = secret(path)?;
    ensure!(text.len() >= SECRET_MIN, "the secret in {} has fewer than {SECRET_MIN} bytes", path.display());
    Ok(Zeroizing::new(text.as_bytes().to_vec()))
}

/// The content of a file, without spaces and line ends around it.
pub(super) fn secret(path: &Path) -> Result<Zeroizing<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let text = Zeroizing::new(text);
    let trimmed = Zeroizing::new(text.trim().to_owned());
    if trimmed.is_empty() {
        bail!("{} is empty", path.display());
    }
    Ok(trimmed)
}
