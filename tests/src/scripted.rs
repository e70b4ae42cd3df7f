//! An actor whose handlers and hooks run closures of the test, and which logs its life.

use std::future::Future;
use std::pin::Pin;

use conclib::Terminated;
use conclib::prelude::*;

use crate::Log;
use crate::messages::{Note, Pass};

/// The future of a closure that a [`ScriptedActor`] runs in a handler or a hook.
pub type StepFuture<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// The future of a factory.
pub type NewActor = Pin<Box<dyn Future<Output = ScriptedActor> + Send>>;

type Step = Box<dyn for<'a> FnOnce(&'a mut Context<ScriptedActor>) -> StepFuture<'a> + Send>;

/// Logs its starts, its ends, its notes, and the ends of the actors that it watches.
#[derive(Actor)]
#[actor(mailbox = 64)]
pub struct ScriptedActor {
    name: &'static str,
    log: Log,
    starting: Option<Step>,
    stopping: Option<Step>,
    failing: Option<Step>,
}

/// Runs a closure in the handler.
#[derive(ActorMessage)]
#[message(local)]
pub struct Run(Step);

/// A closure to run in the handler.
pub fn run(step: impl FnOnce(&mut Context<ScriptedActor>) + Send + 'static) -> Run {
    run_async(move |ctx| {
        step(ctx);
        Box::pin(async { Ok(()) })
    })
}

/// An asynchronous closure, which may fail: `run_async(|ctx| Box::pin(async { … }))`.
pub fn run_async(
    step: impl for<'a> FnOnce(&'a mut Context<ScriptedActor>) -> StepFuture<'a> + Send + 'static,
) -> Run {
    Run(Box::new(step))
}

/// A closure that panics, so that the actor fails.
pub fn fail() -> Run {
    fn panics(_: &mut Context<ScriptedActor>) {
        panic!("on purpose")
    }
    run(panics)
}

impl ScriptedActor {
    /// An actor that prefixes its entries with its name.
    pub fn new(name: &'static str, log: &Log) -> Self {
        Self {
            name,
            log: log.clone(),
            starting: None,
            stopping: None,
            failing: None,
        }
    }

    /// Sets the closure that runs in `on_start`.
    #[must_use]
    pub fn starting(
        mut self,
        step: impl for<'a> FnOnce(&'a mut Context<Self>) -> StepFuture<'a> + Send + 'static,
    ) -> Self {
        self.starting = Some(Box::new(step));
        self
    }

    /// Sets the closure that runs in `on_stop`.
    #[must_use]
    pub fn stopping(
        mut self,
        step: impl for<'a> FnOnce(&'a mut Context<Self>) -> StepFuture<'a> + Send + 'static,
    ) -> Self {
        self.stopping = Some(Box::new(step));
        self
    }

    /// Sets the closure that runs in `on_failure`.
    #[must_use]
    pub fn failing(
        mut self,
        step: impl for<'a> FnOnce(&'a mut Context<Self>) -> StepFuture<'a> + Send + 'static,
    ) -> Self {
        self.failing = Some(Box::new(step));
        self
    }

    fn log(&self, entry: impl std::fmt::Display) {
        self.log.add(format!("{} {entry}", self.name));
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Run")
    }
}

impl std::fmt::Debug for ScriptedActor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ScriptedActor").field(&self.name).finish()
    }
}

#[handlers]
impl ScriptedActor {
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
    async fn run(&mut self, Run(step): Run, ctx: &mut Context<Self>) -> Result<(), Failure> {
        step(ctx).await
    }

    #[handler]
    async fn pass(&mut self, Pass(gate): Pass) {
        gate.pass().await;
    }

    #[handler]
    fn terminated(&mut self, end: Terminated) {
        self.log(format_args!("learns of {}: {}", end.urn, end.reason));
    }
}

/// A factory of actors without closures.
pub fn lives(
    name: &'static str,
    log: &Log,
) -> impl FnMut() -> std::future::Ready<ScriptedActor> + Send + use<> {
    let log = log.clone();
    move || std::future::ready(ScriptedActor::new(name, &log))
}
