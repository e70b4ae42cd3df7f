//! Entries of earlier processes of the same instance: they have ended, or were replaced by this one.

use tokio::time::Instant;
use tracing::debug;

use crate::bus::durable::consumer::ack::Acknowledger;
use crate::bus::durable::consumer::backlog::Backlog;
use crate::bus::durable::consumer::fetch::Fetcher;
use crate::bus::durable::consumer::link::PAGE;
use crate::bus::durable::inheritance::Inheritance;

impl Fetcher {
    /// Has the entries claimed that earlier processes of the same instance had: they have ended, or were
    /// replaced. One that was replaced may read a few more before it knows that, which is once its lease
    /// would have expired at the latest: these are claimed then.
    pub(super) fn inherit(&mut self, now: Instant) {
        if !self.link.shared.config.instance.is_empty() {
            let until = now + self.link.former_lease();
            self.inheritance = Inheritance::begin(until);
        }
    }

    /// True while entries of earlier processes are searched for: they come before new ones.
    pub(super) fn inherits(&self) -> bool {
        self.inheritance.is_under_way()
    }

    /// The time at which entries of earlier processes are to be claimed.
    pub(super) fn next_inheritance(&self, now: Instant) -> Option<Instant> {
        self.inheritance.wakes_at(now)
    }

    /// Claims entries of earlier processes of the same instance, as far as there is room, and for a
    /// limited time. Those of a process that has stopped in good order are claimed once it has sent no
    /// heartbeat for the length of its lease.
    pub(super) async fn fetch_inherited(&mut self, backlog: &mut Backlog, ack: &mut Acknowledger) {
        self.inheritance.repeat_if_due(Instant::now());
        let page = u32::try_from(PAGE).unwrap_or(u32::MAX);
        let (end, idle) = (self.search_end(), self.link.predecessors_alive());
        while self.inherits() && backlog.has_room(ack) {
            let after = self.inheritance.cursor();
            let listed = self.link.transport.predecessor_claims(after, idle, page);
            let listed = match listed.await {
                Ok(listed) => listed,
                Err(error) => {
                    self.inheritance.interrupt(Instant::now());
                    return debug!(%error, "cannot list the durable messages of an earlier process yet");
                }
            };
            self.inheritance.proceed(&listed);
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
