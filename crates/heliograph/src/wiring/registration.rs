//! How somebody gets an account, and another number.

use std::sync::Arc;

use anyhow::Result;
use auth::{
    change_number::{ChangeNumberParts, ChangeNumberService},
    registration::{NoReceipts, RegistrationParts, RegistrationService},
    revocation::Revocations,
    second_factor::SecondFactors,
    verification::{
        AcceptAnyCaptcha, CodeSender, VerificationParts, VerificationPolicy, VerificationService,
    },
};
use messages::MessageService;
use push::PushService;
use store::sqlite::SqliteSessions;

use super::{bridges::Notices, code_senders, ground::Ground, push::push_challenges};

impl Ground<'_> {
    pub(super) fn verification(&self, push: &Arc<PushService>) -> Result<Arc<VerificationService>> {
        let sessions = SqliteSessions::new(Arc::clone(&self.stores.accounts), self.vault.clone());
        Ok(Arc::new(VerificationService::new(VerificationParts {
            sessions: Arc::new(sessions),
            accounts: self.account_store(),
            sender: self.code_sender()?,
            admission: self.admission(),
            captcha: Arc::new(AcceptAnyCaptcha),
            audit: self.audit(),
            push: push_challenges(self.config.verification.push, &self.outbox, push),
            limits: self.limits(),
            clock: self.clock(),
            entropy: self.entropy(),
            policy: VerificationPolicy {
                ask_for_captcha: self.config.verification.offer_captcha,
                ..VerificationPolicy::default()
            },
        })))
    }

    pub(super) fn code_sender(&self) -> Result<Arc<dyn CodeSender>> {
        code_senders::code_sender(&self.config.verification, &self.outbox, self.clock(), self.entropy())
    }

    pub(super) fn registration(
        &self,
        revocations: &Revocations,
        verification: &Arc<VerificationService>,
        second_factors: &Arc<SecondFactors>,
    ) -> Arc<RegistrationService> {
        Arc::new(RegistrationService::new(RegistrationParts {
            accounts: self.account_store(),
            numberless: self.accounts.clone(),
            // None are issued here.
            receipts: Arc::new(NoReceipts),
            admission: self.admission(),
            verification: Arc::clone(verification),
            second_factors: Arc::clone(second_factors),
            revocations: revocations.clone(),
            audit: self.audit(),
            limits: self.limits(),
            clock: self.clock(),
            entropy: self.entropy(),
        }))
    }

    pub(super) fn change_number(
        &self,
        revocations: &Revocations,
        verification: &Arc<VerificationService>,
        messages: &MessageService,
    ) -> Arc<ChangeNumberService> {
        Arc::new(ChangeNumberService::new(ChangeNumberParts {
            accounts: self.account_store(),
            numbers: self.accounts.clone(),
            verification: Arc::clone(verification),
            notices: Arc::new(Notices(messages.clone())),
            revocations: revocations.clone(),
            audit: self.audit(),
            limits: self.limits(),
            clock: self.clock(),
            entropy: self.entropy(),
        }))
    }
}
