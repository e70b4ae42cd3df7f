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

use super::{FINISH, Shared, outlet};
use crate::actor::cell::Undelivered;
use crate::envelope::RequestEnvelope;
use crate::error::AskError;
use crate::proxy::config::Config;
use crate::proxy::durable::hand::{Card, From, Hand};
use crate::proxy::durable::verdict::{Verdict, judge, pause_after};
use crate::proxy::frame::Received;
use crate::proxy::noise::Noise;
use crate::proxy::transport::TransportError;
use crate::proxy::transport::durable::{ConsumeTransport, EntryId, Kept};
use crate::registry::Registry;
use crate::responder::{Origin, Outcome, Responder, ResponseSink};
use crate::urn::Urn;

use ending::Endings;

mod ending;
mod taking;

/// How long a read waits for a message.
const BLOCK: Duration = Duration::from_secs(2);

/// How many messages a read takes.
const READ: u32 = 128;

/// How many messages are asked about, or touched, at a time.
const PAGE: usize = 512;

/// For messages that anybody may take over at once.
const LONG_AGO: Duration = Duration::from_secs(24 * 60 * 60);

/// The bounds of a consumer.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    visibility: Duration,
    max_deliveries: u32,
    keep_replies: Duration,
    max_frame: usize,
    /// How many messages may be parked.
    max_parked: usize,
}

impl Bounds {
    fn new(config: &Config) -> Self {
        Self {
            visibility: config.visibility,
            max_deliveries: config.max_deliveries,
            keep_replies: config.keep_replies,
            max_frame: config.max_frame,
            max_parked: usize::try_from(config.max_kept).unwrap_or(usize::MAX),
        }
    }

    /// How often there is a sign of life for what is in hand.
    fn beat(&self) -> Duration {
        self.visibility / 3
    }
}

type Reading = Pin<Box<dyn Future<Output = Result<Vec<Kept>, TransportError>> + Send>>;

struct Consumer {
    shared: Arc<Shared>,
    transport: Arc<dyn ConsumeTransport>,
    bounds: Bounds,
    hand: Hand,
    /// Where actors' answers go, under the numbers of their cards …
    desk: Arc<Desk>,
    /// … and come from.
    answers: mpsc::UnboundedReceiver<(u64, Outcome)>,
    /// What is over, and not yet removed from the stream.
    endings: Endings,
    /// The read under way.
    reading: Option<Reading>,
    /// When to read again after the bus has failed, and how often it has.
    read_again: Option<Instant>,
    failures: u32,
    /// When to touch and look for what is due.
    beat: Instant,
    /// Where to look next for what is due.
    cursor: EntryId,
    /// There is more there, and the next look is not to wait for the beat.
    has_more_due: bool,
    /// No more is taken, and what fails is given back at once.
    is_leaving: bool,
    noise: Noise,
}

/// Passes answers on to the consumer.
struct Desk(mpsc::UnboundedSender<(u64, Outcome)>);

impl ResponseSink for Desk {
    fn respond(&self, origin: Origin, _: Option<Instant>, outcome: Outcome) {
        // Without a receiver the consumer has left, and the message is another's.
        drop(self.0.send((origin.id, outcome)));
    }
}

/// Serves in all reigns, until the proxy is to stop or another system serves; then sees out what
/// actors have.
pub(super) async fn consume(shared: Arc<Shared>) {
    if let Some(transport) = open(&shared).await {
        let mut consumer = Consumer::new(shared, transport);
        consumer.serve().await;
        consumer.leave().await;
    }
}

