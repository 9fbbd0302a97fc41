//! Accounts and what belongs to them.

use std::sync::Arc;

use anyhow::Result;
use auth::{
    AccountService,
    admission::Admission,
    idle::{IdleParts, IdleService},
    revocation::Revocations,
    second_factor::{SecondFactorParts, SecondFactors},
    sender_certificate::SenderCertificates,
};
use store::sqlite::SqliteAdmission;

use super::{bridges::Hub, ground::Ground};
use crate::secrets::Secrets;

impl Ground<'_> {
    pub(super) fn account_service(&self, revocations: &Revocations) -> AccountService {
        AccountService::new(
            self.account_store(),
            revocations.clone(),
            self.audit(),
            self.clock(),
            self.entropy(),
        )
    }

    pub(super) fn admission(&self) -> Admission {
        let store = SqliteAdmission::new(Arc::clone(&self.stores.accounts), self.vault.clone());
        let policy = self.config.registration.policy(self.development);
        Admission::new(policy, Arc::new(store), self.audit(), self.clock(), self.entropy())
    }

    pub(super) fn second_factors(&self) -> Arc<SecondFactors> {
        Arc::new(SecondFactors::new(SecondFactorParts {
            store: self.accounts.clone(),
            relying_party: self.config.relying_party(),
            audit: self.audit(),
            limits: self.limits(),
            clock: self.clock(),
            entropy: self.entropy(),
        }))
    }

    pub(super) fn sender_certificates(&self, secrets: &Secrets) -> Result<Arc<SenderCertificates>> {
        Ok(Arc::new(SenderCertificates::new(
            self.account_store(),
            secrets.sender_signer(self.vault)?,
            self.config.sender_certificates.lifetime(),
            self.clock(),
            self.entropy(),
        )))
    }

    pub(super) fn idle(&self, revocations: &Revocations, presence: Arc<Hub>) -> Arc<IdleService> {
        Arc::new(IdleService::new(IdleParts {
            store: self.accounts.clone(),
            presence,
            revocations: revocations.clone(),
            audit: self.audit(),
            policy: self.config.devices.to_policy(),
            clock: self.clock(),
        }))
    }
}
