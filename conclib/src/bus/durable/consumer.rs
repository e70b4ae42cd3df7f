//! The consumer moves durable messages from the stream to actors, and acknowledges them.
//!
//! Messages pass four parts in one direction, and each part uses only those behind it:
//!
//! - [`fetch`] claims entries of the stream: new ones, due ones, those [`scheduled`] for a retry, and
//!   deferred ones when there is room
//! - [`backlog`] decodes them, looks for duplicates, and queues them for their actors
//! - [`deliver`] puts them into mailboxes, and gets the outcomes
//! - [`ack`] caches results, removes entries, writes dead letters, and then answers callers
//!
//! A part asks the one behind it for room: a message that a mailbox does not accept stays prefetched,
//! one that there is no room for stays in the stream, and so does one whose actor is [`missing`]. Those
//! that are not due leave it for a sorted set ([`delayed`]).
//! [`isolated`] makes last deliveries of messages
//! that may end their process, [`handover`] begins a lease term, and [`drain`] ends the consumer.
//!
//! One task runs all of this, one call to the bus at a time; only a read is in progress meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use crate::bus::link::retry::STREAM_BACKOFF;
use crate::bus::server::ProxyShared;
use crate::bus::transport::stream::StreamConsumer;

use ack::Acknowledger;
use backlog::Backlog;
use deliver::Deliverer;
use fetch::Fetcher;
use link::ConsumerLink;

mod ack;
mod backlog;
mod decode;
mod delay;
mod delayed;
mod deliver;
mod drain;
mod fetch;
mod handover;
mod inherited;
mod isolated;
mod link;
mod missing;
mod scheduled;
#[cfg(test)]
mod tests;
mod unconfirmed;

/// The time for which a read waits for the first message.
const READ_WAIT: Duration = Duration::from_secs(2);

struct Consumer {
    link: Arc<ConsumerLink>,
    fetch: Fetcher,
    backlog: Backlog,
    deliver: Deliverer,
    ack: Acknowledger,
    /// The time at which claims are to be extended, and due entries to be claimed.
    next_heartbeat: Instant,
}

/// Serves in all lease terms, until the proxy is to stop or another system serves; then drains.
pub(in crate::bus) async fn consume(shared: Arc<ProxyShared>) {
    if let Some(transport) = open(&shared).await {
        let mut consumer = Consumer::new(shared, transport);
        consumer.serve().await;
        consumer.drain().await;
        let counters = &consumer.link.counters();
        counters.in_flight.store(0, Ordering::Relaxed);
        counters.deferred.store(0, Ordering::Relaxed);
    }
}

/// Opens the stream and creates its group. Tries again until that succeeds: a bus without permission for
/// durable messages must not keep the proxy from serving requests.
async fn open(shared: &ProxyShared) -> Option<Arc<dyn StreamConsumer>> {
    let mut failures = 0;
    let attempts = async {
        while shared.open_term_now().await.is_some() {
            let error = match shared.transport.consumer(&shared.config.instance).await {
                Ok(transport) => match transport.create_group().await {
                    Ok(()) => {
                        if failures > 0 {
                            info!(node = %shared.node, "durable messages are served");
                        }
                        return Some(transport);
                    }
                    Err(error) => {
                        transport.stop_reading().await;
                        error
                    }
                },
                Err(error) => error,
            };
            if failures == 0 {
                warn!(node = %shared.node, %error, "cannot serve durable messages yet: they wait on the bus");
            }
            sleep(STREAM_BACKOFF.delay(failures)).await;
            failures += 1;
        }
        None
    };
    tokio::select! {
        biased;
        () = shared.stop.cancelled() => None,
        _ = shared.stopped.wait() => None,
        opened = attempts => opened,
    }
}

impl Consumer {
    fn new(shared: Arc<ProxyShared>, transport: Arc<dyn StreamConsumer>) -> Self {
        let link = Arc::new(ConsumerLink::new(shared, transport));
        Self {
            fetch: Fetcher::new(link.clone()),
            backlog: Backlog::new(link.clone()),
            deliver: Deliverer::new(link.clone()),
            ack: Acknowledger::new(link.clone()),
            next_heartbeat: Instant::now(),
            link,
        }
    }

    async fn serve(&mut self) {
        let stop = self.link.shared.stop.clone();
        while !stop.is_cancelled() {
            if !self.deliver.is_in_term() {
                // Another system may serve meanwhile. Messages that actors have continue; the others are
                // claimed again.
                self.backlog.prefetch.defer_all_waiting();
                let begun = stop.run_until_cancelled(self.begin_term()).await;
                if begun != Some(true) {
                    return;
                }
            }
            self.work().await;
            self.wait().await;
        }
    }

