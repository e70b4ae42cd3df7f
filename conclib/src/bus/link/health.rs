//! The state of one end's connections, for the public. No I/O.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

/// The connection state of one end of the bus: of a client by
/// [`ProxyClient::state`](crate::ProxyClient::state), of a proxy by
/// [`Proxy::state`](crate::Proxy::state); to watch, by their `connection_state`.
///
/// A health check:
///
/// ```
/// use conclib::prelude::*;
/// use conclib::bus::ConnectionState;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = ProxyClient::connect(&Config::memory()).await?;
/// let status = if client.state().is_connected() { 200 } else { 503 };
/// assert_eq!((status, client.state()), (200, ConnectionState::Connected));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// A client made by [`ProxyClient::lazy`](crate::ProxyClient::lazy) has not been connected yet, and
    /// tries for as long as that takes. It refuses requests at once with
    /// [`Unavailable`](crate::AskError::Unavailable) meanwhile, except for durable ones, which wait.
    Connecting {
        /// The failure of the last attempt.
        reason: String,
    },
    /// Requests and replies go through.
    Connected,
    /// A connection was lost and is being made again, for as long as that takes. A client refuses
    /// requests at once with [`Unavailable`](crate::AskError::Unavailable) meanwhile.
    Reconnecting {
        /// One of the lost parts, and the cause.
        reason: String,
    },
    /// A connection is open, and Redis answers nothing on it: requests are taken, and may time out.
    Unresponsive {
        /// The part that gets no answer, and for how long.
        reason: String,
    },
    /// It was shut down; or, of a proxy, another system serves its node.
    Closed,
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting { reason } => write!(f, "connecting: {reason}"),
            Self::Connected => f.write_str("connected"),
            Self::Reconnecting { reason } => write!(f, "reconnecting: {reason}"),
            Self::Unresponsive { reason } => write!(f, "unresponsive: {reason}"),
            Self::Closed => f.write_str("closed"),
        }
    }
}

impl ConnectionState {
    /// True if the bus can be used.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected)
    }
}

/// The reason of a lazy client's state before its first attempt has ended.
const FIRST_ATTEMPT: &str = "the first attempt is under way";

/// The parts of one end, such as its connections, that are lost.
pub(crate) struct Health {
    /// Lost parts by name, with the cause.
    parts: Mutex<Parts>,
    /// True if the end has been connected and no part is lost: read before each request.
    is_connected: AtomicBool,
    /// The number of parts that were lost so far.
    losses: AtomicU32,
    state: watch::Sender<ConnectionState>,
    /// The settings of the bus were warned about, in this or an earlier attempt to connect.
    has_warned: AtomicBool,
}

/// The parts of which something is amiss, by name, with the cause.
#[derive(Default)]
struct Parts {
    /// The failure of the last attempt, until one has connected all parts for the first time.
    connecting: Option<String>,
    lost: BTreeMap<&'static str, String>,
    slow: BTreeMap<&'static str, String>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            parts: Mutex::default(),
            is_connected: AtomicBool::new(true),
            losses: AtomicU32::new(0),
            state: watch::Sender::new(ConnectionState::Connected),
            has_warned: AtomicBool::new(false),
        }
    }
}

impl Health {
    /// The health of an end that is not connected yet.
    pub(crate) fn connecting() -> Self {
        let health = Self::default();
        health.mark_connecting(FIRST_ATTEMPT);
        health
    }

    /// Records that an attempt to connect for the first time has failed.
    pub(crate) fn mark_connecting(&self, why: &str) {
        self.update(|parts| parts.connecting = Some(why.to_owned()));
    }

    /// Records that the end is connected for the first time.
    pub(crate) fn mark_first_connected(&self) {
        self.update(|parts| parts.connecting = None);
    }

    /// Records that a part is lost.
    pub(crate) fn mark_lost(&self, part: &'static str, why: &str) {
        self.losses.fetch_add(1, Ordering::Relaxed);
        self.update(|parts| {
            parts.slow.remove(part);
            parts.lost.insert(part, why.to_owned());
        });
    }

    /// The number of parts that were lost so far.
    #[inline]
    pub(crate) fn losses(&self) -> u32 {
        self.losses.load(Ordering::Relaxed)
    }

    /// Records that a part is connected again.
    pub(crate) fn mark_connected(&self, part: &'static str) {
        self.update(|parts| {
            parts.lost.remove(part);
        });
    }

