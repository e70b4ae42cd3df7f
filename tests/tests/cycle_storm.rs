//! Many actors that wait for each other in every way, on several threads: no ask hangs, and no cycle
//! is reported that did not exist.

use std::sync::Arc;
use std::time::Duration;

use conclib::pool::{Pool, Route};
use conclib::prelude::*;
use conclib_tests::{TestResult, within};
use futures_util::future::join_all;
use tokio::sync::{Barrier, Semaphore};

const ROUNDS: u32 = 1000;

/// A walk through actors, each step within a handler of the last one.
#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Walk {
    seed: u64,
    steps: u32,
}

#[derive(ActorMessage)]
#[message(local)]
struct Note;

#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Forwarded(Walk);

#[derive(Actor)]
#[actor(mailbox = 1)]
struct Walker {
    system: ActorSystem,
}

#[derive(Actor)]
struct Child {
    parent: Recipient<Walk>,
}

#[handlers]
impl Child {
    async fn on_start(&mut self) {
        let _ = self.parent.ask(Walk { seed: 0, steps: 0 }).await;
    }
}

const URNS: [&str; 6] = ["a", "b", "c", "d", "pool", "single"];

/// The next random number.
fn next(seed: &mut u64, bound: u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % bound
}

#[handlers]
impl Walker {
    #[handler]
    async fn walk(&mut self, mut walk: Walk, ctx: &mut Context<Self>) -> u32 {
        let Some(left) = walk.steps.checked_sub(1) else {
            return 1;
        };
        let seed = &mut walk.seed;
        let urn = URNS[usize::try_from(next(seed, 6)).unwrap_or_default()];
        let kind = next(seed, 8);
        let walk = Walk {
            seed: *seed,
            steps: left,
        };
        match kind {
            0..3 => self.system.ask(urn, walk).await.unwrap_or(0),
            3 => u32::from(self.system.tell(urn, Note).await.is_ok()),
            4 => {
                let tell = self
                    .system
                    .tell(urn, Note)
                    .timeout(Duration::from_millis(1));
                u32::from(tell.await.is_ok())
            }
            5 => {
                let child = Child {
                    parent: ctx.actor_ref().recipient(),
                };
                let Ok(child) = ctx.spawn(child).await else {
                    return 0;
                };
                child.stop();
                child.stopped().await;
                1
            }
            6 => self.system.ask(urn, Forwarded(walk)).await.unwrap_or(0),
            _ => {
                let other = Walk {
                    seed: walk.seed ^ 1,
                    steps: left,
                };
                let both = tokio::join!(self.system.ask("a", walk), self.system.ask(urn, other));
                both.0.unwrap_or(0) + both.1.unwrap_or(0)
            }
        }
    }

    #[handler]
    async fn forwarded(&mut self, Forwarded(walk): Forwarded, reply: Reply<u32>) {
        if let Ok(to) = self.system.recipient::<Walk>("b") {
            let _ = to.forward(walk, reply).await;
        }
    }

    #[handler]
    fn note(&mut self, _: Note) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_waits_do_not_hang() -> TestResult {
    let system = ActorSystem::new();
    for urn in &URNS[..4] {
        let system = system.clone();
        system
            .spawn(Walker {
                system: system.clone(),
            })
            .urn(*urn)
            .await?;
    }
    for (urn, size) in [("pool", 3), ("single", 1)] {
        let inner = system.clone();
        let pool = Pool::new(size, move || {
            let system = inner.clone();
            async move { Walker { system } }
        });
        system
            .spawn(pool.route(Route::LeastLoaded))
            .urn(urn)
            .mailbox(1)
            .await?;
    }
    for round in 0..ROUNDS {
        let walks = (0..8_u32).map(|n| {
            let seed = u64::from(round * 8 + n);
            system.ask(URNS[(n % 6) as usize], Walk { seed, steps: 6 })
        });
        let walks: Vec<_> = walks.map(tokio::spawn).collect();
        for walked in within(join_all(walks)).await {
            walked??;
        }
    }
    assert!(within(system.shutdown()).await.is_clean());
    Ok(())
}

/// Asks the next actor in a ring, unless too many do so.
#[derive(ActorMessage)]
#[message(local, response = bool)]
struct AskNext;

#[derive(ActorMessage)]
#[message(local)]
struct Answer;

#[derive(Actor)]
struct InRing {
    system: ActorSystem,
    next: &'static str,
    /// One permit fewer than there are actors: the ring is never closed.
    permits: Arc<Semaphore>,
}

#[handlers]
impl InRing {
    #[handler]
    async fn ask_next(&mut self, _: AskNext) -> bool {
        let Ok(_permit) = self.permits.try_acquire() else {
            return true;
        };
        self.system.ask(self.next, Answer).await.is_ok()
    }

    #[handler]
    fn answer(&mut self, _: Answer) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ring_that_is_never_closed_is_no_cycle() -> TestResult {
    let ring = [("a", "b"), ("b", "c"), ("c", "a")];
    let system = ActorSystem::new();
    let permits = Arc::new(Semaphore::new(2));
    for (urn, next) in ring {
        let in_ring = InRing {
            system: system.clone(),
            next,
            permits: permits.clone(),
        };
        system.spawn(in_ring).urn(urn).await?;
    }
    let start = Arc::new(Barrier::new(ring.len()));
    let askers = ring.map(|(urn, _)| {
        let (system, start) = (system.clone(), start.clone());
        tokio::spawn(async move {
            start.wait().await;
            for _ in 0..ROUNDS * 10 {
                assert_eq!(system.ask(urn, AskNext).await, Ok(true));
            }
        })
    });
    for asker in within(join_all(askers)).await {
        asker?;
    }
    Ok(())
}
