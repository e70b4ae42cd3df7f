//! Pools: several identical actors behind one URN.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use conclib::prelude::*;
use conclib::{Backoff, LookupError, Pool, Route, SpawnError};
use conclib_tests::{Log, TestResult, poll_once, within};
use futures_util::future::join_all;
use tokio::sync::Semaphore;

/// Answers with the number of the worker.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = usize)]
struct Who {
    key: u32,
}

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = usize)]
struct Slow;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = usize)]
struct Explode;

#[derive(ActorMessage)]
#[message(local)]
struct Note(u32);

/// A worker with a number, counted from zero.
#[derive(Actor)]
#[actor(mailbox = 4)]
struct PoolWorker {
    number: usize,
    state: PoolState,
}

/// State that workers and the test share.
#[derive(Clone, Default)]
struct PoolState {
    made: Arc<AtomicUsize>,
    log: Log,
    gate: Arc<Option<Semaphore>>,
}

impl PoolState {
    /// With a gate, at which slow messages wait until the test admits them.
    fn with_gate() -> Self {
        Self {
            gate: Arc::new(Some(Semaphore::new(0))),
            ..Self::default()
        }
    }

    fn admit(&self, count: usize) {
        if let Some(gate) = &*self.gate {
            gate.add_permits(count);
        }
    }

    fn pool(&self, size: usize) -> Pool<PoolWorker> {
        let state = self.clone();
        let pool = Pool::new(size, move || {
            let state = state.clone();
            let number = state.made.fetch_add(1, Ordering::SeqCst);
            async move { PoolWorker { number, state } }
        });
        pool.backoff(Backoff::none())
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }
}

#[handlers]
impl PoolWorker {
    #[handler]
    fn who(&mut self, _: Who) -> usize {
        self.number
    }

    #[handler]
    async fn slow(&mut self, _: Slow) -> Result<usize, Failure> {
        self.state.log.add("slow");
        if let Some(gate) = &*self.state.gate {
            gate.acquire().await?.forget();
        }
        Ok(self.number)
    }

    #[handler]
    fn explode(&mut self, _: Explode) -> usize {
        panic!("on purpose");
    }

    #[handler]
    fn note(&mut self, Note(n): Note) {
        self.state.log.add(format!("{n}"));
    }
}

async fn who(pool: &ActorRef<Pool<PoolWorker>>, key: u32) -> usize {
    within(pool.ask(Who { key })).await.expect("an answer")
}

#[tokio::test]
async fn workers_take_turns() -> TestResult {
    let system = ActorSystem::new();
    let pool = system.spawn(PoolState::default().pool(3)).await?;
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(who(&pool, 0).await);
    }
    assert_eq!(seen, [0, 1, 2, 0, 1, 2]);
    Ok(())
}

