//! Events about URNs, which a peer or a user can cause at any rate and with any URN: let through once a
//! minute for each of a few URNs, and counted otherwise.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The time after which a URN may be logged again.
const WINDOW: Duration = Duration::from_secs(60);

/// The number of URNs that are logged within a window.
const MAX_URNS: usize = 8;

/// Decides which events about URNs are logged.
#[derive(Debug, Default)]
pub(crate) struct UrnLog(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    /// The begin of the current window; `None` before the first event.
    since: Option<Instant>,
    /// The URNs that were logged within it.
    urns: Vec<Box<str>>,
    /// The events since the one that was last logged.
    omitted: u64,
}

impl UrnLog {
    /// The number of events that were not logged since the last one that was, if this one is to be
    /// logged.
    pub(crate) fn admit(&self, urn: &str, now: Instant) -> Option<u64> {
        let mut window = self.0.lock();
        let is_over = window.since.is_none_or(|since| now >= since + WINDOW);
        if is_over {
            window.since = Some(now);
            window.urns.clear();
        }
        if window.urns.len() == MAX_URNS || window.urns.iter().any(|known| **known == *urn) {
            window.omitted = window.omitted.saturating_add(1);
            return None;
        }
        window.urns.push(urn.into());
        Some(std::mem::take(&mut window.omitted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_urn_is_logged_once_a_minute() {
        let (log, start) = (UrnLog::default(), Instant::now());
        let at = |urn, seconds| log.admit(urn, start + Duration::from_secs(seconds));
        assert_eq!(at("a", 0), Some(0));
        assert_eq!(at("a", 1), None);
        assert_eq!(at("a", 2), None);
        assert_eq!(at("b", 59), Some(2));
        assert_eq!(at("b", 59), None);
        assert_eq!(at("a", 60), Some(1));
        assert_eq!(at("b", 61), Some(0));
    }

    #[test]
    fn many_urns_cost_few_lines_and_little_memory() {
        let (log, now) = (UrnLog::default(), Instant::now());
        let logged = |now| {
            let urns = (0..1000).map(|n| format!("order/{n}"));
            let admitted = urns.filter_map(|urn| log.admit(&urn, now));
            admitted.collect::<Vec<_>>()
        };
        assert_eq!(logged(now), [0; MAX_URNS]);
        let omitted = 1000 - MAX_URNS as u64;
        assert_eq!(logged(now + WINDOW)[..2], [omitted, 0]);
        assert!(log.0.lock().urns.len() <= MAX_URNS);
    }
}
