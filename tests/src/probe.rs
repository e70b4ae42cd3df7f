//! An actor that does as a test tells it, and writes down what happens to it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use conclib::Terminated;
use conclib::prelude::*;

use crate::{Gate, Log, within};

/// What a [`Probe`] does in a handler or a hook.
pub type Doing<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// A probe under way: what a factory returns.
pub type Making = Pin<Box<dyn Future<Output = Probe> + Send>>;

type Step = Box<dyn for<'a> FnOnce(&'a mut Context<Probe>) -> Doing<'a> + Send>;

/// Writes down its starts, its ends, what it is told, and whose end it hears of.
#[derive(Actor)]
#[actor(mailbox = 64)]
pub struct Probe {
    name: &'static str,
    log: Log,
    starting: Option<Step>,
    stopping: Option<Step>,
    failing: Option<Step>,
}

/// Is written down.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
pub struct Note(pub String);

/// Is done.
#[derive(ActorMessage)]
#[message(local)]
pub struct Act(Step);

/// The handler waits at the gate.
#[derive(ActorMessage, Debug)]
#[message(local)]
pub struct Pass(pub Gate);

/// A note.
pub fn note(text: impl Into<String>) -> Note {
    Note(text.into())
}

/// Something to do at once.
pub fn act(step: impl FnOnce(&mut Context<Probe>) + Send + 'static) -> Act {
    act_async(move |ctx| {
        step(ctx);
        Box::pin(async { Ok(()) })
    })
}

/// Something that takes its time, and may fail: `act_async(|ctx| Box::pin(async { … }))`.
pub fn act_async(
    step: impl for<'a> FnOnce(&'a mut Context<Probe>) -> Doing<'a> + Send + 'static,
) -> Act {
    Act(Box::new(step))
}

/// Makes the actor fail: it panics.
pub fn fail() -> Act {
    fn panics(_: &mut Context<Probe>) {
        panic!("on purpose")
    }
    act(panics)
}

impl Probe {
    /// A probe that writes its name with whatever it writes.
    pub fn new(name: &'static str, log: &Log) -> Self {
        Self {
            name,
            log: log.clone(),
            starting: None,
            stopping: None,
            failing: None,
        }
    }

    /// What it does in `on_start`.
    #[must_use]
    pub fn starting(
        mut self,
        step: impl for<'a> FnOnce(&'a mut Context<Self>) -> Doing<'a> + Send + 'static,
    ) -> Self {
        self.starting = Some(Box::new(step));
        self
    }

    /// What it does in `on_stop`.
    #[must_use]
    pub fn stopping(
        mut self,
        step: impl for<'a> FnOnce(&'a mut Context<Self>) -> Doing<'a> + Send + 'static,
    ) -> Self {
        self.stopping = Some(Box::new(step));
        self
    }

    /// What it does in `on_failure`.
    #[must_use]
    pub fn failing(
        mut self,
        step: impl for<'a> FnOnce(&'a mut Context<Self>) -> Doing<'a> + Send + 'static,
    ) -> Self {
        self.failing = Some(Box::new(step));
        self
    }

    fn log(&self, what: impl std::fmt::Display) {
        self.log.add(format!("{} {what}", self.name));
    }
}

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Act")
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Probe").field(&self.name).finish()
    }
}

#[handlers]
impl Probe {
    async fn on_start(&mut self, ctx: &mut Context<Self>) -> Result<(), Failure> {
        self.log("starts");
        match self.starting.take() {
            Some(step) => step(ctx).await,
            None => Ok(()),
        }
    }

    async fn on_stop(&mut self, ctx: &mut Context<Self>, reason: &StopReason) {
        self.log(format_args!("stops: {reason}"));
        if let Some(step) = self.stopping.take() {
            drop(step(ctx).await);
        }
    }

    async fn on_failure(&mut self, ctx: &mut Context<Self>, failure: &Failure) {
        self.log(format_args!("fails: {failure}"));
        if let Some(step) = self.failing.take() {
            drop(step(ctx).await);
        }
    }

    #[handler]
    fn note(&mut self, Note(text): Note) {
        self.log(text);
    }

    #[handler]
    async fn act(&mut self, Act(step): Act, ctx: &mut Context<Self>) -> Result<(), Failure> {
        step(ctx).await
    }

    #[handler]
    async fn pass(&mut self, Pass(gate): Pass) {
        gate.pass().await;
    }

    #[handler]
    fn terminated(&mut self, end: Terminated) {
        self.log(format_args!("hears of {}: {}", end.urn, end.reason));
    }
}

/// A factory of probes that are all alike.
pub fn lives(
    name: &'static str,
    log: &Log,
) -> impl FnMut() -> std::future::Ready<Probe> + Send + use<> {
    let log = log.clone();
    move || std::future::ready(Probe::new(name, &log))
}

/// Lets everybody else run until nothing is left to do now. Only where the clock is paused: it goes
/// on by a millisecond when all sleep.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Looks again and again until something is so: for what nobody tells.
///
/// # Panics
///
/// If it takes too long.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    within(async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
