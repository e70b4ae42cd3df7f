//! Actors on threads of their own, whose handlers block.

use std::collections::HashSet;
use std::future::{IntoFuture, ready};
use std::sync::{Arc, Barrier, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

use conclib::pool::Pool;
use conclib::prelude::*;
use conclib::supervision::Backoff;
use conclib_tests::messages::{Double, Note, Ping, note};
use conclib_tests::scripted::ScriptedActor;
use conclib_tests::{Log, LogsDrop, MS, SECOND, TEST_TIMEOUT, TestResult, until, within};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

type Code = dyn FnOnce(&mut Context<Blocker>) -> u32 + Send;

/// Runs a closure on the actor's thread; the answer is its result.
#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Block(Box<Code>);

fn block(code: impl FnOnce(&mut Context<Blocker>) -> u32 + Send + 'static) -> Block {
    Block(Box::new(code))
}

#[derive(ActorMessage)]
#[message(local)]
struct Fail;

/// Waits by timers, tasks and closures.
#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Await;

/// Asks for the thread of the actor.
#[derive(ActorMessage)]
#[message(local, response = ThreadId)]
struct WhichThread;

#[derive(Actor)]
#[actor(urn = "blocker", mailbox = 8, thread)]
struct Blocker {
    log: Log,
    _state: LogsDrop,
}

impl Blocker {
    fn new(log: &Log) -> Self {
        Self {
            log: log.clone(),
            _state: LogsDrop(log.clone(), "state dropped"),
        }
    }
}

#[handlers]
impl Blocker {
    fn on_start(&mut self) {
        assert_eq!(thread::current().name(), Some("blocker"));
    }

    fn on_stop(&mut self, reason: &StopReason) {
        self.log.add(reason.to_string());
    }

    #[handler]
    fn block(&mut self, Block(code): Block, ctx: &mut Context<Self>) -> u32 {
        code(ctx)
    }

    #[handler]
    async fn wait(&mut self, _: Await, ctx: &mut Context<Self>) -> u32 {
        tokio::time::sleep(MS).await;
        tokio::task::yield_now().await;
        let task = tokio::spawn(async { 1 }).await;
        task.unwrap_or(0) + ctx.spawn_blocking(|_| 2).await
    }

    #[handler]
    fn which_thread(&mut self, _: WhichThread) -> ThreadId {
        thread::current().id()
    }

    #[handler]
    fn note(&mut self, Note(text): Note) {
        self.log.add(text);
    }

    #[handler]
    fn fail(&mut self, _: Fail) -> Result<(), Failure> {
        Err(Failure::msg("on purpose"))
    }

    #[handler]
    fn ping(&mut self, _: Ping) -> u32 {
        1
    }
}

#[derive(Actor)]
struct Doubler;

#[handlers]
impl Doubler {
    #[handler]
    async fn double(&mut self, message: Double) -> u32 {
        tokio::time::sleep(MS).await;
        message.n * 2
    }
}

fn runtimes() -> std::io::Result<[Runtime; 2]> {
    let mut several = Builder::new_multi_thread();
    Ok([
        Builder::new_current_thread().enable_all().build()?,
        several.worker_threads(2).enable_all().build()?,
    ])
}

/// Runs a test on a runtime with one thread, and on one with several.
fn on_both(test: impl AsyncFn() -> TestResult) -> TestResult {
    let mut runtimes = runtimes()?.into_iter();
    runtimes.try_for_each(|runtime| runtime.block_on(test()))
}

async fn blocker() -> Result<(ActorSystem, ActorRef<Blocker>, Log), conclib::SpawnError> {
    let (system, log) = (ActorSystem::new(), Log::default());
    let blocker = within(system.spawn(Blocker::new(&log))).await?;
    Ok((system, blocker, log))
}

#[test]
fn blocking_handler_blocks_no_other_actor() -> TestResult {
    on_both(async || {
        let (system, blocker, _log) = blocker().await?;
        let doubler = system.spawn(Doubler).await?;
        let (go, may_go) = mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel();
        let asked = tokio::spawn(
            blocker
                .ask(block(move |_| {
                    let _ = begun.send(());
                    may_go.recv_timeout(TEST_TIMEOUT).map_or(0, |()| 7)
                }))
                .into_future(),
        );
        within(begins).await?;
        assert_eq!(within(doubler.ask(Double { n: 4 })).await?, 8);
        go.send(())?;
        assert_eq!(within(asked).await??, 7);
        Ok(())
    })
}

#[test]
fn handlers_may_block_in_every_way_and_await() -> TestResult {
    on_both(async || {
        let (system, blocker, _log) = blocker().await?;
        let doubler = system.spawn(Doubler).await?;
        assert_eq!(within(blocker.ask(Await)).await?, 3);

        let asked = doubler.clone();
        let blocking = block(move |_| asked.ask(Double { n: 1 }).blocking().unwrap_or(0));
        assert_eq!(within(blocker.ask(blocking)).await?, 2);

        let asked = doubler.clone();
        let on_handle = block(move |_| {
            let asked = Handle::current().block_on(asked.ask(Double { n: 2 }).into_future());
            asked.unwrap_or(0)
        });
        assert_eq!(within(blocker.ask(on_handle)).await?, 4);

        // A runtime of its own, as blocking clients have.
        let own_runtime = block(|_| {
            let runtime = Builder::new_current_thread().enable_all().build();
            let slept = runtime.map(|runtime| runtime.block_on(tokio::time::sleep(MS)));
            slept.map_or(0, |()| 5)
        });
        assert_eq!(within(blocker.ask(own_runtime)).await?, 5);

        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move { sender.send(6).await });
        let from_task = block(move |_| receiver.blocking_recv().unwrap_or(0));
        assert_eq!(within(blocker.ask(from_task)).await?, 6);
        Ok(())
    })
}

