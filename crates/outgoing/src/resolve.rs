//! Names to addresses that may be connected to.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::AddressPolicy;

/// No address of that name may be connected to.
#[derive(Debug, thiserror::Error)]
#[error("the address is not allowed")]
pub(crate) struct ForbiddenAddress;

/// Asks the operating system, and keeps what the policy allows. The connection is made to an address that
/// was looked at here, so that a name cannot mean one thing when it is checked and another when it is used.
pub(crate) struct CheckedResolver(pub(crate) AddressPolicy);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| policy.allows(address.ip())).collect();
            if allowed.is_empty() {
                return Err(ForbiddenAddress.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}