    /// Does everything that can be done now.
    async fn work(&mut self) {
        let now = Instant::now();
        if now >= self.next_heartbeat {
            self.send_heartbeat().await;
            let foreign = self.backlog.foreign.entries();
            self.backlog.refresh_foreign_claims(&foreign).await;
            self.defer_absent_actors();
            self.backlog.delayed.refresh().await;
            self.fetch.fetch_due(&mut self.backlog, &mut self.ack).await;
        } else if self.fetch.has_more_due() {
            self.fetch.fetch_due(&mut self.backlog, &mut self.ack).await;
        }
        self.acknowledge().await;
        if !self.ack.is_full() {
            self.fetch
                .confirm_reads(&mut self.backlog, &mut self.ack)
                .await;
            self.fetch
                .fetch_inherited(&mut self.backlog, &mut self.ack)
                .await;
            self.fetch
                .fetch_held(&mut self.backlog, &mut self.ack)
                .await;
            self.fetch
                .look_for_actors(&mut self.backlog, &mut self.ack)
                .await;
            self.deliver_isolated().await;
            if self.backlog.quarantine.allows_regular() {
                self.fetch
                    .fetch_scheduled(&mut self.backlog, &mut self.ack)
                    .await;
                self.fetch
                    .fetch_deferred(&mut self.backlog, &mut self.ack)
                    .await;
                let prefetch = &mut self.backlog.prefetch;
                self.deliver.deliver_due(prefetch, &mut self.ack);
            }
        }
        // New messages come behind those of earlier processes.
        let has_room = self.backlog.has_room_for_new(&self.ack) && !self.fetch.inherits();
        if has_room {
            self.backlog.delayed.resume().await;
        }
        self.fetch.begin_read(now, has_room);
        self.count_backlog();
    }

    /// Publishes the numbers of messages that are known here.
    fn count_backlog(&self) {
        let (in_flight, deferred) = self.backlog.counts(&self.ack);
        let counters = self.link.counters();
        counters.in_flight.store(in_flight, Ordering::Relaxed);
        counters.deferred.store(deferred, Ordering::Relaxed);
    }

    /// Waits until there is something to do again.
    async fn wait(&mut self) {
        let next = self.wakes_at(Instant::now());
        tokio::select! {
            biased;
            () = self.link.shared.stop.cancelled() => {}
            _ = self.link.shared.stopped.wait() => {}
            // Before the outcomes, which may come without end.
            read = self.fetch.finish_read() => {
                self.fetch.admit_read(&mut self.backlog, &mut self.ack, read).await;
            }
            (ticket, outcome) = self.deliver.outcome() => {
                let prefetch = &mut self.backlog.prefetch;
                self.deliver.complete(prefetch, &mut self.ack, ticket, outcome);
            }
            () = sleep_until(next) => {}
        }
    }

    /// The time at which there is something to do, whatever else happens.
    fn wakes_at(&self, now: Instant) -> Instant {
        // Messages that wait until there is room for acknowledgements, or for the end of an isolated
        // delivery, must not wake the consumer before.
        let has_room = !self.ack.is_full();
        let has_room_for_new = self.backlog.has_room_for_new(&self.ack) && !self.fetch.inherits();
        let may_inherit = self.backlog.has_room(&self.ack);
        let may_deliver = has_room && self.backlog.quarantine.allows_regular();
        let visibility = self.link.limits.visibility;
        let quarantine = self.backlog.quarantine.wakes_at(visibility);
        let next = [
            Some(self.next_heartbeat),
            self.backlog.prefetch.next_due(now).filter(|_| may_deliver),
            self.ack.next_attempt(),
            self.ack.has_attempts().then_some(now),
            self.backlog.next_lookup().filter(|_| has_room),
            self.fetch.next_read_attempt(),
            self.backlog.unconfirmed.next_look().filter(|_| has_room),
            self.backlog.resume_retry.next().filter(|_| may_deliver),
            self.backlog
                .delayed
                .wakes_at(now)
                .filter(|_| has_room_for_new),
            self.backlog.next_scheduled().filter(|_| may_deliver),
            quarantine.filter(|_| has_room),
            self.backlog.foreign.next_check().filter(|_| has_room),
            self.fetch.has_more_due().then_some(now),
            self.fetch.next_inheritance(now).filter(|_| may_inherit),
        ];
        next.into_iter()
            .flatten()
            .min()
            .unwrap_or(self.next_heartbeat)
    }

    /// Extends the claims of all entries that this consumer has claimed: prefetched, held, or waiting
    /// to be acknowledged.
    async fn send_heartbeat(&mut self) {
        self.next_heartbeat = Instant::now() + self.link.limits.heartbeat;
        let claimed = self.backlog.claimed_entries(&self.ack);
        self.link.extend_claims(&claimed).await;
    }

    /// Passes on the outcomes that have come in, and acknowledges messages.
    async fn acknowledge(&mut self) {
        let prefetch = &mut self.backlog.prefetch;
        self.deliver.complete_finished(prefetch, &mut self.ack);
        self.ack.flush().await;
    }
}
