//! Asks of a handler end at its deadline.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use conclib::error::Delivered;
use conclib::prelude::*;
use conclib::supervision::Restart;
use conclib_tests::messages::Explode;
use conclib_tests::{MS, TestResult};
use tokio::time::{Instant, sleep};

use super::{LONG, Middle, Outcome, PassOn, Work, at_once, late, middle, worker};

#[tokio::test(start_paused = true)]
async fn asks_of_a_handler_end_at_its_deadline() -> TestResult {
    let own = [
        (None, 100),
        (Some(3600 * 1000), 100), // cut
        (Some(40), 40),           // shorter: it wins
    ];
    for (timeout, takes) in own {
        let system = ActorSystem::new();
        let (worker, _) = worker(&system).await;
        let (middle, result) = middle(&system, worker.recipient()).await?;
        let message = at_once(timeout.map(|ms| ms * MS), LONG);
        let asked = middle.ask(message).timeout(100 * MS).await;
        let Outcome((inner, took)) = result.expect().await;
        assert_eq!(inner, Err(late(Delivered::Accepted)), "{timeout:?}");
        assert_eq!(took, takes * MS, "{timeout:?}");
        // The timers of both fire at once.
        match asked {
            Ok((inner, _)) => assert!(takes < 100 && inner.is_err()),
            Err(error) => assert_eq!((error, takes), (late(Delivered::Accepted), 100)),
        }
        worker.kill();
    }
    Ok(())
}

/// Asks a `Middle`, as that asks a worker.
#[derive(ActorMessage)]
#[message(local, response = ())]
struct Begin(PassOn);

#[derive(Actor)]
struct Top(ActorRef<Middle>);