#[test]
fn actor_is_woken_after_a_handler_that_blocked() -> TestResult {
    on_both(async || {
        let (system, blocker, log) = blocker().await?;
        let doubler = system.spawn(Doubler).await?;
        for n in 0..50 {
            let doubler = doubler.clone();
            let asks = block(move |_| doubler.ask(Double { n }).blocking().unwrap_or(0));
            let asked = tokio::spawn(blocker.ask(asks).into_future());
            blocker.tell(note("told")).await?; // perhaps while the handler blocks
            assert_eq!(within(asked).await??, 2 * n);
        }
        within(blocker.ask(Ping)).await?;
        assert_eq!(log.count(), 50);
        Ok(())
    })
}

#[test]
fn timers_tasks_and_children_are_as_elsewhere() -> TestResult {
    on_both(async || {
        let (_system, blocker, log) = blocker().await?;
        let begin = block(|ctx| {
            ctx.after(MS, note("timer"));
            ctx.pipe(async { note("task") });
            let spawn = ctx.spawn(ScriptedActor::new("child", &Log::default()));
            let child = Handle::current().block_on(spawn.urn("child").into_future());
            u32::from(child.is_ok())
        });
        assert_eq!(within(blocker.ask(begin)).await?, 1);
        until(|| log.count() == 2).await;
        blocker.stop();
        within(blocker.stopped()).await;
        let entries = log.entries();
        let last = ["stop was requested", "state dropped"];
        assert_eq!(entries[2..], last, "{entries:?}");
        Ok(())
    })
}

#[test]
fn restarts_keep_the_thread() -> TestResult {
    on_both(async || {
        let (system, log) = (ActorSystem::new(), Log::default());
        let made = log.clone();
        let spawn = system.supervise(move || ready(Blocker::new(&made)));
        let blocker = within(spawn.backoff(Backoff::starting_at(MS))).await?;
        let first = within(blocker.ask(WhichThread)).await?;
        assert_ne!(first, thread::current().id());
        within(blocker.ask(Fail)).await.unwrap_err();
        assert_eq!(within(blocker.ask(WhichThread)).await?, first);
        assert_eq!(log.entries(), ["state dropped"]);
        Ok(())
    })
}

#[test]
fn deadlocks_and_deadlines_are_as_elsewhere() -> TestResult {
    on_both(async || {
        let (_system, blocker, _log) = blocker().await?;
        let asks_itself = block(|ctx| {
            let asked = ctx.actor_ref().ask(Ping).blocking();
            u32::from(matches!(asked, Err(AskError::AskCycle { .. })))
        });
        assert_eq!(within(blocker.ask(asks_itself)).await?, 1);

        let (go, may_go) = mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel();
        let waits = block(move |_| {
            let _ = begun.send(());
            may_go.recv_timeout(TEST_TIMEOUT).map_or(0, |()| 1)
        });
        let waits = tokio::spawn(blocker.ask(waits).into_future());
        within(begins).await?;
        let late = within(blocker.ask(Ping).timeout(20 * MS)).await;
        let not_begun = AskError::Timeout {
            delivered: conclib::error::Delivered::No,
        };
        assert_eq!(late, Err(not_begun));
        go.send(())?;
        assert_eq!(within(waits).await??, 1);
        Ok(())
    })
}

