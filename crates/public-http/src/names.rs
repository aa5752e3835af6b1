//! Resolves names to allowed addresses only.

use crate::rules::Rules;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::SocketAddr;
use std::sync::Arc;

/// A name resolves, but to no address that connections are allowed to.
#[derive(Debug, thiserror::Error)]
#[error("the name has no public address")]
pub(crate) struct NoAllowedAddress;

/// Asks the system's resolver.
pub(crate) struct SystemNames;

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Addrs = Box::new(found.collect::<Vec<_>>().into_iter());
            Ok(addresses)
        })
    }
}

/// Resolves names to allowed addresses only: a name may resolve to anything, and to something else the next time.
pub(crate) struct AllowedNames {
    pub rules: Rules,
    pub resolver: Arc<dyn Resolve>,
}

impl Resolve for AllowedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = self.rules;
        let found = self.resolver.resolve(name);
        Box::pin(async move {
            let allowed: Vec<SocketAddr> =
                found.await?.filter(|address| (rules.allows)(address.ip())).collect();
            if allowed.is_empty() {
                return Err(NoAllowedAddress.into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}
