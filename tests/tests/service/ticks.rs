//! Regular work that waits until its process serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use conclib::prelude::*;
use conclib::schedule::{Schedule, Ticker};
use conclib_tests::SECOND;
use tokio::time::{Instant, sleep};

/// Ticks that are far apart: at the start, and one interval after it.
#[derive(Actor, Default)]
#[periodic(tick = Always, every = "1h")]
#[periodic(tick = Serving, every = "1h", while_serving)]
#[periodic(tick = Later, every = "20s", first = "after", missed = "burst", while_serving)]
struct Rare {
    seen: Seen,
    start: Option<Instant>,
}

/// The times of ticks, in seconds since the start of the actor.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    always: Vec<u64>,
    serving: Vec<u64>,
    later: Vec<u64>,
    timer: Vec<u64>,
}

#[derive(ActorMessage)]
#[message(local)]
struct Always;

#[derive(ActorMessage)]
#[message(local)]
struct Serving;

#[derive(ActorMessage)]
#[message(local)]
struct TimerFired;

#[derive(ActorMessage)]
#[message(local)]
struct Later;

#[derive(ActorMessage)]
#[message(local, response = Seen)]
struct Look;

impl Rare {
    /// The seconds since the start.
    fn now(&self) -> u64 {
        self.start.map_or(0, |start| start.elapsed().as_secs())
    }
}

#[handlers]
impl Rare {
    fn on_start(&mut self, ctx: &mut Context<Self>) {
        self.start = Some(Instant::now());
        ctx.every(Schedule::every(3600 * SECOND).while_serving(), || {
            TimerFired
        });
    }

    #[handler]
    fn always(&mut self, _: Always) {
        self.seen.always.push(self.now());
    }

    #[handler]
    fn serving(&mut self, _: Serving) {
        self.seen.serving.push(self.now());
    }

    #[handler]
    fn later(&mut self, _: Later) {
        self.seen.later.push(self.now());
    }

    #[handler]
    fn timer(&mut self, _: TimerFired) {
        self.seen.timer.push(self.now());
    }

    #[handler]
    fn look(&mut self, _: Look) -> Seen {
        std::mem::take(&mut self.seen)
    }
}

#[tokio::test(start_paused = true)]
async fn tick_that_is_due_before_the_service_runs_once_at_its_start() {
    let system = ActorSystem::new();
    let rare = system.spawn(Rare::default()).await.unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let called = calls.clone();
    let _regular = Ticker::every(3600 * SECOND)
        .while_serving(&system)
        .start(move || {
            called.fetch_add(1, Ordering::Relaxed);
            async {}
        });
    let seen = async || rare.ask(Look).await.unwrap();
    sleep(Duration::from_millis(95_500)).await;
    let always = vec![0];
    let nothing = Seen {
        always,
        ..Seen::default()
    };
    assert_eq!(seen().await, nothing);

    let proxy = start_proxy(&system, &Config::memory()).await.unwrap();
    sleep(30 * SECOND).await; // second 125
    let at_start = Seen {
        always: vec![],
        serving: vec![96],
        later: vec![96, 100, 120], // those of 20 to 80 are one
        timer: vec![96],
    };
    assert_eq!(seen().await, at_start);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    sleep(3500 * SECOND).await; // second 3625
    let Seen {
        always,
        serving,
        timer,
        ..
    } = seen().await;
    assert_eq!([always, serving, timer], [[3600], [3600], [3600]]);
    proxy.shutdown().await;
    sleep(3600 * SECOND).await;
    let paused = seen().await;
    assert_eq!((paused.always.len(), paused.serving.len()), (1, 0));
}
