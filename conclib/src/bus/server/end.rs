//! The end of a proxy: its reason, and its announcement.

use std::fmt;
use std::sync::Arc;

use crate::bus::server::ProxyShared;

/// The reason why a proxy takes no more requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyEnd {
    /// The proxy was shut down.
    Stopped,
    /// The proxy had lost its lease, and another system has served the node since: the state of the
    /// actors may be out of date. (A lease that no other system has had is taken again, as soon as
    /// the bus can be reached.)
    LeaseLost,
    /// A younger process with the same [`Config::instance`](crate::Config::instance) has taken the
    /// lease. To take it back would be a fight of two processes with one name.
    Replaced,
}

impl fmt::Display for ProxyEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "the proxy was shut down",
            Self::LeaseLost => {
                "the lease was lost, and another actor system has served the node since"
            }
            Self::Replaced => "a younger process of the same instance serves the node",
        })
    }
}

/// Announces the end of the proxy when it is dropped, at the latest with its runtime.
pub(crate) struct EndGuard(pub(crate) Arc<ProxyShared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.health.close();
        // Fails if the reason is set already.
        drop(self.0.stopped.set(ProxyEnd::Stopped));
        drop(self.0.ended.set(()));
    }
}
