//! Cancellation of handlers whose answer is no longer awaited. Time is paused.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use conclib::error::Delivered;
use conclib::prelude::*;
use conclib::reply::Cancelled;
use conclib_tests::messages::Explode;
use conclib_tests::{Log, MS, TestResult, poll_once, within};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

/// Works until it is cancelled, observed in one of several ways.
#[derive(ActorMessage, Clone, Copy, Debug)]
#[message(local, response = u32)]
enum Work {
    /// In the handler.
    Here,
    /// In a task of its own.
    Elsewhere,
    /// Without observing it: it answers after a while.
    Regardless,
    /// With a new future for each of a hundred polls.
    Often,
}

/// As [`Work`], for a handler that takes its reply.
#[derive(ActorMessage, Clone, Copy, Debug)]
#[message(local, response = u32)]
enum Later {
    ByContext,
    ByReply,
    /// Keeps the reply, and returns.
    Kept,
}

#[derive(Actor)]
struct CancellableWorker(Log);

#[handlers]
impl CancellableWorker {
    #[handler]
    async fn work(&mut self, work: Work, ctx: &mut Context<Self>) -> u32 {
        self.0.add("begun");
        match work {
            Work::Here => {
                let cancelled = ctx.cancelled();
                ctx.urn(); // it does not borrow the context
                cancelled.await;
            }
            Work::Elsewhere => {
                let (cancelled, log) = (ctx.cancelled(), self.0.clone());
                tokio::spawn(async move {
                    cancelled.await;
                    log.add("elsewhere");
                });
                pending::<()>().await;
            }
            Work::Regardless => sleep(100 * MS).await,
            Work::Often => {
                for _ in 0..100 {
                    drop(timeout(MS, ctx.cancelled()).await);
                }
            }
        }
        self.0.add("ended");
        7
    }

    #[handler]
    async fn later(&mut self, later: Later, ctx: &mut Context<Self>, reply: Reply<u32>) {
        self.0.add("begun");
        match later {
            Later::ByContext => ctx.cancelled().await,
            Later::ByReply => reply.cancelled().await,
            Later::Kept => {
                let log = self.0.clone();
                tokio::spawn(async move {
                    reply.cancelled().await;
                    assert!(!reply.is_wanted());
                    log.add("ended");
                });
                return;
            }
        }
        self.0.add("ended");
    }
}

async fn worker(system: &ActorSystem) -> (ActorRef<CancellableWorker>, Log) {
    let log = Log::default();
    let worker = system.spawn(CancellableWorker(log.clone())).await;
    (worker.unwrap(), log)
}

/// Waits up to a second for an entry.
async fn comes(log: &Log, entry: &str) -> bool {
    let wait = async {
        while !log.entries().iter().any(|other| other == entry) {
            sleep(MS).await;
        }
    };
    timeout(1000 * MS, wait).await.is_ok()
}

/// True if the handler of an ask ends after its asker was dropped.
async fn ends_with_its_asker<M>(message: M) -> bool
where
    M: ActorMessage,
    CancellableWorker: conclib::actor::Handler<M>,
{
    let system = ActorSystem::new();
    let (worker, log) = worker(&system).await;
    let asker = tokio::spawn(worker.ask(message));
    assert!(comes(&log, "begun").await);
    sleep(50 * MS).await;
    assert_eq!(log.entries(), ["begun"], "it waits");
    asker.abort();
    comes(&log, "ended").await
}

