//! Delayed messages: those that are not due leave the stream for a sorted set, and come back as new
//! entries when their time has come.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::bus::durable::consumer::link::{BATCH_BYTES, ConsumerLink, EXPECTED_SIZE, READ_COUNT};
use crate::bus::link::ewma::EwmaSize;
use crate::bus::link::log_once::Anomaly;
use crate::bus::link::retry::Retry;
use crate::bus::transport::stream::StreamEntry;
use crate::bus::transport::{ServerTime, TransportError};

/// The messages of the sorted set.
pub(super) struct DelayedMessages {
    pub(super) link: Arc<ConsumerLink>,
    /// The time of the first one, as it was last read.
    next: Option<ServerTime>,
    /// The mean size of the messages that came back.
    sizes: EwmaSize,
    retry: Retry,
}

impl DelayedMessages {
    pub(super) fn new(link: Arc<ConsumerLink>) -> Self {
        Self {
            link,
            next: None,
            sizes: EwmaSize::expecting(EXPECTED_SIZE),
            retry: Retry::default(),
        }
    }

    /// Moves entries to the set. False if they stay in the stream.
    pub(super) async fn add(&mut self, entries: Vec<StreamEntry>) -> bool {
        let first = entries.iter().filter_map(|entry| entry.options.due).min();
        let max = self.link.limits.max_delayed;
        let problem = match self.link.transport.delay(entries, max).await {
            Ok(true) => {
                self.next = self.next.into_iter().chain(first).min();
                return true;
            }
            Ok(false) => format!("there are {max} already"),
            Err(error) => error.to_string(),
        };
        self.link.log.record(Anomaly::UndelayedMessage, &problem);
        false
    }

    /// Reads the time of the first message: another consumer may have added some.
    pub(super) async fn refresh(&mut self) {
        match self.link.transport.next_delayed().await {
            Ok(next) => self.next = next,
            Err(error) => debug!(%error, "cannot read the due times of delayed messages"),
        }
    }

    /// Moves messages that are due back to the stream, as many as are read together.
    pub(super) async fn resume(&mut self) {
        let now = Instant::now();
        let bus_now = self.link.bus_time(now);
        if self.next.is_none_or(|next| next > bus_now) || !self.retry.begins(now) {
            return;
        }
        let node = self.link.shared.node.clone();
        match self.resume_batch(bus_now).await {
            Ok(()) if self.retry.has_succeeded() => {
                info!(%node, "delayed messages are delivered again");
            }
            Ok(()) => {}
            Err(error) => {
                if !self.retry.is_failing() {
                    warn!(%node, %error, "cannot deliver delayed messages that are due");
                }
                self.retry.has_failed(Instant::now());
            }
        }
    }

    async fn resume_batch(&mut self, now: ServerTime) -> Result<(), TransportError> {
        let count = self.sizes.frames(BATCH_BYTES, READ_COUNT);
        let count = u32::try_from(count).unwrap_or(1);
        let transport = &self.link.transport;
        let due = transport.due_delayed(now, count).await?;
        for entry in &due {
            self.sizes.record(entry.frame.len());
        }
        transport.resume_delayed(due).await?;
        self.next = transport.next_delayed().await?;
        Ok(())
    }

    /// The time at which messages are to come back.
    pub(super) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        let next = self.link.due_moment(self.next?, now);
        Some(self.retry.next().map_or(next, |retry| retry.max(next)))
    }
}
