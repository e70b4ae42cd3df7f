//! Entries of earlier processes of the same instance: they have ended, or were replaced by this one.

use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use crate::bus::durable::consumer::ack::Acknowledger;
use crate::bus::durable::consumer::backlog::Backlog;
use crate::bus::durable::consumer::fetch::{DueScan, Fetcher};
use crate::bus::durable::consumer::link::PAGE;

impl DueScan {
    fn from_start() -> Self {
        Self {
            has_more: true,
            ..Self::default()
        }
    }
}

impl Fetcher {
    /// Has the entries claimed that earlier processes of the same instance had: they have ended, or were
    /// replaced. One that was replaced may read a few more before it knows that, which is once its lease
    /// would have expired at the latest: these are claimed then.
    pub(super) fn inherit(&mut self, now: Instant) {
        let config = &self.link.shared.config;
        if !config.instance.is_empty() {
            self.inherited = DueScan::from_start();
            self.inherits_again = Some(now + config.lease_duration);
        }
    }

    /// The time at which entries of earlier processes are to be claimed.
    pub(super) fn next_inheritance(&self, now: Instant) -> Option<Instant> {
        let has_more = self.inherited.has_more.then_some(now);
        has_more.or(self.inherits_again)
    }

    /// Claims entries of earlier processes of the same instance, as far as there is room.
    pub(super) async fn fetch_inherited(&mut self, backlog: &mut Backlog, ack: &mut Acknowledger) {
        if self
            .inherits_again
            .is_some_and(|again| again <= Instant::now())
        {
            self.inherits_again = None;
            self.inherited = DueScan::from_start();
        }
        let page = u32::try_from(PAGE).unwrap_or(u32::MAX);
        while self.inherited.has_more && backlog.has_room(ack) {
            let after = self.inherited.cursor;
            let listed = match self.link.transport.predecessor_claims(after, page).await {
                Ok(listed) => listed,
                Err(error) => {
                    // They are due after the visibility time.
                    self.inherited = DueScan::default();
                    return debug!(%error, "cannot list the durable messages of an earlier process");
                }
            };
            self.inherited.cursor = listed.next.unwrap_or_default();
            self.inherited.has_more = listed.next.is_some();
            let due = backlog.decide_redeliveries(ack, &listed.pending);
            if !self.redeliver(backlog, ack, due, Duration::ZERO).await {
                return;
            }
        }
    }
}
