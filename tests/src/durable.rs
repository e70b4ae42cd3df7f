//! Durable messages, and an actor that logs those that it handles.

use std::future::ready;
use std::time::Duration;

use conclib::ActorSystem;
use conclib::prelude::*;
use conclib::supervision::Backoff;

use crate::Log;
use crate::actors::{GateControl, GatedActor};

/// Adds a number; the answer is the sum.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(durable, response = u32)]
pub struct Order {
    /// The number.
    pub n: u32,
}

/// Held in the handler until the test admits it.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(durable, response = u32)]
pub struct Wait {
    /// The answer.
    pub n: u32,
}

/// The handler panics.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(durable)]
pub struct Poison;

/// Ends the process of its handler at once, as a stack overflow or the kernel's killer would.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(durable, response = u32)]
pub struct Abort;

/// As [`Abort`], but not durable.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
pub struct PlainAbort;

/// The handler takes 5 ms, and prints the number before its process can end.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(durable)]
pub struct Nap {
    /// The number.
    pub n: u32,
}

/// A message with the name of [`Order`] and other contents.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(durable, name = "Order")]
pub struct NoOrder;

/// The response is too large for the bus of a test.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(durable, response = Vec<u8>)]
pub struct Large;

/// Logs the messages that it handles.
#[derive(Actor, Debug)]
#[actor(mailbox = 8)]
pub struct Shop {
    log: Log,
    sum: u32,
    gate: GatedActor,
}

#[handlers]
impl Shop {
    #[handler]
    fn order(&mut self, message: Order) -> u32 {
        self.log.add(message.n.to_string());
        self.sum += message.n;
        self.sum
    }

    #[handler]
    async fn wait(&mut self, message: Wait) -> Result<u32, Failure> {
        self.log.add(format!("waits {}", message.n));
        self.gate.wait().await?;
        Ok(message.n)
    }

    #[handler]
    fn poison(&mut self, _: Poison) {
        self.log.add("poison");
        panic!("on purpose");
    }

    #[handler]
    fn abort(&mut self, _: Abort) -> u32 {
        std::process::abort()
    }

    #[handler]
    fn plain_abort(&mut self, _: PlainAbort) {
        std::process::abort()
    }

    #[handler]
    async fn nap(&mut self, message: Nap) {
        tokio::time::sleep(Duration::from_millis(5)).await;
        println!("shop {}", message.n);
    }

    #[handler]
    fn large(&mut self, _: Large) -> Vec<u8> {
        vec![7; 100_000]
    }
}

/// Starts a shop that restarts when it fails.
///
/// # Panics
///
/// If it does not start.
pub async fn open_shop(system: &ActorSystem, urn: &str, log: &Log) -> GateControl {
    let (gate, control) = GatedActor::closed();
    drop(gate);
    let (log, shared) = (log.clone(), control.clone());
    let factory = move || {
        ready(Shop {
            log: log.clone(),
            sum: 0,
            gate: GatedActor::controlled_by(&shared),
        })
    };
    let shop = system.supervise(factory).urn(urn).backoff(Backoff::none());
    let shop = shop.budget(1000, Duration::from_secs(1)).await;
    shop.expect("the shop opens");
    control
}
