//! Runtimes within a handler.

use std::time::Duration;

use conclib::prelude::*;
use conclib_tests::messages::{Pass, Ping};
use conclib_tests::{TestResult, gate, poll_once, within};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_blocking, spawn_local};

type Within = Box<dyn FnOnce(&ActorRef<Host>) + Send>;

/// Runs blocking code in its handler.
#[derive(Actor)]
#[actor(mailbox = 1)]
struct Host;

#[derive(ActorMessage)]
#[message(local)]
struct Block(Within);

#[handlers]
impl Host {
    #[handler]
    async fn block(&mut self, Block(code): Block, ctx: &mut Context<Self>) {
        let own = ctx.actor_ref();
        tokio::task::block_in_place(|| code(&own));
    }

    #[handler]
    fn ping(&mut self, _: Ping) -> u32 {
        1
    }

    #[handler]
    async fn pass(&mut self, Pass(gate): Pass) {
        gate.pass().await;
    }
}

fn block(code: impl FnOnce(&ActorRef<Host>) + Send + 'static) -> Block {
    Block(Box::new(code))
}

fn private() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// Lets the tasks of this runtime run until they wait.
async fn let_others_run() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

fn is_cycle(result: &Result<u32, AskError>) -> bool {
    matches!(result, Err(AskError::AskCycle { .. }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn task_of_a_nested_runtime_is_not_part_of_the_handler() -> TestResult {
    let system = ActorSystem::new();
    let host = system.spawn(Host).await?;
    let (sender, receiver) = oneshot::channel();
    let asks = block(move |own| {
        let (runtime, own) = (private(), own.clone());
        let asked = runtime.spawn(async move { own.ask(Ping).await });
        runtime.block_on(let_others_run());
        let _ = sender.send((runtime, asked));
    });
    within(host.ask(asks)).await?;
    let (runtime, asked) = within(receiver).await?;
    // It continues when the handler has returned.
    let result = spawn_blocking(move || runtime.block_on(asked));
    assert_eq!(within(result).await??, Ok(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn task_of_a_nested_local_set_is_not_part_of_the_handler() -> TestResult {
    let system = ActorSystem::new();
    let host = system.spawn(Host).await?;
    let (sender, receiver) = oneshot::channel();
    let asks = block(move |own| {
        let (local, own) = (LocalSet::new(), own.clone());
        let result = local.block_on(&private(), async {
            let mut asked = spawn_local(async move { own.ask(Ping).await });
            let_others_run().await;
            poll_once(&mut asked).await.is_ready()
        });
        let _ = sender.send(result);
    });
    within(host.ask(asks)).await?;
    assert!(!within(receiver).await?, "it waits");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn task_of_a_nested_runtime_has_no_inherited_deadline() -> TestResult {
    const HOUR: Duration = Duration::from_secs(3600);
    let system = ActorSystem::new();
    let host = system.spawn(Host).await?;
    let other = system.spawn(Host).urn("other").await?;
    let (hold, keeper) = gate();
    let (sender, receiver) = oneshot::channel();
    let asks = block(move |_| {
        // Its paused clock moves on when all tasks wait.
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let result = runtime.block_on(async {
            let asked = tokio::spawn(async move { other.ask(Pass(hold)).await });
            tokio::time::sleep(2 * HOUR).await;
            let early = asked.is_finished();
            keeper.open();
            (early, asked.await.expect("no panic"))
        });
        let _ = sender.send(result);
    });
    within(host.ask(asks).timeout(HOUR)).await?;
    assert_eq!(within(receiver).await?, (false, Ok(())));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn task_of_a_nested_runtime_needs_room_like_others() -> TestResult {
    let system = ActorSystem::new();
    let host = system.spawn(Host).await?;
    let (sender, receiver) = oneshot::channel();
    let tells = block(move |own| {
        let (tells, own) = (own.clone(), own.clone());
        let told = private().block_on(async {
            let in_task = tokio::spawn(async move {
                let filled = tells.try_tell(Ping);
                (filled.is_ok(), tells.try_tell(Ping).map_err(AskError::from))
            });
            (in_task.await.expect("no panic"), own.try_tell(Ping).is_ok())
        });
        let _ = sender.send(told);
    });
    within(host.ask(tells)).await?;
    let ((filled, refused), own) = within(receiver).await?;
    assert!(filled && own, "its own code needs no room");
    assert!(
        matches!(refused, Err(AskError::Overloaded { .. })),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn future_that_a_handler_blocks_on_is_part_of_the_handler() -> TestResult {
    let system = ActorSystem::new();
    let host = system.spawn(Host).await?;
    let (sender, receiver) = oneshot::channel();
    let asks = block(move |own| {
        let handle = Handle::current();
        let result = [
            handle.block_on(async { own.ask(Ping).await }),
            private().block_on(async { own.ask(Ping).await }),
            LocalSet::new().block_on(&private(), async { own.ask(Ping).await }),
            handle.block_on(async {
                let mut several: FuturesUnordered<_> = [own.ask(Ping)].into_iter().collect();
                several.next().await.expect("one")
            }),
        ];
        let _ = sender.send(result);
    });
    within(host.ask(asks)).await?;
    let result = within(receiver).await?;
    assert!(result.iter().all(is_cycle), "{result:?}");
    assert_eq!(within(host.ask(Ping)).await, Ok(1));
    Ok(())
}