#[tokio::test(start_paused = true)]
async fn handler_is_cancelled_when_its_asker_is_dropped() {
    assert!(ends_with_its_asker(Work::Here).await);
    for later in [Later::ByContext, Later::ByReply, Later::Kept] {
        assert!(ends_with_its_asker(later).await, "{later:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn handler_is_cancelled_at_its_deadline() -> TestResult {
    let system = ActorSystem::new();
    let (worker, log) = worker(&system).await;
    let asked = worker.ask(Work::Here).timeout(50 * MS).await;
    let delivered = Delivered::Accepted;
    assert_eq!(asked, Err(AskError::Timeout { delivered }));
    assert!(comes(&log, "ended").await);
    // The same for an asker that is never polled again.
    let start = Instant::now();
    let mut ask = worker.ask(Later::ByReply).timeout(50 * MS);
    assert!(poll_once(&mut ask).await.is_pending());
    worker.ask(Work::Regardless).await?;
    assert_eq!(start.elapsed(), 150 * MS);
    // The timeout and the end of the handler come together.
    assert!(ask.await.is_err());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn cancelled_handlers_reply_is_dropped() -> TestResult {
    let system = ActorSystem::new();
    let (worker, log) = worker(&system).await;
    for _ in 0..3 {
        assert!(worker.ask(Work::Here).timeout(10 * MS).await.is_err());
    }
    assert_eq!(worker.ask(Work::Regardless).await, Ok(7));
    assert_eq!(worker.ask(Work::Often).await, Ok(7));
    assert_eq!(log.count(), 10);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn cancelled_may_be_awaited_outside_the_handler() -> TestResult {
    let system = ActorSystem::new();
    let (worker, log) = worker(&system).await;
    let asker = tokio::spawn(worker.ask(Work::Elsewhere));
    assert!(comes(&log, "begun").await);
    sleep(50 * MS).await;
    assert_eq!(log.entries(), ["begun"]);
    asker.abort();
    assert!(comes(&log, "elsewhere").await);
    worker.kill();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn tell_is_never_cancelled() -> TestResult {
    let system = ActorSystem::new();
    let (worker, log) = worker(&system).await;
    worker.tell(Work::Here).await?;
    assert!(!comes(&log, "ended").await);
    worker.kill();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn answered_request_counts_as_cancelled() {
    let (reply, answer) = Reply::channel();
    let mut cancelled = reply.cancelled();
    assert!(poll_once(&mut cancelled).await.is_pending());
    let waits = tokio::spawn(cancelled);
    tokio::task::yield_now().await;
    reply.send(1);
    assert!(within(waits).await.is_ok());
    assert_eq!(answer.await, Ok(1));

    let (reply, answer) = Reply::<u32>::channel();
    let mut cancelled = reply.cancelled();
    drop(answer);
    for _ in 0..3 {
        assert!(poll_once(&mut cancelled).await.is_ready(), "and stays so");
    }
    drop(reply);
    assert!(poll_once(&mut cancelled).await.is_ready());
}

#[tokio::test]
async fn without_an_asker_a_context_is_never_cancelled() {
    let mut ctx = Context::<CancellableWorker>::test();
    assert!(poll_once(&mut ctx.cancelled()).await.is_pending());
    let mut worker = CancellableWorker(Log::default());
    let (reply, answer) = Reply::channel();
    drop(answer);
    worker.later(Later::ByReply, &mut ctx, reply).await;
}

/// Collects the `Cancelled` of its hooks and handlers.
#[derive(Actor)]
struct Witness(Arc<Mutex<Vec<Cancelled>>>);

#[handlers]
impl Witness {
    async fn on_start(&mut self, ctx: &mut Context<Self>) {
        self.0.lock().unwrap().push(ctx.cancelled());
    }

    async fn on_failure(&mut self, ctx: &mut Context<Self>, _: &Failure) {
        self.0.lock().unwrap().push(ctx.cancelled());
    }

    #[handler]
    async fn explode(&mut self, _: Explode, ctx: &mut Context<Self>) {
        self.0.lock().unwrap().push(ctx.cancelled());
        panic!("on purpose");
    }
}

#[tokio::test]
async fn hooks_are_never_cancelled() -> TestResult {
    let seen = Arc::default();
    let witness = ActorSystem::new();
    let witness = witness.spawn(Witness(Arc::clone(&seen))).await?;
    assert!(matches!(
        witness.ask(Explode).await,
        Err(AskError::Failed { .. })
    ));
    within(witness.stopped()).await;
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    let mut over = Vec::new();
    for cancelled in &mut seen {
        over.push(poll_once(cancelled).await.is_ready());
    }
    assert_eq!(over, [false, true, false]);
    Ok(())
}

/// Works for its asker by asking another worker.
#[derive(Actor)]
struct Between(ActorRef<CancellableWorker>);

#[derive(ActorMessage)]
#[message(local, response = u32)]
struct AskOn;

#[handlers]
impl Between {
    #[handler]
    async fn relay(&mut self, _: AskOn, ctx: &mut Context<Self>) -> Result<u32, Failure> {
        tokio::select! {
            answer = self.0.ask(Work::Here) => Ok(answer?),
            () = ctx.cancelled() => Ok(0),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cancelled_handler_cancels_its_own_asks() -> TestResult {
    let system = ActorSystem::new();
    let (worker, log) = worker(&system).await;
    let between = system.spawn(Between(worker)).await?;
    let asker = tokio::spawn(between.ask(AskOn));
    assert!(comes(&log, "begun").await);
    asker.abort();
    assert!(comes(&log, "ended").await);
    Ok(())
}

/// Drops the asker on another thread than the one that awaits the cancellation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_dropped_asker_is_noticed() {
    for _ in 0..2_000 {
        let (reply, answer) = Reply::<u32>::channel();
        let begun = Arc::new(Notify::new());
        let watching = tokio::spawn({
            let begun = begun.clone();
            async move {
                begun.notify_one();
                reply.cancelled().await;
            }
        });
        begun.notified().await;
        tokio::spawn(async move { drop(answer) });
        within(watching).await.unwrap();
    }
}

#[test]
fn cancelled_is_send_sync_and_unpin() {
    fn sendable<T: Send + Sync + Unpin + 'static>() {}
    sendable::<Cancelled>();
    let mut never: Pin<Box<Cancelled>> = Box::pin(Context::<CancellableWorker>::test().cancelled());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert_eq!(never.as_mut().poll(&mut cx), Poll::Pending);
}
