//! `advance`: paused time that moves from timer to timer.

use std::time::Duration;

use conclib::prelude::*;
use conclib::test::advance;
use conclib_tests::messages::Beat;
use conclib_tests::{Log, SECOND, TestResult};
use tokio::time::{Instant, sleep};

use crate::panic_of;

/// Passed on from actor to actor.
#[derive(ActorMessage, Serialize, Deserialize)]
struct Baton;

#[derive(Actor)]
#[periodic(tick = Beat, every = "10s", first = "after")]
struct Heart {
    start: Instant,
    log: Log,
    next: Option<Recipient<Baton>>,
}

#[handlers]
impl Heart {
    #[handler]
    async fn beat(&mut self, _: Beat) -> Result<(), Failure> {
        self.log
            .add(format!("beat {}", self.start.elapsed().as_secs()));
        if let Some(next) = &self.next {
            next.tell(Baton).await?;
        }
        Ok(())
    }
}

#[derive(Actor)]
struct Runner {
    log: Log,
    next: Option<Recipient<Baton>>,
}

#[handlers]
impl Runner {
    #[handler]
    async fn baton(&mut self, _: Baton) -> Result<(), Failure> {
        match &self.next {
            Some(next) => next.ask(Baton).await?,
            None => self.log.add("baton"),
        }
        Ok(())
    }
}

fn heart(log: &Log) -> Heart {
    Heart {
        start: Instant::now(),
        log: log.clone(),
        next: None,
    }
}

#[tokio::test(start_paused = true)]
async fn timers_fire_in_order() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    system.spawn(heart(&log)).await?;
    let (start, sleeper) = (Instant::now(), log.clone());
    tokio::spawn(async move {
        for _ in 0..3 {
            sleep(7 * SECOND).await;
            sleeper.add(format!("sleeper {}", start.elapsed().as_secs()));
        }
    });
    advance(25 * SECOND).await;
    let all = [
        "sleeper 7",
        "beat 10",
        "sleeper 14",
        "beat 20",
        "sleeper 21",
    ];
    assert_eq!(log.entries(), all);
    assert_eq!(start.elapsed().as_secs(), 25);
    Ok(())
}

/// The reason for another `advance`.
#[tokio::test(start_paused = true)]
async fn advance_of_tokio_jumps_over_timers() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    system.spawn(heart(&log)).await?;
    tokio::time::advance(25 * SECOND).await;
    advance(Duration::ZERO).await;
    assert!(!log.entries().contains(&"beat 10".to_owned()), "{log:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn timers_due_at_the_end_have_fired() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let mut next = None;
    for _ in 0..50 {
        let log = log.clone();
        next = Some(system.spawn(Runner { log, next }).await?.recipient());
    }
    let heart = Heart {
        next,
        ..heart(&log)
    };
    system.spawn(heart).await?;
    advance(9 * SECOND).await;
    assert_eq!(log.count(), 0);
    advance(SECOND).await;
    assert_eq!(log.entries(), ["beat 10", "baton"]);
    Ok(())
}

#[tokio::test]
async fn advance_needs_paused_time() {
    let text = panic_of(|| advance(SECOND));
    assert!(text.starts_with("time is not paused"), "{text}");
    tokio::time::pause();
    let start = Instant::now();
    advance(SECOND).await;
    assert_eq!(start.elapsed().as_secs(), 1);
    tokio::time::resume();
    let text = panic_of(|| advance(SECOND));
    assert!(text.starts_with("time is not paused"), "{text}");
}
