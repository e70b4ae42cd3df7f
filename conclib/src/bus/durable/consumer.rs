//! Takes durable messages from the stream, gives them to actors, and removes those that are over.
//!
//! One task, which does one thing at a time on the bus; only a read is under way meanwhile. Unlike
//! the popper it waits for actors: what a mailbox does not take stays in hand, and what there is no
//! room for in the hand stays in the stream.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use crate::bus::config::Config;
use crate::bus::durable::foreign_claims::ForeignClaims;
use crate::bus::durable::prefetch::{Delivery, EntrySource, Prefetch};
use crate::bus::durable::quarantine::Quarantine;
use crate::bus::durable::redelivery::{RetryDecision, STREAM_BACKOFF, decide_retry};
use crate::bus::durable::retry::Retry;
use crate::bus::link::ewma::MeanSize;
use crate::bus::link::log_once::Noise;
use crate::bus::server::fence::Fence;
use crate::bus::server::{FINISH, Shared, publisher as outlet};
use crate::bus::transport::TransportError;
use crate::bus::transport::stream::{Attempts, EntryId, StreamConsumer, StreamEntry};
use crate::error::AskError;
use crate::reply::remote::{Origin, Outcome, ResponseSink};

use ack::AckQueue;

mod ack;
mod deliver;
mod drain;
mod fetch;
mod handover;
mod last_delivery;

/// How long a read waits for a message.
const BLOCK: Duration = Duration::from_secs(2);

/// How many messages a read takes.
const READ: usize = 128;

/// About how many bytes of messages or answers travel at a time: the lease is renewed on the same
/// connection, and must not wait long.
const BATCH_BYTES: usize = 1024 * 1024;

/// How large messages are taken to be before any has come: none of the first batches is to be huge.
const EXPECTED: usize = 64 * 1024;

/// How many messages are asked about, or touched, at a time.
const PAGE: usize = 512;

/// More than there is ever in hand without repetitions.
const IN_HAND: u64 = 1024;

/// For messages that anybody may take over at once.
const LONG_AGO: Duration = Duration::from_secs(24 * 60 * 60);

/// The limits of a consumer.
#[derive(Debug, Clone, Copy)]
struct Limits {
    visibility: Duration,
    max_deliveries: u32,
    keep_replies: Duration,
    max_frame: usize,
    /// How many messages may be kept in mind: all that a stream is to hold, and what is in hand.
    max_known: usize,
}

impl Limits {
    fn new(config: &Config) -> Self {
        Self {
            visibility: config.visibility,
            max_deliveries: config.max_deliveries,
            keep_replies: config.keep_replies,
            max_frame: config.max_frame,
            max_known: usize::try_from(config.max_kept.saturating_add(IN_HAND))
                .unwrap_or(usize::MAX),
        }
    }

    /// How often there is a sign of life for what is in hand.
    fn heartbeat(&self) -> Duration {
        self.visibility / 3
    }
}

type Reading = Pin<Box<dyn Future<Output = Result<Vec<StreamEntry>, TransportError>> + Send>>;

struct Consumer {
    shared: Arc<Shared>,
    transport: Arc<dyn StreamConsumer>,
    limits: Limits,
    /// That of the reign in which it serves; none before it knows what others still have.
    fence: Option<Arc<Fence>>,
    prefetch: Prefetch,
    /// Messages that are delivered one at a time, since they may end the process.
    quarantine: Quarantine,
    foreign: ForeignClaims,
    /// Where actors' answers go, under the numbers of their cards …
    ack_channel: Arc<AckChannel>,
    /// … and come from.
    answers: mpsc::UnboundedReceiver<(u64, Outcome)>,
    /// What is over, and not yet removed from the stream.
    acks: AckQueue,
    /// The read under way.
    reading: Option<Reading>,
    /// When to read again after the bus has failed.
    rereading: Retry,
    /// When to ask for parked messages again after that.
    resume_retry: Retry,
    /// How large messages are.
    mean: MeanSize,
    /// How many messages are taken over at a time, at most: fewer after that has failed.
    claim: usize,
    /// When to touch and look for what is due.
    heartbeat: Instant,
    /// Where to look next for what is due.
    cursor: EntryId,
    /// There is more there, and the next look is not to wait for the heartbeat.
    has_more_due: bool,
    /// No more is taken, and what fails is given back at once.
    is_leaving: bool,
    noise: Noise,
}