    /// Records that a part gets no answers.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a bus in memory answers at once")
    )]
    pub(crate) fn mark_slow(&self, part: &'static str, why: &str) {
        self.update(|parts| {
            parts.slow.insert(part, why.to_owned());
        });
    }

    /// Records that a part gets answers again.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a bus in memory answers at once")
    )]
    pub(crate) fn mark_answering(&self, part: &'static str) {
        self.update(|parts| {
            parts.slow.remove(part);
        });
    }

    /// True once: for the first warning about the settings of the bus.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a bus in memory has none")
    )]
    pub(crate) fn warns_first(&self) -> bool {
        !self.has_warned.swap(true, Ordering::Relaxed)
    }

    /// Closes the end for good.
    pub(crate) fn close(&self) {
        self.state.send_replace(ConnectionState::Closed);
    }

    /// The reason why the bus cannot be used now, if so.
    #[inline]
    pub(crate) fn problem(&self) -> Option<String> {
        if self.is_connected.load(Ordering::Relaxed) {
            return None;
        }
        match &*self.state.borrow() {
            ConnectionState::Connecting { reason } | ConnectionState::Reconnecting { reason } => {
                Some(reason.clone())
            }
            ConnectionState::Connected
            | ConnectionState::Unresponsive { .. }
            | ConnectionState::Closed => None,
        }
    }

    /// Waits until no part is lost; never ends once the end is closed.
    pub(crate) async fn connected(&self) {
        let mut changes = self.state.subscribe();
        // The sender lives as long as `self`.
        let is_usable = |state: &ConnectionState| {
            matches!(
                state,
                ConnectionState::Connected | ConnectionState::Unresponsive { .. }
            )
        };
        drop(changes.wait_for(is_usable).await);
    }

    /// Waits until the end has been connected for the first time, or is closed.
    pub(crate) async fn first_connected(&self) {
        let mut changes = self.state.subscribe();
        let is_over =
            |state: &ConnectionState| !matches!(state, ConnectionState::Connecting { .. });
        drop(changes.wait_for(is_over).await);
    }

    /// The state now, for the public.
    pub(crate) fn state(&self) -> ConnectionState {
        self.state.borrow().clone()
    }

    /// The state for the public, to be watched.
    pub(crate) fn watch(&self) -> watch::Receiver<ConnectionState> {
        self.state.subscribe()
    }

    fn update(&self, act: impl FnOnce(&mut Parts)) {
        let mut parts = self.parts.lock();
        act(&mut parts);
        let is_connected = parts.lost.is_empty() && parts.connecting.is_none();
        self.is_connected.store(is_connected, Ordering::Relaxed);
        let reason = |(part, why): (&&str, &String)| format!("{part}: {why}");
        let lost = parts.lost.first_key_value().map(reason);
        let slow = parts.slow.first_key_value().map(reason);
        let new = match (parts.connecting.clone(), lost, slow) {
            (Some(reason), _, _) => ConnectionState::Connecting { reason },
            (None, Some(reason), _) => ConnectionState::Reconnecting { reason },
            (None, None, Some(reason)) => ConnectionState::Unresponsive { reason },
            (None, None, None) => ConnectionState::Connected,
        };
        // Under the lock, so that the state is that of the last change.
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
    fn end_is_connected_when_every_part_is() {
        let health = Health::default();
        let state = health.watch();
        health.mark_lost("replies", "killed");
        health.mark_lost("requests", "reset");
        health.mark_connected("replies");
        assert_eq!(health.problem().as_deref(), Some("requests: reset"));
        let reason = "requests: reset".to_owned();
        assert_eq!(*state.borrow(), ConnectionState::Reconnecting { reason });
        health.mark_slow("replies", "no answer for 2s");
        health.mark_connected("requests");
        let reason = "replies: no answer for 2s".to_owned();
        assert_eq!(*state.borrow(), ConnectionState::Unresponsive { reason });
        assert_eq!(health.problem(), None, "requests are taken");
        health.mark_answering("replies");
        assert!(state.borrow().is_connected());
        assert_eq!(health.problem(), None);
        health.close();
        health.mark_lost("requests", "late");
        assert_eq!(*state.borrow(), ConnectionState::Closed);
    }

    #[tokio::test]
    async fn end_that_was_never_connected_says_so() {
        let health = Health::connecting();
        let reason = FIRST_ATTEMPT.to_owned();
        assert_eq!(health.state(), ConnectionState::Connecting { reason });
        health.mark_connected("commands"); // one of two, in an attempt that fails
        health.mark_connecting("refused");
        let reason = "refused".to_owned();
        assert_eq!(health.state(), ConnectionState::Connecting { reason });
        assert_eq!(health.problem().as_deref(), Some("refused"));
        health.mark_first_connected();
        assert!(health.state().is_connected());
        assert_eq!(health.problem(), None);
        health.first_connected().await;
    }
}