/// A consumer's end of the bus, with the stream made. A bus that does not let this proxy have one
/// must not keep it from serving the rest.
async fn open(shared: &Shared) -> Option<Arc<dyn ConsumeTransport>> {
    let mut failures = 0;
    let attempts = async {
        while shared.reigns().await {
            let why = match shared.transport.consumer().await {
                Ok(transport) => match transport.prepare().await {
                    Ok(()) => return Some(transport),
                    Err(why) => {
                        transport.stop_reading().await;
                        why
                    }
                },
                Err(why) => why,
            };
            if failures == 0 {
                warn!(node = %shared.node, %why, "no durable messages can be taken yet");
            }
            sleep(pause_after(failures)).await;
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
    fn new(shared: Arc<Shared>, transport: Arc<dyn ConsumeTransport>) -> Self {
        let (desk, answers) = mpsc::unbounded_channel();
        Self {
            bounds: Bounds::new(&shared.config),
            shared,
            transport,
            hand: Hand::default(),
            desk: Arc::new(Desk(desk)),
            answers,
            endings: Endings::default(),
            reading: None,
            read_again: None,
            failures: 0,
            beat: Instant::now(),
            cursor: EntryId::default(),
            has_more_due: false,
            is_leaving: false,
            noise: Noise::default(),
        }
    }

    async fn serve(&mut self) {
        let stop = self.shared.stop.clone();
        while !stop.is_cancelled() {
            if !self.shared.is_reigning() {
                // Another may serve meanwhile. What is with actors goes on; the rest is asked for
                // again.
                self.hand.park_all_that_waits();
                let opened = stop.run_until_cancelled(self.shared.reigns()).await;
                if opened != Some(true) {
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
        if now >= self.beat {
            self.beat = now + self.bounds.beat();
            self.touch().await;
            self.take_due().await;
        } else if self.has_more_due {
            self.take_due().await;
        }
        self.end().await;
        if !self.endings.is_full() {
            self.unpark().await;
            self.offer();
        }
        self.begin_to_read(now);
    }

    /// Until there is something to do again.
    async fn wait(&mut self) {
        let now = Instant::now();
        let next = [
            Some(self.beat),
            self.hand.next_due(now),
            self.endings.next_attempt(),
            self.read_again,
            self.has_more_due.then_some(now),
        ];
        let next = next.into_iter().flatten().min().unwrap_or(self.beat);
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

    fn begin_to_read(&mut self, now: Instant) {
        let may_read = self.hand.parked() < self.bounds.max_parked && !self.endings.is_full();
        if self.read_again.is_some_and(|again| again <= now) {
            self.read_again = None;
        }
        if self.reading.is_none() && may_read && self.read_again.is_none() {
            let transport = self.transport.clone();
            self.reading = Some(Box::pin(async move { transport.read(READ, BLOCK).await }));
        }
    }

    async fn have_read(&mut self, read: Result<Vec<Kept>, TransportError>) {
        let why = match read {
            Ok(messages) => {
                if std::mem::take(&mut self.failures) > 0 {
                    info!(node = %self.shared.node, "durable messages are taken again");
                }
                let messages = messages.into_iter().map(|message| (message, 1));
                return self.admit(messages.collect(), From::Stream).await;
            }
            Err(why) => why,
        };
        if self.failures == 0 {
            warn!(node = %self.shared.node, %why, "durable messages cannot be taken");
        }
        self.read_again = Some(Instant::now() + pause_after(self.failures));
        self.failures = self.failures.saturating_add(1);
        // A bus that has lost its data has lost the group as well.
        if let Err(why) = self.transport.prepare().await {
            debug!(%why, "the stream cannot be made");
        }
    }

    /// Offers actors what waits for them.
    fn offer(&mut self) {
        let now = Instant::now();
        for urn in self.hand.due(now) {
            while self.shared.is_reigning()
                && let Some((ticket, card)) = self.hand.first(&urn)
            {
                match deliver(&self.shared.registry, &self.desk, ticket, card) {
                    Ok(()) => self.hand.delivered(&urn),
                    // It may be about to start, but not for ever.
                    Err(Refused::Missing) if card.since + self.bounds.visibility <= now => {
                        let urn = Urn::unchecked(&urn);
                        self.answered(ticket, Err(AskError::ActorNotFound { urn }));
                    }
                    Err(_) => {
                        self.hand.refused(&urn, now);
                        break;
                    }
                }
            }
        }
    }

    /// Settles a message that is over.
    fn answered(&mut self, ticket: u64, outcome: Outcome) {
        let Some(card) = self.hand.settle(ticket) else {
            return;
        };
        let limit = self.bounds.max_frame;
        let error = match outcome {
            Ok(answer) if answer.len() > limit => outlet::too_large(answer.len(), limit),
            Ok(answer) => return self.endings.handled(&card, answer),
            Err(error) => error,
        };
        self.failed(card, &error);
    }

    fn failed(&mut self, card: Card, error: &AskError) {
        let Bounds { max_deliveries, .. } = self.bounds;
        match judge(error, card.message.deliveries, max_deliveries) {
            Verdict::Bury => self.endings.dead(card, error),
            Verdict::Again => {
                debug!(urn = card.message.urn, %error, "a durable message will be tried again");
                self.hand.release(&card.ids());
                if self.is_leaving {
                    self.endings.given_back(card.deliveries());
                }
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

    /// Gives back what no actor has, and waits for the rest; not for ever, if nobody waits for that.
    async fn leave(&mut self) {
        self.is_leaving = true;
        self.transport.stop_reading().await; // one may be blocked
        let back = self.hand.give_back();
        self.lay_aside(back, LONG_AGO).await;
        if self.reading.take().is_some() {
            self.give_back_what_was_not_heard_of().await;
        }
        let abandoned = self.shared.abandoned.clone();
        let patience = async move {
            abandoned.cancelled().await;
            // Others have to come to their end as well.
            sleep(FINISH.mul_f64(0.9)).await;
        };
        tokio::pin!(patience);
        loop {
            self.end().await;
            if self.hand.is_empty() && self.endings.is_empty() {
                return;
            }
            if Instant::now() >= self.beat {
                self.beat = Instant::now() + self.bounds.beat();
                self.touch().await;
            }
            let next = self.endings.next_attempt().unwrap_or(self.beat);
            tokio::select! {
                biased;
                () = &mut patience => break,
                Some((ticket, outcome)) = self.answers.recv() => self.answered(ticket, outcome),
                () = sleep_until(next.min(self.beat)) => {}
            }
        }
        let rest = self.hand.abandon();
        warn!(
            count = rest.len(),
            "durable messages were not handled in time; others take them over"
        );
        self.lay_aside(rest, LONG_AGO).await;
    }
}

/// Why an actor has not taken a message.
enum Refused {
    Full,
    Missing,
}

/// Puts a message into its actor's mailbox.
fn deliver(registry: &Registry, desk: &Arc<Desk>, ticket: u64, card: &Card) -> Result<(), Refused> {
    let message = &card.message;
    let actor = registry.get(&message.urn);
    let actor = actor.filter(|actor| !actor.is_private());
    let actor = actor.ok_or(Refused::Missing)?;
    let Ok(request) = Received::decode(&message.frame) else {
        return Err(Refused::Full); // it was read when it was taken
    };
    let origin = Origin {
        id: ticket,
        ..Origin::default()
    };
    let envelope = RequestEnvelope {
        urn: actor.urn().clone(),
        message: request.message.to_owned(),
        contents: request.contents,
        attributes: request.attributes,
        deadline: None,
        responder: Arc::new(Responder::new(desk.clone(), origin, true, None)),
        held: None,
    };
    match actor.deliver(Box::new(envelope)) {
        Ok(()) => Ok(()),
        Err(Undelivered::Full(envelope)) => {
            envelope.responder.forget();
            Err(Refused::Full)
        }
        Err(Undelivered::Stopped(envelope)) => {
            envelope.responder.forget();
            Err(Refused::Missing)
        }
    }
}
