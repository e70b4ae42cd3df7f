//! Deadlines: asks of a handler end at its message's deadline, and expired messages are not
//! handled. Time is paused.

mod chains;
mod expiry;
mod late_timeouts;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use conclib::error::Delivered;
use conclib::prelude::*;
use conclib::test::Probe;
use tokio::time::{Instant, sleep};

/// The result and the duration of an ask within a handler.
type Ended = (Result<u32, AskError>, Duration);

fn late(delivered: Delivered) -> AskError {
    AskError::Timeout { delivered }
}

#[derive(ActorMessage, Clone)]
#[message(local, response = u32)]
struct Work(Duration);

/// Works for the given time, and counts its messages.
#[derive(Actor)]
#[actor(mailbox = 2)]
struct TimedWorker(Arc<AtomicUsize>);

#[handlers]
impl TimedWorker {
    #[handler]
    async fn work(&mut self, Work(time): Work) -> u32 {
        self.0.fetch_add(1, SeqCst);
        sleep(time).await;
        7
    }

    #[handler]
    fn errand(&mut self, _: Errand) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[derive(ActorMessage, Serialize, Deserialize)]
struct Errand;

async fn worker(system: &ActorSystem) -> (ActorRef<TimedWorker>, Arc<AtomicUsize>) {
    let begun = Arc::new(AtomicUsize::new(0));
    let worker = system.spawn(TimedWorker(begun.clone())).await;
    (worker.unwrap(), begun)
}

const LONG: Work = Work(Duration::from_secs(3600));

/// Works for a while, then asks for work, with a timeout of its own or without.
#[derive(ActorMessage, Clone)]
#[message(local, response = Ended)]
struct PassOn {
    first: Duration,
    timeout: Option<Duration>,
    work: Work,
}

/// The result, reported to the test even if the asker is gone.
#[derive(ActorMessage)]
#[message(local)]
struct Outcome(Ended);

#[derive(Actor)]
struct Middle {
    to: Recipient<Work>,
    log: Recipient<Outcome>,
}

#[handlers]
impl Middle {
    #[handler]
    async fn pass_on(&mut self, message: PassOn) -> Ended {
        sleep(message.first).await;
        let start = Instant::now();
        let ask = self.to.ask(message.work);
        let answer = match message.timeout {
            Some(timeout) => ask.timeout(timeout).await,
            None => ask.await,
        };
        let ended = (answer, start.elapsed());
        // The report has room, also past the deadline.
        self.log.tell(Outcome(ended.clone())).await.unwrap();
        ended
    }
}

/// A `Middle` that asks a worker, and the probe of its reports.
async fn middle(
    system: &ActorSystem,
    to: Recipient<Work>,
) -> Result<(ActorRef<Middle>, Probe<Outcome>), Box<dyn std::error::Error>> {
    let result = Probe::<Outcome>::spawn(system)
        .timeout(Duration::from_secs(10_000))
        .await?;
    let log = result.recipient();
    let middle = system.spawn(Middle { to, log }).await?;
    Ok((middle, result))
}

fn at_once(timeout: Option<Duration>, work: Work) -> PassOn {
    PassOn {
        first: Duration::ZERO,
        timeout,
        work,
    }
}
