//! Names, passwords and sessions.

use std::sync::Arc;

use anyhow::{Context, Result};
use auth::{
    native::{AccessTokens, Letters, NativeParts, NativeService, PasswordHasher, operator::LoggedOut},
    revocation::Revocations,
    second_factor::SecondFactors,
};

use super::ground::Ground;
use crate::secrets::Secrets;

/// The niceness of the threads that hash passwords: a tenth of the attention that the others get, when all want some.
const PASSWORDS_NICENESS: i32 = 10;

impl Ground<'_> {
    pub(super) fn access_tokens(&self, secrets: &Secrets) -> Result<Arc<AccessTokens>> {
        Ok(Arc::new(AccessTokens::new(
            self.config.access_tokens.to_tokens(&self.config.public_url),
            secrets.access_keys(self.vault)?,
            self.clock(),
            self.entropy(),
        )))
    }

    pub(super) fn native(
        &self,
        revocations: &Revocations,
        tokens: &Arc<AccessTokens>,
        second_factors: &Arc<SecondFactors>,
        letters: Option<Letters>,
    ) -> Result<NativeService> {
        let hashing = self.config.passwords.to_hashing();
        let hasher = PasswordHasher::start(hashing, self.entropy(), yield_to_others)
            .context("the threads that hash passwords cannot be started")?;
        Ok(NativeService::new(NativeParts {
            store: self.accounts.clone(),
            emails: self.accounts.clone(),
            letters,
            devices: self.accounts.clone(),
            links: self.accounts.clone(),
            admission: self.admission(),
            revocations: revocations.clone(),
            audit: self.audit(),
            hasher,
            policy: self.config.passwords.to_policy(),
            tokens: Arc::clone(tokens),
            sessions: self.config.sessions.to_sessions(),
            second_factors: Arc::clone(second_factors),
            limits: self.limits(),
            clock: self.clock(),
            entropy: self.entropy(),
        }))
    }

    pub(super) fn logged_out(&self, revocations: &Revocations) -> Arc<LoggedOut> {
        Arc::new(LoggedOut::new(self.accounts.clone(), revocations.clone()))
    }
}

/// Asks the system to run the calling thread only when nobody else wants to: whoever logs in can wait, messages cannot.
fn yield_to_others() {
    // On Linux this is about the thread and not the process. Where it is refused, the number of threads is bound enough.
    if let Err(error) = rustix::process::setpriority_process(None, PASSWORDS_NICENESS) {
        tracing::debug!(%error, "the threads that hash passwords keep their priority");
    }
}