#[test]
fn kill_waits_for_a_handler_that_blocks_and_sets_its_flag() -> TestResult {
    on_both(async || {
        let (_system, blocker, _log) = blocker().await?;
        let (begun, begins) = oneshot::channel();
        let spins = block(move |ctx| {
            let cancel = ctx.cancel_flag();
            let _ = begun.send(());
            while !cancel.is_cancelled() {
                thread::sleep(MS);
            }
            1
        });
        let asked = tokio::spawn(blocker.ask(spins).into_future());
        within(begins).await?;
        blocker.kill();
        assert!(matches!(
            within(blocker.stopped()).await,
            StopReason::Killed
        ));
        drop(within(asked).await?); // the handler may have answered before it ended
        Ok(())
    })
}

#[test]
fn shutdown_reports_a_handler_that_blocks_as_stuck() -> TestResult {
    on_both(async || {
        let (system, blocker, log) = blocker().await?;
        let (go, may_go) = mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel();
        blocker
            .tell(block(move |_| {
                let _ = begun.send(());
                may_go.recv_timeout(TEST_TIMEOUT).map_or(0, |()| 1)
            }))
            .await?;
        within(begins).await?;
        let report = within(system.shutdown().timeout(20 * MS)).await;
        assert_eq!(report.stuck, [blocker.urn().clone()]);
        assert_eq!(log.count(), 0);
        go.send(())?;
        assert!(matches!(
            within(blocker.stopped()).await,
            StopReason::Killed
        ));
        assert_eq!(log.entries(), ["state dropped"]);
        Ok(())
    })
}

#[test]
fn workers_of_a_pool_have_a_thread_each() -> TestResult {
    #[derive(Actor)]
    #[actor(thread)]
    struct Worker(Arc<Barrier>);

    #[handlers]
    impl Worker {
        #[handler]
        fn which_thread(&mut self, _: WhichThread) -> ThreadId {
            self.0.wait(); // until four of them wait
            thread::current().id()
        }
    }

    on_both(async || {
        let system = ActorSystem::new();
        let barrier = Arc::new(Barrier::new(4));
        let pool = Pool::new(4, move || ready(Worker(barrier.clone())));
        let pool = system.spawn(pool).await?;
        let asked: Vec<_> = (0..8)
            .map(|_| tokio::spawn(pool.ask(WhichThread).into_future()))
            .collect();
        let mut threads = HashSet::new();
        for asked in asked {
            threads.insert(within(asked).await??);
        }
        assert_eq!(threads.len(), 4);
        Ok(())
    })
}

#[test]
fn actor_ends_with_its_runtime() -> TestResult {
    for runtime in runtimes()? {
        let (system, blocker, log) = runtime.block_on(blocker())?;
        // The handler waits for a timer of the runtime.
        runtime.block_on(async {
            blocker.tell(Await).await?;
            within(blocker.ask(Ping)).await
        })?;
        drop(runtime);
        let other = Builder::new_current_thread().enable_all().build()?;
        let end = other.block_on(async { within(blocker.stopped()).await });
        assert!(matches!(end, StopReason::Killed));
        assert_eq!(log.entries(), ["state dropped"]);
        assert!(system.is_empty());
    }
    Ok(())
}

#[test]
fn runtime_ends_while_a_handler_blocks() -> TestResult {
    for runtime in runtimes()? {
        let (go, may_go) = mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel();
        let (_system, blocker, log) = runtime.block_on(async {
            let (system, blocker, log) = blocker().await?;
            let waits = block(move |_| {
                let _ = begun.send(());
                may_go.recv_timeout(TEST_TIMEOUT).map_or(0, |()| 1)
            });
            blocker.tell(waits).await?;
            blocker.tell(note("not handled")).await?;
            within(begins).await?;
            Ok::<_, Box<dyn std::error::Error>>((system, blocker, log))
        })?;
        drop(runtime); // does not wait for the handler
        assert_eq!(log.count(), 0);
        go.send(())?;
        let other = Builder::new_current_thread().enable_all().build()?;
        other.block_on(async { within(blocker.stopped()).await });
        assert_eq!(log.entries(), ["state dropped"]);
    }
    Ok(())
}

#[test]
fn requests_of_other_processes_reach_a_thread() -> TestResult {
    #[derive(Actor)]
    #[actor(urn = "remote", thread)]
    struct Remote;

    #[handlers]
    impl Remote {
        #[handler]
        fn double(&mut self, message: Double) -> u32 {
            thread::sleep(Duration::from_micros(100)); // stands for a blocking call
            message.n * 2
        }
    }

    on_both(async || {
        let config = Config::memory();
        let system = ActorSystem::new();
        system.spawn(Remote).await?;
        start_proxy(&system, &config).await?;
        let client = ProxyClient::connect(&config).await?;
        let asked = client.ask("remote", Double { n: 3 }).timeout(60 * SECOND);
        assert_eq!(within(asked).await?, 6);
        assert!(within(system.shutdown()).await.is_clean());
        Ok(())
    })
}
