//! How an account gets further devices.

use std::sync::Arc;

use auth::{
    handover::{HandoverParts, HandoverService},
    linking::{LinkingParts, LinkingService, provisioning::ProvisioningRelay},
    revocation::Revocations,
};
use store::sqlite::SqliteHandovers;

use super::{bridges::Hub, ground::Ground};

impl Ground<'_> {
    pub(super) fn linking(&self, revocations: &Revocations, backlog: Arc<Hub>) -> Arc<LinkingService> {
        Arc::new(LinkingService::new(LinkingParts {
            accounts: self.account_store(),
            links: self.accounts.clone(),
            revocations: revocations.clone(),
            backlog,
            audit: self.audit(),
            limits: self.limits(),
            clock: self.clock(),
            entropy: self.entropy(),
        }))
    }

    pub(super) fn handovers(&self) -> Arc<HandoverService> {
        let store = SqliteHandovers::new(Arc::clone(&self.stores.accounts), self.vault.clone());
        Arc::new(HandoverService::new(HandoverParts {
            store: Arc::new(store),
            accounts: self.account_store(),
            limits: self.limits(),
            clock: self.clock(),
        }))
    }

    pub(super) fn provisioning(&self) -> Arc<ProvisioningRelay> {
        Arc::new(ProvisioningRelay::new(self.limits(), self.entropy()))
    }
}
