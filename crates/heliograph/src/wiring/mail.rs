//! How letters to people leave, as configured.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context, Result};
use auth::{
    mail::{Mailer, Post, SmtpMailer, SmtpSettings},
    native::email::{LetterSettings, Letters, Link},
};
use zeroize::Zeroizing;

use super::{code_senders::secret, ground::Ground};
use crate::config::{Mail, public_name};

/// What hands messages to the mail server, if one is configured. Nothing is connected yet.
pub(crate) fn mailer(config: &Mail) -> Result<Option<Arc<dyn Mailer>>> {
    if config.server.is_empty() {
        return Ok(None);
    }
    let settings = SmtpSettings {
        host: config.server.clone(),
        port: config.port(),
        security: config.security.into(),
        credentials: credentials(config)?,
        from: config.sender.clone(),
        trusted: trusted(&config.ca_file)?,
        timeout: config.timeout(),
    };
    Ok(Some(Arc::new(SmtpMailer::new(settings).context("mail cannot be used")?)))
}

impl Ground<'_> {
    /// What writes to people, if mail is sent: through the mail server, or for development into the outbox.
    pub(super) fn letters(&self) -> Result<Option<(Letters, Post)>> {
        let config = self.config;
        let mailer = match mailer(&config.mail)? {
            Some(mailer) => mailer,
            None if self.development => self.outbox.clone(),
            None => {
                if !config.registration.email_domains.is_empty() {
                    tracing::warn!(
                        "registration.email_domains: while mail.server is empty nobody can prove an address, and so \
                         nobody registers by the native API"
                    );
                }
                return Ok(None);
            }
        };
        let post = Post::new(mailer, self.clock());
        let settings = LetterSettings {
            server: public_name(&config.public_url).to_owned(),
            reset: config.mail.reset_link(&config.public_url).map(Link::new),
            confirm: config.mail.confirm_link().map(Link::new),
        };
        Ok(Some((Letters::new(post.clone(), settings), post)))
    }
}

fn credentials(config: &Mail) -> Result<Option<(String, Zeroizing<String>)>> {
    if config.user.is_empty() {
        return Ok(None);
    }
    let password = match config.password.get() {
        Some(password) => password,
        None => secret(&config.password_file)?,
    };
    Ok(Some((config.user.clone(), password)))
}

fn trusted(file: &Path) -> Result<Option<Vec<u8>>> {
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    fs::read(file).map(Some).with_context(|| format!("{} cannot be read", file.display()))
}