#[handlers]
impl Top {
    #[handler]
    async fn begin(&mut self, Begin(message): Begin) -> Result<(), Failure> {
        let (answer, _took) = self.0.ask(message).timeout(1000 * MS).await?;
        answer?;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn chain_of_asks_ends_at_the_first_deadline() -> TestResult {
    let system = ActorSystem::new();
    let (worker, begun) = worker(&system).await;
    let (middle, result) = middle(&system, worker.recipient()).await?;
    let top = system.spawn(Top(middle)).await?;
    let message = PassOn {
        first: 30 * MS,
        timeout: None,
        work: LONG,
    };
    let start = Instant::now();
    let asked = top.ask(Begin(message)).timeout(100 * MS).await;
    assert!(asked.is_err());
    assert_eq!(start.elapsed(), 100 * MS);
    let Outcome((inner, took)) = result.expect().await;
    assert_eq!(inner, Err(late(Delivered::Accepted)));
    assert_eq!((took, start.elapsed()), (70 * MS, 100 * MS));
    assert_eq!(begun.load(SeqCst), 1);
    worker.kill();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn ask_after_the_deadline_is_not_sent() -> TestResult {
    let system = ActorSystem::new();
    let (worker, begun) = worker(&system).await;
    let (middle, result) = middle(&system, worker.recipient()).await?;
    let message = PassOn {
        first: 100 * MS,
        timeout: Some(MS),
        work: Work(MS),
    };
    let asked = middle.ask(message).timeout(50 * MS).await;
    assert_eq!(asked, Err(late(Delivered::Accepted)));
    let Outcome(inner) = result.expect().await;
    assert_eq!(inner, (Err(late(Delivered::No)), Duration::ZERO));
    assert_eq!(begun.load(SeqCst), 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn message_without_a_deadline_inherits_none() -> TestResult {
    let system = ActorSystem::new();
    let (worker_one, _) = worker(&system).await;
    let (worker_two, _) = worker(&system).await;
    let (one, result) = middle(&system, worker_one.recipient()).await?;
    let (two, _heard) = middle(&system, worker_two.recipient()).await?;
    // Both run on the same thread by turns, and each asks while the other is in its handler.
    let message = |first: u32, work: u32| PassOn {
        first: first * MS,
        timeout: None,
        work: Work(work * MS),
    };
    let limited = one.ask(message(10, 1000)).timeout(50 * MS);
    let (limited, free) = tokio::join!(limited, two.ask(message(20, 1000)));
    assert!(limited.is_err());
    assert_eq!(result.expect().await.0.1, 40 * MS);
    assert_eq!(free, Ok((Ok(7), 1000 * MS)));
    // The next message of the same actor inherits none either.
    let free = one.ask(message(0, 1000)).await?;
    assert_eq!(free.0, Ok(7));
    Ok(())
}

#[derive(Actor)]
struct Fragile(Recipient<Work>);

#[handlers]
impl Fragile {
    #[handler]
    async fn explode(&mut self, _: Explode) {
        sleep(MS).await;
        panic!("on purpose");
    }

    #[handler]
    async fn work(&mut self, message: Work) -> Result<u32, Failure> {
        Ok(self.0.ask(message).await?)
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_ends_with_its_incarnation() -> TestResult {
    let system = ActorSystem::new();
    let (worker, _) = worker(&system).await;
    let to = worker.recipient();
    let fragile = system
        .supervise(move || std::future::ready(Fragile(to.clone())))
        .restart(Restart::OnFailure)
        .await?;
    let asked = fragile.ask(Explode).timeout(100 * MS).await;
    assert!(matches!(asked, Err(AskError::Failed { .. })));
    assert_eq!(fragile.ask(Work(1000 * MS)).await, Ok(7));
    Ok(())
}

/// Asks from a task of its own.
#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Detach(Work);

/// Tells until it has to wait for room, and reports the result of the last tell.
#[derive(ActorMessage)]
#[message(local, response = ())]
struct Flood;

#[derive(Actor)]
struct Detached {
    to: Recipient<Work>,
    log: Recipient<Outcome>,
}

#[handlers]
impl Detached {
    #[handler]
    fn detach(&mut self, Detach(work): Detach, reply: Reply<u32>) {
        let (ask, log) = (self.to.ask(work), self.log.clone());
        tokio::spawn(async move {
            let start = Instant::now();
            let answer = ask.await;
            let _ignored = log.tell(Outcome((answer, start.elapsed()))).await;
            reply.send(1);
        });
    }

    #[handler]
    async fn flood(&mut self, _: Flood) {
        let start = Instant::now();
        loop {
            if let Err(back) = self.to.tell(LONG).await {
                let (message, reason) = back.into_parts();
                assert_eq!(message.0, LONG.0);
                let result = Outcome((Err(reason), start.elapsed()));
                return self.log.tell(result).await.unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn spawned_tasks_inherit_no_deadline() -> TestResult {
    let system = ActorSystem::new();
    let (worker, _) = worker(&system).await;
    let (_, result) = middle(&system, worker.recipient()).await?;
    let (to, log) = (worker.recipient(), result.recipient());
    let detached = system.spawn(Detached { to, log }).await?;
    let asked = detached
        .ask(Detach(Work(1000 * MS)))
        .timeout(100 * MS)
        .await;
    assert_eq!(asked, Err(late(Delivered::Accepted)));
    assert_eq!(result.expect().await.0, (Ok(7), 1000 * MS));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn tell_that_waits_for_room_ends_at_the_deadline() -> TestResult {
    let system = ActorSystem::new();
    let (worker, _) = worker(&system).await;
    let (_, result) = middle(&system, worker.recipient()).await?;
    let (to, log) = (worker.recipient(), result.recipient());
    let detached = system.spawn(Detached { to, log }).await?;
    let asked = detached.ask(Flood).timeout(100 * MS).await;
    assert_eq!(asked, Err(late(Delivered::Accepted)));
    let ended = result.expect().await.0;
    assert_eq!(ended, (Err(late(Delivered::No)), 100 * MS));
    worker.kill();
    Ok(())
}
