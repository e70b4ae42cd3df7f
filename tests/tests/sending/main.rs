//! Other ways to send than an awaited tell: `try_tell`, with a timeout, blocking,
//! forwarding; and recipients as references.

mod blocking;
mod forwarding;
mod recipients;
mod timeouts;
mod try_tell;

use std::time::Duration;

use conclib::prelude::*;
use conclib::system::Spawn;
use conclib_tests::actors::LoggingWorker;
use conclib_tests::messages::Pass;
use conclib_tests::{GateHandle, Log, gate};

/// For blocking waits, whose clock cannot be paused.
const SHORT: Duration = Duration::from_millis(5);

/// A worker with room for one message.
fn spawn_worker(system: &ActorSystem, log: &Log) -> Spawn<LoggingWorker> {
    system.spawn(LoggingWorker(log.clone())).mailbox(1)
}

/// A busy worker with room for one message.
async fn busy_worker(
    system: &ActorSystem,
    log: &Log,
) -> Result<(ActorRef<LoggingWorker>, GateHandle), Box<dyn std::error::Error>> {
    let worker = spawn_worker(system, log).await?;
    let (gate, mut keeper) = gate();
    worker.tell(Pass(gate)).await?;
    keeper.reached().await;
    Ok((worker, keeper))
}
