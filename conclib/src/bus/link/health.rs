//! Whether an end of the bus can be used now, for programs that want to know. No I/O.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// Whether an end of the bus can be used now: of a client by
/// [`ProxyClient::connection_state`](crate::ProxyClient::connection_state), of a proxy by
/// [`Proxy::connection_state`](crate::Proxy::connection_state).
///
/// What a health check would say:
///
/// ```
/// use conclib::prelude::*;
/// use conclib::{Config, ConnectionState};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = ProxyClient::connect(&Config::memory()).await?;
/// let state = client.connection_state();
/// let (status, text) = match &*state.borrow() {
///     ConnectionState::Connected => (200, "ok".to_owned()),
///     ConnectionState::Reconnecting { reason } => (503, reason.clone()),
///     _ => (503, "closed".to_owned()),
/// };
/// assert_eq!((status, &*text), (200, "ok"));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// A client: requests are sent, and answers come in. A proxy: requests are taken, and its
    /// answers sent.
    Connected,
    /// It was lost and is being made again, for as long as that takes. A client refuses
    /// requests at once with [`Unavailable`](crate::AskError::Unavailable) meanwhile.
    Reconnecting {
        /// One of the parts that are lost, and why it is.
        reason: String,
    },
    /// It was shut down; or, of a proxy, another system serves its node.
    Closed,
}

impl ConnectionState {
    /// True if it can be used.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected)
    }
}

/// What is the matter with the parts of one end.
pub(crate) struct Health {
    /// The parts that are lost, by name, and why.
    lost: Mutex<BTreeMap<&'static str, String>>,
    /// The same in short, for those who look before each request.
    is_well: AtomicBool,
    state: watch::Sender<ConnectionState>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            lost: Mutex::default(),
            is_well: AtomicBool::new(true),
            state: watch::Sender::new(ConnectionState::Connected),
        }
    }
}

impl Health {
    /// A part is lost.
    pub(crate) fn lose(&self, part: &'static str, why: &str) {
        self.change(|lost| {
            lost.insert(part, why.to_owned());
        });
    }

    /// A part is back.
    pub(crate) fn regain(&self, part: &'static str) {
        self.change(|lost| {
            lost.remove(part);
        });
    }

    /// For good.
    pub(crate) fn close(&self) {
        self.state.send_replace(ConnectionState::Closed);
    }

    /// Why it cannot be used just now, if so.
    #[inline]
    pub(crate) fn trouble(&self) -> Option<String> {
        if self.is_well.load(Ordering::Relaxed) {
            return None;
        }
        match &*self.state.borrow() {
            ConnectionState::Reconnecting { reason } => Some(reason.clone()),
            ConnectionState::Connected | ConnectionState::Closed => None,
        }
    }

    /// Waits until every part is there; never ends once it is closed.
    pub(crate) async fn is_back(&self) {
        let mut changes = self.state.subscribe();
        // The sender lives as long as this.
        drop(changes.wait_for(ConnectionState::is_connected).await);
    }

    /// What the public sees.
    pub(crate) fn watch(&self) -> watch::Receiver<ConnectionState> {
        self.state.subscribe()
    }

    fn change(&self, act: impl FnOnce(&mut BTreeMap<&'static str, String>)) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut lost);
        self.is_well.store(lost.is_empty(), Ordering::Relaxed);
        let new = match lost.first_key_value() {
            None => ConnectionState::Connected,
            Some((part, why)) => ConnectionState::Reconnecting {
                reason: format!("{part}: {why}"),
            },
        };
        // Under the lock, so that the last change counts.
        self.state.send_if_modified(|state| {
            let changes = *state != new && *state != ConnectionState::Closed;
            if changes {
                *state = new;
            }
            changes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_connected_when_every_part_is() {
        let health = Health::default();
        let state = health.watch();
        health.lose("replies", "killed");
        health.lose("requests", "reset");
        health.regain("replies");
        assert_eq!(health.trouble().as_deref(), Some("requests: reset"));
        let reason = "requests: reset".to_owned();
        assert_eq!(*state.borrow(), ConnectionState::Reconnecting { reason });
        health.regain("requests");
        assert!(state.borrow().is_connected());
        assert_eq!(health.trouble(), None);
        health.close();
        health.lose("requests", "late");
        assert_eq!(*state.borrow(), ConnectionState::Closed);
    }
}