/// Passes answers on to the consumer.
struct AckChannel(mpsc::UnboundedSender<(u64, Outcome)>);

impl ResponseSink for AckChannel {
    fn respond(&self, origin: Origin, _: Option<Instant>, outcome: Outcome) {
        // Without a receiver the consumer has left, and the message is another's.
        drop(self.0.send((origin.id, outcome)));
    }
}

/// Serves in all reigns, until the proxy is to stop or another system serves; then sees out what
/// actors have.
pub(crate) async fn consume(shared: Arc<Shared>) {
    if let Some(transport) = open(&shared).await {
        let mut consumer = Consumer::new(shared, transport);
        consumer.serve().await;
        consumer.leave().await;
    }
}

/// A consumer's end of the bus, with the stream made. A bus that does not let this proxy have one
/// must not keep it from serving the rest.
async fn open(shared: &Shared) -> Option<Arc<dyn StreamConsumer>> {
    let mut failures = 0;
    let attempts = async {
        while shared.reigns().await {
            let why = match shared.transport.consumer().await {
                Ok(transport) => match transport.create_group().await {
                    Ok(()) => {
                        if failures > 0 {
                            info!(node = %shared.node, "durable messages are taken");
                        }
                        return Some(transport);
                    }
                    Err(why) => {
                        transport.stop_reading().await;
                        why
                    }
                },
                Err(why) => why,
            };
            if failures == 0 {
                warn!(node = %shared.node, %why, "durable messages cannot be taken yet: they wait on the bus");
            }
            sleep(STREAM_BACKOFF.delay(failures)).await;
            failures += 1;
        }
        None
    };
    tokio::select! {
        biased;
        () = shared.stop.cancelled() => None,
        opened = attempts => opened,
    }
}

impl Consumer {
    fn new(shared: Arc<Shared>, transport: Arc<dyn StreamConsumer>) -> Self {
        let (ack_channel, answers) = mpsc::unbounded_channel();
        Self {
            limits: Limits::new(&shared.config),
            shared,
            transport,
            fence: None,
            prefetch: Prefetch::default(),
            quarantine: Quarantine::new(Instant::now()),
            foreign: ForeignClaims::default(),
            ack_channel: Arc::new(AckChannel(ack_channel)),
            answers,
            acks: AckQueue::default(),
            reading: None,
            rereading: Retry::default(),
            resume_retry: Retry::default(),
            mean: MeanSize::expecting(EXPECTED),
            claim: PAGE,
            heartbeat: Instant::now(),
            cursor: EntryId::default(),
            has_more_due: false,
            is_leaving: false,
            noise: Noise::default(),
        }
    }

    async fn serve(&mut self) {
        let stop = self.shared.stop.clone();
        while !stop.is_cancelled() {
            if !self.is_serving() {
                // Another may serve meanwhile. What is with actors goes on; the rest is asked for
                // again.
                self.prefetch.defer_all_waiting();
                let begun = stop.run_until_cancelled(self.begin_to_serve()).await;
                if begun != Some(true) {
                    return;
                }
            }
            self.work().await;
            self.wait().await;
        }
    }

    /// All that can be done now.
    async fn work(&mut self) {
        let now = Instant::now();
        if now >= self.heartbeat {
            self.heartbeat = now + self.limits.heartbeat();
            self.touch().await;
            let theirs = self.foreign.all();
            self.forget_what_others_have_not(&theirs).await;
            self.give_up_missing_actors().await;
            self.take_due().await;
        } else if self.has_more_due {
            self.take_due().await;
        }
        self.end().await;
        if !self.acks.is_full() {
            self.look_whether_others_are_done().await;
            self.deliver_alone().await;
            if self.quarantine.admits_others() {
                self.resume().await;
                self.offer();
            }
        }
        self.begin_to_read(now);
    }

