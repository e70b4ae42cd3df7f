//! Watches the heartbeats of members on this process' own clock. No I/O.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::transport::fleet::{Heartbeats, MemberId};

/// Time between two looks at the heartbeats beyond which this process could not use the bus. Then others
/// may not have been able to either: their heartbeats stand still for a reason that says nothing.
const MAX_GAP: Duration = Duration::from_secs(3);

/// The heartbeats of a fleet's members, and the time for which each has stood still here.
#[derive(Default)]
pub(super) struct HeartbeatWatch {
    seen: HashMap<MemberId, Seen>,
    last_look: Option<Instant>,
}

/// The last heartbeat of a member.
struct Seen {
    heartbeats: Heartbeats,
    /// The moment at which it was first seen.
    since: Instant,
}

impl HeartbeatWatch {
    /// Records the heartbeats of all members at one moment; forgets members that are not among them.
    pub(super) fn record(&mut self, all: &[(MemberId, Heartbeats)], now: Instant) {
        let last = self.last_look.replace(now).unwrap_or(now);
        if now.saturating_duration_since(last) > MAX_GAP {
            self.restart(now);
        }
        let known = |(id, heartbeats): &(MemberId, Heartbeats)| {
            let seen = self
                .seen
                .remove(id)
                .filter(|seen| seen.heartbeats == *heartbeats);
            let since = seen.map_or(now, |seen| seen.since);
            (
                *id,
                Seen {
                    heartbeats: *heartbeats,
                    since,
                },
            )
        };
        self.seen = all.iter().map(known).collect();
    }

    /// The members whose heartbeats have stood still for that long, and those heartbeats.
    pub(super) fn silent(&self, span: Duration, now: Instant) -> Vec<(MemberId, Heartbeats)> {
        let is_silent = |seen: &Seen| now.saturating_duration_since(seen.since) >= span;
        let silent = self.seen.iter().filter(|(_, seen)| is_silent(seen));
        silent.map(|(id, seen)| (*id, seen.heartbeats)).collect()
    }

    /// Begins all watches anew: another server may have lost heartbeats.
    pub(super) fn restart(&mut self, now: Instant) {
        for seen in self.seen.values_mut() {
            seen.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn member_is_silent_once_its_heartbeat_has_stood_still() {
        let start = Instant::now();
        let mut watch = HeartbeatWatch::default();
        let (one, other) = (MemberId(1), MemberId(2));
        watch.record(&[(one, Heartbeats(1)), (other, Heartbeats(1))], start);
        let later = [(one, Heartbeats(1)), (other, Heartbeats(2))];
        watch.record(&later, start + 3 * SECOND);
        assert_eq!(watch.silent(6 * SECOND, start + 5 * SECOND), []);
        let now = start + 6 * SECOND;
        watch.record(&later, now);
        assert_eq!(watch.silent(6 * SECOND, now), [(one, Heartbeats(1))]);
        watch.restart(now);
        assert_eq!(watch.silent(6 * SECOND, now + 5 * SECOND), []);
        watch.record(&later[1..], now + 3 * SECOND);
        let silent = watch.silent(6 * SECOND, now + 6 * SECOND);
        assert_eq!(silent, [(other, Heartbeats(2))]);
    }

    #[test]
    fn outage_of_the_bus_is_no_silence_of_members() {
        let start = Instant::now();
        let mut watch = HeartbeatWatch::default();
        let all = [(MemberId(1), Heartbeats(1))];
        watch.record(&all, start);
        let after_outage = start + 60 * SECOND;
        watch.record(&all, after_outage);
        assert_eq!(watch.silent(6 * SECOND, after_outage), []);
        for seconds in [2, 4, 6] {
            watch.record(&all, after_outage + seconds * SECOND);
        }
        assert_eq!(watch.silent(6 * SECOND, after_outage + 6 * SECOND), all);
    }
}
