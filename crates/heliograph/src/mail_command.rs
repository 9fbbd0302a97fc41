//! `heliograph mail`: whether the mail server takes messages.

use anyhow::{Context, Result};
use auth::mail::{MailAddress, MailError, MailMessage};

use crate::{config::Config, wiring};

/// Sends a message to that address, and tells what the mail server answered.
pub(crate) async fn test(config: &Config, address: &str) -> Result<String> {
    let to: MailAddress = address.parse().context("that is not an e-mail address")?;
    let mailer = wiring::mailer(&config.mail)?.context("no mail server is configured (mail.server)")?;
    let message = MailMessage {
        to,
        subject: "A test".to_owned(),
        text: "This was sent by `heliograph mail test`. Mail from this server arrives.\n".to_owned(),
    };
    match mailer.send(message).await {
        Ok(answer) => Ok(format!("the mail server answered: {answer}\nThe message was taken.")),
        Err(error) => Err(meaning(error)),
    }
}

/// The error with what to do about it.
fn meaning(error: MailError) -> anyhow::Error {
    let hint = match &error {
        MailError::Unavailable(_) => {
            "check server, port, security, user and password, or whether it asks to try again later"
        }
        MailError::Refused(_) => "it does not take messages from `sender`, or to that address",
    };
    anyhow::Error::from(error).context(hint)
}
