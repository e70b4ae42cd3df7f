//! Actors of the tests, within the process and over the bus.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use conclib::prelude::*;
use serde_bytes::ByteBuf;
use tokio::sync::Semaphore;

use crate::Log;
use crate::messages::{
    Carry, Declined, Double, Enter, Explode, Fill, Forget, Hold, Note, Pass, Record, Recorded,
    Release, Secret, Trace, Withdraw,
};

/// Logs notes, answers `Double`, and waits at gates; for tests within the process.
#[derive(Actor, Debug)]
#[actor(urn = "worker")]
pub struct LoggingWorker(pub Log);

#[handlers]
impl LoggingWorker {
    #[handler]
    fn double(&mut self, message: Double) -> u32 {
        message.n * 2
    }

    #[handler]
    fn note(&mut self, Note(text): Note) {
        self.0.add(text);
    }

    #[handler]
    async fn pass(&mut self, Pass(gate): Pass) {
        gate.pass().await;
    }

    #[handler]
    fn forget(&mut self, _: Forget, reply: Reply<()>) {
        drop(reply);
    }
}

/// Answers at once; for tests over the bus.
#[derive(Actor, Debug, Default)]
#[actor(urn = "worker", mailbox = 20_000)]
pub struct Worker {
    recorded: Vec<u32>,
}

#[handlers]
impl Worker {
    #[handler]
    async fn double(&mut self, message: Double) -> u32 {
        message.n * 2
    }

    #[handler]
    fn record(&mut self, message: Record) {
        self.recorded.push(message.n);
    }

    #[handler]
    fn recorded(&mut self, _: Recorded) -> Vec<u32> {
        self.recorded.clone()
    }

    #[handler]
    async fn withdraw(&mut self, message: Withdraw) -> Result<u64, Declined> {
        const BALANCE: u64 = 100;
        BALANCE.checked_sub(message.cents).ok_or(Declined {
            missing: message.cents.saturating_sub(BALANCE),
        })
    }

    #[handler]
    fn fill(&mut self, message: Fill) -> ByteBuf {
        ByteBuf::from(vec![7; message.bytes])
    }

    #[handler]
    fn carry(&mut self, message: Carry) -> usize {
        message.bytes.len()
    }

    #[handler]
    fn explode(&mut self, _: Explode) {
        panic!("on purpose");
    }

    #[handler]
    fn secret(&mut self, _: Secret) -> u32 {
        42
    }
}

/// Holds replies, and sends them later or drops them.
#[derive(Actor, Debug, Default)]
#[actor(urn = "holder", mailbox = 20_000)]
pub struct ReplyHolder {
    held: Vec<Reply<u32>>,
}

#[handlers]
impl ReplyHolder {
    #[handler]
    fn hold(&mut self, _: Hold, reply: Reply<u32>) {
        self.held.push(reply);
    }

    #[handler]
    fn release(&mut self, message: Release) -> usize {
        let held = std::mem::take(&mut self.held);
        let count = held.len();
        for reply in held {
            reply.send(message.n);
        }
        count
    }

    #[handler]
    fn forget(&mut self, _: Forget, reply: Reply<()>) {
        drop(reply);
    }
}

/// Holds each `Enter` in its handler until the test admits it.
#[derive(Actor, Debug)]
#[actor(urn = "gate")]
pub struct GatedActor {
    control: GateControl,
}

/// The test's control of a [`GatedActor`].
#[derive(Debug, Clone)]
pub struct GateControl {
    permits: Arc<Semaphore>,
    entered: Arc<AtomicUsize>,
}

impl GatedActor {
    /// A closed actor and its control.
    pub fn closed() -> (Self, GateControl) {
        let control = GateControl {
            permits: Arc::new(Semaphore::new(0)),
            entered: Arc::default(),
        };
        let gate = Self {
            control: control.clone(),
        };
        (gate, control)
    }

    /// Another actor with the same control.
    pub fn controlled_by(control: &GateControl) -> Self {
        let control = control.clone();
        Self { control }
    }

    /// Waits until the test admits a message.
    ///
    /// # Errors
    ///
    /// If the control has been dropped.
    pub async fn wait(&self) -> Result<(), Failure> {
        self.control.entered.fetch_add(1, Ordering::SeqCst);
        self.control.permits.acquire().await?.forget();
        Ok(())
    }
}

impl GateControl {
    /// Admits this many messages.
    pub fn admit(&self, count: usize) {
        self.permits.add_permits(count);
    }

    /// The number of messages that the handler was called with.
    pub fn entered(&self) -> usize {
        self.entered.load(Ordering::SeqCst)
    }
}

#[handlers]
impl GatedActor {
    #[handler]
    async fn enter(&mut self, message: Enter) -> Result<u32, Failure> {
        self.wait().await?;
        Ok(message.n)
    }
}

/// Handles raw requests.
#[derive(Actor, Debug)]
#[actor(urn = "raw")]
pub struct Raw;

#[handlers]
impl Raw {
    #[handler]
    async fn anything(&mut self, envelope: RequestEnvelope) -> Result<(), UnexpectedMessage> {
        if envelope.matches::<Double>() {
            let message = envelope.extract::<Double>()?;
            envelope.respond(message.n * 2);
        } else if envelope.matches::<Trace>() {
            let pairs: Vec<_> = envelope
                .attributes()
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            envelope.respond(pairs.join(","));
        } else if envelope.matches::<Hold>() {
            // Answered from a task.
            let reply = envelope.into_reply::<Hold>();
            tokio::spawn(async move { reply.send(7) });
        } else if !envelope.matches::<Forget>() {
            return Err(envelope.unexpected());
        }
        Ok(())
    }
}
