//! Entries of earlier processes of the same instance: they have ended, or were replaced by this one.

use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use crate::bus::durable::consumer::ack::Acknowledger;
use crate::bus::durable::consumer::backlog::Backlog;
use crate::bus::durable::consumer::fetch::{DueScan, Fetcher};
use crate::bus::durable::consumer::link::PAGE;

/// The pause before a search begins again that was interrupted.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The search for entries of earlier processes of the same instance.
#[derive(Default)]
pub(super) struct Inheritance {
    scan: DueScan,
    /// Entries were left to a process that has stopped in good order, and may still handle them.
    has_alive: bool,
    /// The time of the next search.
    again: Option<Instant>,
    /// The time until which a process that was replaced may read more entries.
    until: Option<Instant>,
}

impl Inheritance {
    fn begin(&mut self) {
        self.again = None;
        self.has_alive = false;
        self.scan = DueScan {
            has_more: true,
            ..DueScan::default()
        };
    }

    /// Begins anew later.
    fn interrupt(&mut self, now: Instant) {
        self.scan = DueScan::default();
        self.again = Some(now + RETRY_PAUSE);
    }

    /// Ends a search. `pause` is that before the next one, if entries were left to another process.
    fn end(&mut self, now: Instant, pause: Duration) {
        self.again = if self.has_alive {
            Some(now + pause)
        } else {
            self.until.filter(|until| now < *until)
        };
    }
}

impl Fetcher {
    /// Has the entries claimed that earlier processes of the same instance had: they have ended, or were
    /// replaced. One that was replaced may read a few more before it knows that, which is once its lease
    /// would have expired at the latest: these are claimed then.
    pub(super) fn inherit(&mut self, now: Instant) {
        if !self.link.shared.config.instance.is_empty() {
            self.inheritance.begin();
            self.inheritance.until = Some(now + self.link.former_lease());
        }
    }

    /// True while entries of earlier processes are searched for: they come before new ones.
    pub(super) fn inherits(&self) -> bool {
        self.inheritance.scan.has_more
    }

    /// The time at which entries of earlier processes are to be claimed.
    pub(super) fn next_inheritance(&self, now: Instant) -> Option<Instant> {
        let has_more = self.inherits().then_some(now);
        has_more.or(self.inheritance.again)
    }

    /// Claims entries of earlier processes of the same instance, as far as there is room, and for a
    /// limited time. Those of a process that has stopped in good order are claimed once it has sent no
    /// heartbeat for the length of its lease.
    pub(super) async fn fetch_inherited(&mut self, backlog: &mut Backlog, ack: &mut Acknowledger) {
        let again = self.inheritance.again;
        if again.is_some_and(|again| again <= Instant::now()) {
            self.inheritance.begin();
        }
        let page = u32::try_from(PAGE).unwrap_or(u32::MAX);
        let (end, idle) = (self.search_end(), self.link.predecessors_alive());
        while self.inherits() && backlog.has_room(ack) {
            let after = self.inheritance.scan.cursor;
            let listed = self.link.transport.predecessor_claims(after, idle, page);
            let listed = match listed.await {
                Ok(listed) => listed,
                Err(error) => {
                    self.inheritance.interrupt(Instant::now());
                    return debug!(%error, "cannot list the durable messages of an earlier process yet");
                }
            };
            let search = &mut self.inheritance;
            search.has_alive |= listed.has_alive;
            search.scan.cursor = listed.next.unwrap_or_default();
            search.scan.has_more = listed.next.is_some();
            let due = backlog.decide_redeliveries(ack, &listed.pending);
            if !self.redeliver(backlog, ack, due, idle).await {
                return self.inheritance.interrupt(Instant::now());
            }
            let now = Instant::now();
            if !self.inherits() {
                return self.inheritance.end(now, idle / 3);
            }
            if now >= end {
                return;
            }
        }
    }
}
