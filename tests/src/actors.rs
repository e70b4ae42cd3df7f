//! The actors that are asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use conclib::prelude::*;
use serde_bytes::ByteBuf;
use tokio::sync::Semaphore;

use crate::messages::{
    Carry, Declined, Double, Explode, Fill, Forget, Hold, Pass, Record, Recorded, Release, Secret,
    Trace, Withdraw,
};

/// Answers at once.
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

/// Answers later, or never.
#[derive(Actor, Debug, Default)]
#[actor(urn = "keeper", mailbox = 20_000)]
pub struct Keeper {
    held: Vec<Reply<u32>>,
}

#[handlers]
impl Keeper {
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

/// Waits in its handler until it is let go on.
#[derive(Actor, Debug)]
#[actor(urn = "gate")]
pub struct Gate {
    watch: Watch,
}

/// What a test sees of a [`Gate`], and how it lets the gate go on.
#[derive(Debug, Clone)]
pub struct Watch {
    permits: Arc<Semaphore>,
    entered: Arc<AtomicUsize>,
}

impl Gate {
    /// A gate that is closed.
    pub fn closed() -> (Self, Watch) {
        let watch = Watch {
            permits: Arc::new(Semaphore::new(0)),
            entered: Arc::default(),
        };
        let gate = Self {
            watch: watch.clone(),
        };
        (gate, watch)
    }

    /// Another with the same watch.
    pub fn behind(watch: &Watch) -> Self {
        let watch = watch.clone();
        Self { watch }
    }

    /// Waits until one may pass.
    ///
    /// # Errors
    ///
    /// If nobody can let it pass any more.
    pub async fn wait(&self) -> Result<(), Failure> {
        self.watch.entered.fetch_add(1, Ordering::SeqCst);
        self.watch.permits.acquire().await?.forget();
        Ok(())
    }
}

impl Watch {
    /// Lets so many messages pass.
    pub fn let_pass(&self, count: usize) {
        self.permits.add_permits(count);
    }

    /// How many messages the handler was called with.
    pub fn entered(&self) -> usize {
        self.entered.load(Ordering::SeqCst)
    }
}

#[handlers]
impl Gate {
    #[handler]
    async fn pass(&mut self, message: Pass) -> Result<u32, Failure> {
        self.wait().await?;
        Ok(message.n)
    }
}

/// Takes messages as they come.
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
            // Answered from elsewhere.
            let reply = envelope.into_reply::<Hold>();
            tokio::spawn(async move { reply.send(7) });
        } else if !envelope.matches::<Forget>() {
            return Err(envelope.unexpected());
        }
        Ok(())
    }
}