#[tokio::test]
async fn least_loaded_worker_is_chosen() -> TestResult {
    let state = PoolState::with_gate();
    let system = ActorSystem::new();
    let pool = system
        .spawn(state.pool(2).route(Route::LeastLoaded))
        .await?;
    let mut slow = pool.ask(Slow);
    assert!(poll_once(&mut slow).await.is_pending());
    let busy = state.clone();
    within(async {
        while busy.log.count() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let idle = who(&pool, 0).await;
    for _ in 0..5 {
        assert_eq!(who(&pool, 0).await, idle);
    }
    state.admit(1);
    assert_ne!(within(slow).await?, idle);
    Ok(())
}

#[tokio::test]
async fn key_meets_the_same_worker_and_few_keys_move() -> TestResult {
    let system = ActorSystem::new();
    let state = PoolState::default();
    let pool = state.pool(4).by_key(|message: &Who| message.key);
    let pool = system.spawn(pool).await?;
    let mut before = HashMap::new();
    for key in 0..200 {
        before.insert(key, who(&pool, key).await);
    }
    for key in 0..200 {
        assert_eq!(before[&key], who(&pool, key).await);
    }
    let used: std::collections::HashSet<_> = before.values().collect();
    assert_eq!(used.len(), 4, "all workers have keys");
    within(pool.resize(5)).await?;
    let mut moved = 0;
    for key in 0..200 {
        let now = who(&pool, key).await;
        if now != before[&key] {
            assert_eq!(now, 4, "keys move to the new worker only");
            moved += 1;
        }
    }
    assert!((10..=90).contains(&moved), "{moved} of 200 moved");
    Ok(())
}

#[tokio::test]
async fn pool_is_found_by_its_urn_and_by_its_messages() -> TestResult {
    let system = ActorSystem::new();
    let pool = system
        .spawn(PoolState::default().pool(2))
        .urn("workers")
        .await?;
    assert_eq!(within(system.ask("workers", Who { key: 1 })).await, Ok(0));
    let recipient: Recipient<Who> = system.recipient("workers")?;
    assert_eq!(recipient.ask(Who { key: 1 }).await, Ok(1));
    assert_eq!(system.actor::<Pool<PoolWorker>>("workers")?, pool);
    assert!(system.actor::<PoolWorker>("workers/1").is_ok());
    assert!(matches!(
        system.actor::<PoolWorker>("workers"),
        Err(LookupError::WrongType { .. })
    ));
    assert!(matches!(
        system.recipient::<conclib_tests::messages::Double>("workers"),
        Err(LookupError::Unhandled { .. })
    ));
    Ok(())
}

#[tokio::test]
async fn other_processes_ask_a_pool_with_and_without_keys() -> TestResult {
    let config = Config::memory();
    let system = ActorSystem::new();
    start_proxy(&system, &config).await?;
    system
        .spawn(PoolState::default().pool(3))
        .urn("turns")
        .await?;
    let keyed = PoolState::default()
        .pool(3)
        .by_key(|message: &Who| message.key);
    system.spawn(keyed).urn("keys").await?;
    let client = ProxyClient::connect(&config).await?;
    let mut turns = Vec::new();
    for _ in 0..3 {
        turns.push(within(client.ask("turns", Who { key: 7 })).await?);
    }
    assert_eq!(turns, [0, 1, 2]);
    let first = within(client.ask("keys", Who { key: 7 })).await?;
    for _ in 0..5 {
        assert_eq!(within(client.ask("keys", Who { key: 7 })).await?, first);
    }
    assert!(within(system.shutdown()).await.is_clean());
    Ok(())
}

#[tokio::test]
async fn failed_worker_restarts_and_others_continue() -> TestResult {
    let state = PoolState::default();
    let system = ActorSystem::new();
    let pool = system.spawn(state.pool(2)).await?;
    assert!(matches!(
        within(pool.ask(Explode)).await,
        Err(AskError::Failed { .. })
    ));
    let answers = [who(&pool, 0).await, who(&pool, 0).await];
    assert_eq!(
        answers,
        [1, 2],
        "the second, and the successor of the first"
    );
    assert_eq!(state.made(), 3);
    Ok(())
}

#[tokio::test]
async fn messages_waiting_for_a_failed_worker_are_not_lost() -> TestResult {
    let state = PoolState::default();
    let system = ActorSystem::new();
    let pool = system.spawn(state.pool(1)).await?;
    let explode = pool.ask(Explode);
    let notes = (0..8).map(|n| pool.tell(Note(n)));
    let (exploded, told) = within(async { tokio::join!(explode, join_all(notes)) }).await;
    assert!(matches!(exploded, Err(AskError::Failed { .. })));
    assert!(told.iter().all(Result::is_ok));
    assert_eq!(who(&pool, 0).await, 1);
    let expected: Vec<_> = (0..8).map(|n| n.to_string()).collect();
    assert_eq!(state.log.entries(), expected);
    Ok(())
}

#[tokio::test]
async fn spent_budget_fails_the_pool() -> TestResult {
    let state = PoolState::default();
    let system = ActorSystem::new();
    let pool = state.pool(2).budget(1, Duration::from_secs(60));
    let pool = system.spawn(pool).urn("workers").await?;
    for _ in 0..4 {
        let _ = within(pool.ask(Explode)).await;
    }
    let reason = within(pool.wait_stopped()).await;
    let failure = reason.failure().expect("a failure").to_string();
    assert!(failure.contains("`workers/"), "{failure}");
    assert!(system.is_empty(), "its workers are gone as well");
    Ok(())
}

#[tokio::test]
async fn stopped_worker_is_replaced() -> TestResult {
    let state = PoolState::default();
    let system = ActorSystem::new();
    let pool = system.spawn(state.pool(2)).urn("workers").await?;
    let first = system.actor::<PoolWorker>("workers/1")?;
    first.stop();
    within(first.wait_stopped()).await;
    let mut answers = [who(&pool, 0).await, who(&pool, 0).await];
    answers.sort_unstable();
    assert_eq!(answers, [1, 2]);
    assert!(system.actor::<PoolWorker>("workers/3").is_ok());
    Ok(())
}

#[tokio::test]
async fn resize_waits_for_queued_messages() -> TestResult {
    let state = PoolState::with_gate();
    let system = ActorSystem::new();
    let pool = system.spawn(state.pool(1)).await?;
    within(pool.resize(3)).await?;
    assert_eq!(state.made(), 3);
    let slow: Vec<_> = (0..3).map(|_| tokio::spawn(pool.ask(Slow))).collect();
    within(async {
        while state.log.count() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    within(pool.resize(0)).await?; // at least one
    state.admit(3);
    for answer in slow {
        assert!(within(answer).await??.lt(&3));
    }
    for _ in 0..3 {
        assert_eq!(who(&pool, 0).await, 0);
    }
    assert!(within(system.shutdown()).await.is_clean());
    Ok(())
}

#[tokio::test]
async fn full_pool_makes_its_senders_wait() -> TestResult {
    let state = PoolState::with_gate();
    let system = ActorSystem::new();
    let pool = system.spawn(state.pool(2)).mailbox(1).await?;
    // Two run, eight wait for their workers, one waits in the pool, one in its mailbox.
    let mut asks: Vec<_> = (0..12).map(|_| tokio::spawn(pool.ask(Slow))).collect();
    within(async {
        while system.snapshot().depth() < 9 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut thirteenth = pool.tell(Note(1));
    assert!(poll_once(&mut thirteenth).await.is_pending());
    state.admit(12);
    within(thirteenth).await?;
    for ask in asks.drain(..) {
        within(ask).await??;
    }
    Ok(())
}

#[tokio::test]
async fn stopping_pool_handles_queued_messages() -> TestResult {
    let state = PoolState::default();
    let system = ActorSystem::new();
    let pool = system.spawn(state.pool(3)).await?;
    let told = join_all((0..50).map(|n| pool.tell(Note(n))));
    assert!(within(told).await.iter().all(Result::is_ok));
    assert!(within(system.shutdown()).await.is_clean());
    assert_eq!(state.log.count(), 50);
    Ok(())
}

#[tokio::test]
async fn pool_does_not_start_if_its_workers_do_not() {
    let pool = Pool::new(2, || async {
        Err::<PoolWorker, _>(Failure::msg("no worker today"))
    })
    .backoff(Backoff::none());
    let failed = within(ActorSystem::new().spawn(pool)).await;
    let Err(SpawnError::StartFailed { failure, .. }) = failed else {
        panic!("{failed:?}");
    };
    assert!(failure.to_string().contains("no worker today"), "{failure}");
}

#[tokio::test]
async fn replacement_worker_gets_the_keys_of_its_predecessor() -> TestResult {
    let (system, state) = (ActorSystem::new(), PoolState::default());
    let pool = state.pool(4).by_key(|message: &Who| message.key);
    let pool = system.spawn(pool).urn("workers").await?;
    let mut before = HashMap::new();
    for key in 0..100 {
        before.insert(key, who(&pool, key).await);
    }
    let second = system.actor::<PoolWorker>("workers/2")?;
    second.stop();
    within(second.wait_stopped()).await;
    for (key, worker) in before {
        let now = if worker == 1 { 4 } else { worker };
        assert_eq!(who(&pool, key).await, now);
    }
    Ok(())
}

#[tokio::test]
async fn taken_worker_urn_is_skipped() -> TestResult {
    let (system, state) = (ActorSystem::new(), PoolState::default());
    let stranger = system.spawn(conclib_tests::actors::Raw);
    let _stranger = stranger.urn("workers/2").await?;
    let pool = system.spawn(state.pool(2)).urn("workers").await?;
    assert!(system.actor::<PoolWorker>("workers/3").is_ok());
    assert_eq!([who(&pool, 0).await, who(&pool, 0).await], [0, 1]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn restarting_worker_is_not_the_least_loaded() -> TestResult {
    let (system, state) = (ActorSystem::new(), PoolState::with_gate());
    let pool = state.pool(2).route(Route::LeastLoaded);
    let pool = system.spawn(pool.backoff(Backoff::from_secs(30))).await?;
    assert!(matches!(
        within(pool.ask(Explode)).await,
        Err(AskError::Failed { .. })
    ));
    let begun = tokio::time::Instant::now();
    let slow = tokio::spawn(pool.ask(Slow));
    within(async {
        while state.log.count() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let waits = pool.ask(Who { key: 0 });
    let waits = tokio::spawn(waits);
    tokio::task::yield_now().await;
    state.admit(1);
    assert_eq!(within(slow).await??, 1);
    assert_eq!(within(waits).await??, 1);
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "the first was not awaited"
    );
    Ok(())
}

#[tokio::test]
async fn failure_of_a_surplus_worker_does_not_fail_the_pool() -> TestResult {
    let (system, state) = (ActorSystem::new(), PoolState::with_gate());
    let pool = system.spawn(state.pool(2)).urn("workers").await?;
    let slow = [tokio::spawn(pool.ask(Slow)), tokio::spawn(pool.ask(Slow))];
    within(async {
        while state.log.count() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    pool.tell(Note(1)).await?;
    let fails = tokio::spawn(pool.ask(Explode));
    within(async {
        while system.snapshot().depth() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let second = system.actor::<PoolWorker>("workers/2")?;
    within(pool.resize(1)).await?;
    state.admit(2);
    for slow in slow {
        within(slow).await??;
    }
    assert!(matches!(within(fails).await?, Err(AskError::Failed { .. })));
    within(second.wait_stopped()).await;
    assert_eq!(who(&pool, 0).await, 0);
    assert!(!pool.is_stopped());
    Ok(())
}

#[tokio::test]
async fn supervised_pool_keeps_waiting_messages() -> TestResult {
    let (system, state) = (ActorSystem::new(), PoolState::with_gate());
    let makes = state.clone();
    let pool = system.supervise(move || {
        let pool = makes.pool(1).budget(0, Duration::from_secs(60));
        async move { pool }
    });
    let pool = pool.backoff(Backoff::none()).urn("workers").await?;
    let slow = tokio::spawn(pool.ask(Slow));
    within(async {
        while state.log.count() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let fails = tokio::spawn(pool.ask(Explode));
    // Four wait for the worker, the exploding one first, and four for the pool.
    let mut notes = Vec::new();
    for n in 0..10 {
        notes.push(tokio::spawn(pool.tell(Note(n))));
    }
    within(async {
        while system.snapshot().depth() < 8 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    state.admit(1);
    assert_eq!(within(slow).await??, 0);
    assert!(matches!(within(fails).await?, Err(AskError::Failed { .. })));
    for note in notes {
        within(note).await??;
    }
    assert!(who(&pool, 0).await > 0, "by a worker of the next life");
    let last = state.log.entries().pop();
    assert_eq!(last.as_deref(), Some("9"), "{:?}", state.log);
    Ok(())
}

#[tokio::test]
async fn pool_is_killed_while_waiting_for_room() -> TestResult {
    let (system, state) = (ActorSystem::new(), PoolState::with_gate());
    let pool = system.spawn(state.pool(1)).mailbox(1).await?;
    let asks: Vec<_> = (0..7).map(|_| tokio::spawn(pool.ask(Slow))).collect();
    within(async {
        while system.snapshot().depth() < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    pool.kill();
    for ask in asks {
        assert_eq!(within(ask).await?, Err(AskError::ActorStopped));
    }
    within(pool.wait_stopped()).await;
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test]
async fn workers_take_undecoded_requests_of_other_processes() -> TestResult {
    let config = Config::memory();
    let system = ActorSystem::new();
    start_proxy(&system, &config).await?;
    let pool = Pool::new(2, || async { conclib_tests::actors::Raw });
    system.spawn(pool).urn("raws").await?;
    let client = ProxyClient::connect(&config).await?;
    for n in 0..4 {
        let double = conclib_tests::messages::Double { n };
        assert_eq!(within(client.ask("raws", double)).await, Ok(n * 2));
    }
    let stranger = within(client.ask("raws", conclib_tests::messages::Stranger)).await;
    let unhandled = matches!(&stranger, Err(AskError::Unhandled { urn, .. }) if urn == "raws");
    assert!(unhandled, "{stranger:?}");
    assert!(within(system.shutdown()).await.is_clean());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pool_is_resized_under_load_and_failures() -> TestResult {
    let (system, state) = (ActorSystem::new(), PoolState::default());
    let pool = state.pool(3).budget(u32::MAX, Duration::from_secs(60));
    let pool = system
        .spawn(pool.route(Route::LeastLoaded))
        .mailbox(2)
        .await?;
    let askers = (0..4_u32).map(|asker| {
        let pool = pool.clone();
        tokio::spawn(async move {
            for n in 0..500 {
                let answer = if n % 50 == asker {
                    pool.ask(Explode).await
                } else {
                    pool.ask(Who { key: n }).await
                };
                // Messages for a worker that fails while it stops are refused.
                let known = matches!(
                    answer,
                    Ok(_) | Err(AskError::Failed { .. } | AskError::ActorStopped)
                );
                assert!(known, "{answer:?}");
            }
        })
    });
    let changed = pool.clone();
    let resizer = tokio::spawn(async move {
        for n in 0..100 {
            changed.resize(n * 7 % 5).await?;
        }
        Ok::<_, AskError>(())
    });
    let askers: Vec<_> = askers.collect();
    for asker in within(join_all(askers)).await {
        asker?;
    }
    within(resizer).await??;
    assert!(!pool.is_stopped());
    assert!(within(system.shutdown()).await.is_clean());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn request_expires_while_waiting_for_a_worker() -> TestResult {
    let config = Config::memory();
    let (system, state) = (ActorSystem::new(), PoolState::with_gate());
    start_proxy(&system, &config).await?;
    let pool = state.pool(1).by_key(|message: &Who| message.key);
    let pool = system.spawn(pool).urn("keyed").await?;
    let client = ProxyClient::connect(&config).await?;
    let slow = tokio::spawn(pool.ask(Slow));
    let late = client.ask("keyed", Slow).timeout(Duration::from_secs(1));
    assert!(matches!(within(late).await, Err(AskError::Timeout { .. })));
    state.admit(2);
    within(slow).await??;
    assert_eq!(who(&pool, 0).await, 0);
    assert_eq!(state.log.count(), 1, "the second has expired");
    Ok(())
}

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct LastOne;

/// Stops after each message.
#[derive(Actor)]
struct Mayfly;

#[handlers]
impl Mayfly {
    #[handler]
    fn last_one(&mut self, _: LastOne, ctx: &mut Context<Self>) -> u32 {
        ctx.stop();
        1
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_workers_lose_no_reply() -> TestResult {
    let system = ActorSystem::new();
    let pool = system.spawn(Pool::new(2, || async { Mayfly })).await?;
    let asks = (0..500).map(|_| tokio::spawn(pool.ask(LastOne)));
    for asked in within(join_all(asks)).await {
        assert_eq!(asked?, Ok(1));
    }
    Ok(())
}

#[tokio::test]
async fn stopping_pool_continues_without_a_stopped_worker() -> TestResult {
    let (system, state) = (ActorSystem::new(), PoolState::default());
    let pool = system.spawn(state.pool(2)).urn("pool").await?;
    let mut asks: Vec<_> = (0..4).map(|key| pool.ask(Who { key })).collect();
    for ask in &mut asks {
        assert!(poll_once(ask).await.is_pending());
    }
    system.actor::<PoolWorker>("pool/1")?.stop();
    let report = within(system.shutdown()).await;
    assert!(report.is_clean());
    for ask in asks {
        assert_eq!(within(ask).await, Ok(1), "by the other");
    }
    let reason = pool.wait_stopped().await;
    assert!(matches!(reason, conclib::StopReason::Shutdown), "{reason}");

    // Without a worker, waiting messages are refused.
    let system = ActorSystem::new();
    let pool = system.spawn(state.pool(1)).urn("pool").await?;
    let mut ask = pool.ask(Who { key: 1 });
    assert!(poll_once(&mut ask).await.is_pending());
    system.actor::<PoolWorker>("pool/1")?.stop();
    assert!(within(system.shutdown()).await.is_clean());
    assert_eq!(within(ask).await, Err(AskError::ActorStopped));
    let reason = pool.wait_stopped().await;
    assert!(matches!(reason, conclib::StopReason::Shutdown), "{reason}");
    Ok(())
}
