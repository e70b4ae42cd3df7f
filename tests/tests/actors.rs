//! Tells and asks: order, full mailboxes, timeouts, references.

use std::time::Duration;

use conclib::TellError;
use conclib::error::Delivered;
use conclib::prelude::*;
use conclib::system::LookupError;
use conclib_tests::actors::LoggingWorker;
use conclib_tests::messages::{Double, Note, Pass, note};
use conclib_tests::{Log, SECOND, TestResult, gate, poll_once, within};
use futures_util::future::join_all;

#[derive(ActorMessage, Serialize, Deserialize, Debug)]
struct Unknown;

#[derive(Actor)]
struct Other;

#[handlers]
impl Other {}

#[tokio::test]
async fn tell_and_ask() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = system.spawn(LoggingWorker(log.clone())).await?;
    assert_eq!(worker.ask(Double { n: 21 }).await?, 42);
    worker.tell(Double { n: 1 }).await?;
    worker.tell(note("told")).await?;
    worker.ask(note("asked")).await?;
    assert_eq!(log.entries(), ["told", "asked"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_one_sender_arrive_in_order() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = system.spawn(LoggingWorker(log.clone())).mailbox(3).await?;
    let senders = ["a", "b", "c", "d"].map(|sender| {
        let worker = worker.clone();
        tokio::spawn(async move {
            for n in 0..500 {
                worker.tell(note(format!("{sender}{n}"))).await?;
            }
            Ok::<(), TellError<Note>>(())
        })
    });
    for sender in senders {
        within(sender).await??;
    }
    worker.ask(Double { n: 0 }).await?;
    let entries = log.entries();
    for sender in ["a", "b", "c", "d"] {
        let seen = entries.iter().filter(|entry| entry.starts_with(sender));
        assert!(
            seen.eq((0..500)
                .map(|n| format!("{sender}{n}"))
                .collect::<Vec<_>>()
                .iter())
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn full_mailbox_makes_tells_wait_in_order() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = system.spawn(LoggingWorker(log.clone())).mailbox(2).await?;
    let (gate, mut keeper) = gate();
    worker.tell(Pass(gate)).await?;
    keeper.reached().await;

    worker.tell(note("1")).await?;
    worker.tell(note("2")).await?;
    let mut waiting: Vec<_> = (3..6).map(|n| worker.tell(note(n.to_string()))).collect();
    for tell in &mut waiting {
        assert!(poll_once(tell).await.is_pending());
    }
    // A tell dropped while it waits has sent nothing, and the ones behind it move up.
    drop(waiting.remove(1));
    keeper.open();
    for tell in waiting {
        within(tell).await?;
    }
    worker.ask(Double { n: 0 }).await?;
    assert_eq!(log.entries(), ["1", "2", "3", "5"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn stop_returns_messages_that_were_not_queued() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = system.spawn(LoggingWorker(log.clone())).mailbox(1).await?;
    let (gate, mut keeper) = gate();
    worker.tell(Pass(gate)).await?;
    keeper.reached().await;

    worker.tell(note("queued")).await?;
    let mut waiting = worker.tell(note("waiting"));
    assert!(poll_once(&mut waiting).await.is_pending());
    let mut asking = worker.ask(Double { n: 1 });
    assert!(poll_once(&mut asking).await.is_pending());
    worker.stop();
    let late = worker.tell(note("late"));

    // At once, although the actor is still busy.
    let back = within(waiting).await.unwrap_err();
    assert_eq!(back.into_parts(), (note("waiting"), AskError::ActorStopped));
    let back = within(late).await.unwrap_err();
    assert_eq!(back.into_parts(), (note("late"), AskError::ActorStopped));
    assert_eq!(within(asking).await, Err(AskError::ActorStopped));

    keeper.open();
    within(worker.stopped()).await;
    assert_eq!(log.entries(), ["queued"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn timeout_takes_waiting_and_queued_messages_back() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = system.spawn(LoggingWorker(log.clone())).mailbox(1).await?;
    let (gate, mut keeper) = gate();
    worker.tell(Pass(gate)).await?;
    keeper.reached().await;

    let queued = tokio::spawn(worker.ask(note("queued")).timeout(SECOND));
    tokio::task::yield_now().await;
    let refused = worker.ask(note("refused")).timeout(SECOND).await;
    let delivered = Delivered::No;
    assert_eq!(refused, Err(AskError::Timeout { delivered }));
    assert!(AskError::Timeout { delivered }.is_retryable());
    assert_eq!(queued.await?, Err(AskError::Timeout { delivered }));

    keeper.open();
    worker.ask(Double { n: 0 }).await?;
    assert!(log.entries().is_empty());
    assert_eq!(
        worker.ask(Double { n: 1 }).timeout(Duration::MAX).await,
        Ok(2)
    );
    Ok(())
}

/// Tells itself notes, this many.
#[derive(ActorMessage)]
#[message(local)]
struct Repeat(u32);

#[derive(Actor)]
struct Repeater(Log);

#[handlers]
impl Repeater {
    #[handler]
    fn note(&mut self, Note(text): Note) {
        self.0.add(text);
    }

    #[handler]
    async fn repeat(
        &mut self,
        Repeat(times): Repeat,
        ctx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        for n in 0..times {
            ctx.actor_ref().tell(note(format!("self {n}"))).await?;
        }
        self.0.add("told");
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn tell_to_oneself_never_waits() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let repeater = system.spawn(Repeater(log.clone())).mailbox(1).await?;
    within(repeater.ask(Repeat(3))).await?;
    repeater.stop();
    within(repeater.stopped()).await;
    assert_eq!(log.entries(), ["told", "self 0", "self 1", "self 2"]);
    Ok(())
}

#[derive(Actor)]
struct Starter(Log);

#[handlers]
impl Starter {
    async fn on_start(&mut self, ctx: &mut Context<Self>) -> Result<(), Failure> {
        for n in 0..3 {
            ctx.actor_ref()
                .recipient()
                .tell(note(n.to_string()))
                .await?;
        }
        self.0.add("started");
        Ok(())
    }

    #[handler]
    fn note(&mut self, Note(text): Note) {
        self.0.add(text);
    }
}

#[tokio::test(start_paused = true)]
async fn on_start_may_tell_itself_more_than_the_mailbox_holds() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let starter = within(system.spawn(Starter(log.clone())).mailbox(1)).await?;
    starter.stop();
    starter.stopped().await;
    assert_eq!(log.entries(), ["started", "0", "1", "2"]);
    Ok(())
}

#[tokio::test]
async fn actors_are_found_by_urn() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = system.spawn(LoggingWorker(log.clone())).await?;
    assert_eq!(system.ask("worker", Double { n: 4 }).await, Ok(8));
    system.tell(worker.urn(), note("by urn")).await?;
    let found: ActorRef<LoggingWorker> = system.actor("worker")?;
    assert_eq!(found, worker);
    let recipient: Recipient<Note> = system.recipient("worker")?;
    recipient.ask(note("by message")).await?;
    assert_eq!(log.entries(), ["by urn", "by message"]);

    let wrong = system.actor::<Other>("worker");
    assert!(
        matches!(wrong, Err(LookupError::WrongType { .. })),
        "{wrong:?}"
    );
    let unhandled = system.recipient::<Unknown>("worker");
    assert!(
        matches!(unhandled, Err(LookupError::Unhandled { .. })),
        "{unhandled:?}"
    );
    let unhandled = system.ask("worker", Unknown).await;
    assert!(
        matches!(unhandled, Err(AskError::Unhandled { .. })),
        "{unhandled:?}"
    );
    let absent = system.actor::<LoggingWorker>("absent");
    assert!(
        matches!(absent, Err(LookupError::NotFound { .. })),
        "{absent:?}"
    );
    let absent = system.tell("absent", Double { n: 7 }).await.unwrap_err();
    assert!(matches!(absent.reason(), AskError::ActorNotFound { urn } if urn == "absent"));
    assert_eq!(absent.into_message(), Double { n: 7 });
    Ok(())
}

#[tokio::test]
async fn dropping_references_stops_nothing() -> TestResult {
    let system = ActorSystem::new();
    let weak = {
        let worker = system.spawn(LoggingWorker(Log::default())).await?;
        worker.downgrade()
    };
    assert_eq!(system.ask("worker", Double { n: 1 }).await?, 2);
    let worker = weak.upgrade().ok_or("it lives")?;
    worker.stop();
    worker.stopped().await;
    assert!(worker.is_stopped() && weak.upgrade().is_none());
    assert_eq!(
        worker.ask(Double { n: 1 }).await,
        Err(AskError::ActorStopped)
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn while_referenced_ends_with_the_last_reference() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = system
        .spawn(LoggingWorker(log.clone()))
        .while_referenced()
        .await?;
    let (weak, recipient) = (worker.downgrade(), worker.recipient::<Note>());
    drop(worker.clone());
    drop(worker);
    drop(system.recipient::<Unknown>("worker"));
    drop(system.actor::<Other>("worker"));
    recipient.ask(note("a recipient counts")).await?;
    let mut tell = recipient.tell(note("a tell under way counts"));
    drop(recipient);
    assert!(poll_once(&mut tell).await.is_ready());
    drop(tell);
    while !system.is_empty() {
        within(tokio::task::yield_now()).await;
    }
    assert!(weak.upgrade().is_none());
    assert_eq!(
        log.entries(),
        ["a recipient counts", "a tell under way counts"]
    );
    Ok(())
}

#[tokio::test]
async fn tells_and_asks_are_ordinary_futures() -> TestResult {
    fn movable<F: Future + Send + Unpin + 'static>(future: F) -> F {
        future
    }
    let system = ActorSystem::new();
    let worker = system
        .spawn(LoggingWorker(Log::default()))
        .mailbox(4)
        .await?;
    let asks = (0..100).map(|n| movable(worker.ask(Double { n }).timeout(60 * SECOND)));
    let answers: Result<Vec<u32>, AskError> = within(join_all(asks)).await.into_iter().collect();
    assert!(answers?.into_iter().eq((0..100).map(|n| n * 2)));

    let tell = movable(system.tell("worker", note("moved")));
    drop(movable(worker.recipient().tell(note("never sent"))));
    tokio::spawn(tell).await??;
    let ask = tokio::spawn(movable(worker.recipient().ask(Double { n: 2 })));
    assert_eq!(ask.await??, 4);
    Ok(())
}