    /// Until there is something to do again.
    async fn wait(&mut self) {
        let now = Instant::now();
        let next = self.wakes_at(now);
        let reading = async {
            match &mut self.reading {
                Some(reading) => reading.await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => {}
            _ = self.shared.stopped.wait() => {}
            // First, since answers may come without end.
            read = reading => {
                self.reading = None;
                self.have_read(read).await;
            }
            Some((ticket, outcome)) = self.answers.recv() => self.answered(ticket, outcome),
            () = sleep_until(next) => {}
        }
    }

    /// When there is something to do, whatever happens.
    fn wakes_at(&self, now: Instant) -> Instant {
        // Messages that wait until there is room for acks, or until one was delivered alone,
        // must not wake it before.
        let has_room = !self.acks.is_full();
        let may_offer = has_room && self.quarantine.admits_others();
        let quarantined = self.quarantine.wakes_at(self.limits.visibility);
        let next = [
            Some(self.heartbeat),
            self.prefetch.next_due(now).filter(|_| may_offer),
            self.acks.next_attempt(),
            self.rereading.next(),
            self.resume_retry.next().filter(|_| may_offer),
            quarantined.filter(|_| has_room),
            self.foreign.next().filter(|_| has_room),
            self.has_more_due.then_some(now),
        ];
        next.into_iter().flatten().min().unwrap_or(self.heartbeat)
    }

    /// False while there is no room for more.
    fn may_take(&self) -> bool {
        self.prefetch.known() < self.limits.max_known && !self.acks.is_full()
    }

    fn begin_to_read(&mut self, now: Instant) {
        // What rests is taken again in any case, and counts only here.
        let is_room = self.prefetch.known() + self.prefetch.resting() < self.limits.max_known;
        let may_read = self.rereading.begins(now) && self.may_take() && is_room;
        if self.reading.is_none() && may_read {
            let transport = self.transport.clone();
            let count = u32::try_from(self.mean.frames(BATCH_BYTES, READ)).unwrap_or(1);
            self.reading = Some(Box::pin(async move { transport.read(count, BLOCK).await }));
        }
    }

    async fn have_read(&mut self, read: Result<Vec<StreamEntry>, TransportError>) {
        let why = match read {
            Ok(messages) => {
                if self.rereading.has_succeeded() {
                    info!(node = %self.shared.node, "durable messages are taken again");
                }
                let messages = messages.into_iter();
                let messages = messages.map(|message| (message, Attempts::new(1)));
                let _ = self.admit(messages.collect(), EntrySource::Stream).await;
                return;
            }
            Err(why) => why,
        };
        if !self.rereading.is_failing() {
            warn!(node = %self.shared.node, %why, "durable messages cannot be taken: they wait on the bus");
        }
        self.rereading.has_failed(Instant::now());
        self.make_the_stream().await;
    }

    /// A bus that has lost its data has lost the stream and its group as well.
    async fn make_the_stream(&mut self) {
        if let Err(why) = self.transport.create_group().await {
            debug!(%why, "the stream cannot be made");
        }
    }

    /// Settles a message that is over.
    fn answered(&mut self, ticket: u64, outcome: Outcome) {
        let Some(delivery) = self.prefetch.settle(ticket) else {
            return;
        };
        let limit = self.limits.max_frame;
        let error = match outcome {
            Ok(answer) if answer.len() > limit => outlet::too_large(answer.len(), limit),
            Ok(answer) => return self.acks.handled(&delivery, answer),
            Err(error) => error,
        };
        self.failed(delivery, &error);
    }

    fn failed(&mut self, delivery: Delivery, error: &AskError) {
        let Limits { max_deliveries, .. } = self.limits;
        match decide_retry(error, delivery.message.attempts.deliveries, max_deliveries) {
            RetryDecision::DeadLetter => self.acks.dead(delivery, error, error.to_string()),
            RetryDecision::Again => {
                debug!(urn = delivery.message.urn, %error, "a durable message will be tried again");
                self.prefetch.release(&delivery.ids());
                let attempts = delivery.attempts().into_iter();
                let attempts: Vec<_> = attempts.map(|(id, one)| (id, one.failed())).collect();
                if self.is_leaving {
                    return self.acks.given_back(attempts);
                }
                for (id, attempts) in &attempts {
                    self.prefetch.rest(*id, *attempts);
                }
                self.acks.failed(attempts);
            }
        }
    }

    /// Takes what actors have answered meanwhile, and ends what is over.
    async fn end(&mut self) {
        while let Ok((ticket, outcome)) = self.answers.try_recv() {
            self.answered(ticket, outcome);
        }
        self.end_all().await;
    }
}

#[cfg(test)]
mod tests;
