//! A periodic actor: two messages, each at its own interval, and hooks. The ticks
//! start after `on_start` and end with the actor.

use std::time::Duration;

use conclib::prelude::*;

#[derive(ActorMessage)]
#[message(local)]
struct Sample;

#[derive(ActorMessage)]
#[message(local)]
struct Flush {
    all: bool,
}

/// Collects samples, and writes them out from time to time.
#[derive(Actor)]
#[actor(urn = "collector")]
#[periodic(tick = Sample, every = "50ms")]
#[periodic(tick = Flush { all: false }, every = "200ms", first = "after", missed = "skip", jitter = "10ms")]
struct Collector {
    samples: Vec<usize>,
    taken: usize,
}

#[handlers]
impl Collector {
    fn on_start(&mut self, ctx: &mut Context<Self>) {
        println!("{} starts", ctx.urn());
    }

    fn on_stop(&mut self, _ctx: &mut Context<Self>, reason: &StopReason) {
        println!("collector stops: {reason}");
        self.flush(Flush { all: true }); // handlers are ordinary methods
    }

    #[handler]
    fn sample(&mut self, _: Sample) {
        self.taken += 1;
        self.samples.push(self.taken);
    }

    #[handler]
    fn flush(&mut self, message: Flush) {
        let keep = if message.all {
            0
        } else {
            self.samples.len().min(1)
        };
        let written: Vec<_> = self.samples.drain(..self.samples.len() - keep).collect();
        println!("flushed {written:?}, kept {:?}", self.samples);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for tick in Collector::TICKS {
        println!("{}: {}", tick.name(), tick.schedule());
    }
    let system = ActorSystem::new();
    system
        .spawn(Collector {
            samples: Vec::new(),
            taken: 0,
        })
        .await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    system.shutdown().await;
    Ok(())
}
