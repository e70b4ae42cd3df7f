//! Random failures of members.

use std::future::{pending, ready};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use conclib::prelude::*;
use conclib::snapshot::Phase;
use conclib::supervision::Backoff;
use conclib::supervisor::{ChildSpec, Strategy, Supervisor};
use conclib_tests::random::Random;
use conclib_tests::scripted::{ScriptedActor, fail, run_async};
use conclib_tests::{Log, TestResult, within};

use super::{SECOND, spawn};

/// The starts of each member: never more than those of the members before it.
#[derive(Clone)]
struct Order {
    lives: Arc<Mutex<Vec<u64>>>,
    /// Broken invariants.
    disorder: Log,
}

impl Order {
    fn new(members: usize) -> Self {
        Self {
            lives: Arc::new(Mutex::new(vec![0; members])),
            disorder: Log::default(),
        }
    }

    fn starts(&self, place: usize) {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives[place] += 1;
        if lives[..place].iter().any(|before| *before < lives[place]) {
            self.disorder.add(format!("{place} starts: {lives:?}"));
        }
    }
}

/// Members fail, hang and fail to start at random; afterwards all of them live.
async fn torment(seed: u64) -> TestResult {
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    let mut random = Random::new(seed);
    let (system, order) = (ActorSystem::new(), Order::new(NAMES.len()));
    let mut group = Supervisor::new(Strategy::OneForAll).budget(u32::MAX, SECOND);
    group = group.backoff(Backoff::starting_at(Duration::from_millis(10)));
    for (place, name) in NAMES.into_iter().enumerate() {
        let (order, mut luck) = (order.clone(), Random::new(random.any()));
        let factory = move || {
            let (order, unlucky, slow) = (order.clone(), luck.one_in(5), luck.one_in(3));
            let probe = ScriptedActor::new(name, &Log::default()).starting(move |_| {
                Box::pin(async move {
                    tokio::time::sleep(Duration::from_millis(if slow { 9 } else { 0 })).await;
                    if unlucky {
                        return Err(Failure::msg("no luck"));
                    }
                    order.starts(place);
                    Ok(())
                })
            });
            ready(probe)
        };
        group = group.member(ChildSpec::new(factory).urn(name));
    }
    let group = spawn(&system, group).await?;
    for _ in 0..100 {
        let name = *random.of(&NAMES);
        match random.below(3) {
            0 => system.tell(name, fail()).await?,
            1 => {
                // The last member never hangs.
                let name = *random.of(&NAMES[..3]);
                system
                    .tell(name, run_async(|_| Box::pin(pending())))
                    .await?;
            }
            _ => {
                let time = Duration::from_millis(1) * random.below(200);
                tokio::time::sleep(time).await;
            }
        }
    }
    // A failure cuts off one hanging message of each member.
    for _ in 0..100 {
        system.tell(NAMES[3], fail()).await?;
        tokio::time::sleep(100 * SECOND).await;
    }
    let members = within(group.children()).await?;
    assert_eq!(members.len(), NAMES.len());
    for member in &members {
        assert_eq!(
            (member.phase, member.queued),
            (Phase::Running, 0),
            "{member:?}"
        );
        assert!(member.running.is_none(), "{member:?}");
    }
    assert_eq!(order.disorder.entries(), Vec::<String>::new());
    assert!(within(system.shutdown()).await.is_clean());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn group_is_whole_after_random_failures() -> TestResult {
    for seed in 0..15 {
        torment(seed)
            .await
            .map_err(|error| format!("seed {seed}: {error}"))?;
    }
    Ok(())
}
