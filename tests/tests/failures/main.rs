//! Failing actors: panics and errors in handlers, hooks and drops, and their reports.

mod handlers;
mod hooks;
mod observers;

use conclib::prelude::*;
use conclib_tests::messages::{Pass, Ping};
use conclib_tests::{Gate, Log, LogsDrop, PanicsOnDrop};

/// Waits at the gate, then fails.
#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Fail(Gate, How);

#[derive(Clone, Copy)]
enum How {
    Panic,
    PanicWithAValue,
    Err,
}

#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Keep;

/// A message whose drop panics.
#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Bomb(PanicsOnDrop);

#[derive(Actor)]
#[actor(urn = "frail")]
struct Frail {
    log: Log,
    kept: Vec<Reply<u32>>,
    _state: LogsDrop,
}

impl Frail {
    fn new(log: &Log) -> Self {
        Self {
            log: log.clone(),
            kept: Vec::new(),
            _state: LogsDrop(log.clone(), "state dropped"),
        }
    }
}

#[handlers]
impl Frail {
    fn on_stop(&mut self) {
        self.log.add("on_stop");
    }

    fn on_failure(&mut self, failure: &Failure) {
        self.log.add(format!("on_failure: {failure}"));
    }

    #[handler]
    fn ping(&mut self, _: Ping) -> u32 {
        1
    }

    #[handler]
    async fn pass(&mut self, Pass(gate): Pass) {
        gate.pass().await;
    }

    #[handler]
    async fn fail(&mut self, Fail(gate, how): Fail) -> Result<u32, Failure> {
        gate.pass().await;
        match how {
            How::Panic => panic!("on purpose"),
            How::PanicWithAValue => std::panic::panic_any(7),
            How::Err => Err(std::io::Error::other("as asked"))?,
        }
        Ok(0)
    }

    #[handler]
    fn keep(&mut self, _: Keep, reply: Reply<u32>) {
        self.kept.push(reply);
    }

    #[handler]
    fn bomb(&mut self, _bomb: Bomb) -> u32 {
        self.log.add("bomb in hand");
        2
    }
}
