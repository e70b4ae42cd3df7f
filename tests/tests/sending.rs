//! Other ways to send than an awaited tell: `try_tell`, with a timeout, blocking,
//! forwarding; and recipients as references.

use std::thread;
use std::time::Duration;

use conclib::prelude::*;
use conclib::{Delivered, Spawn, WeakRecipient};
use conclib_tests::actors::LoggingWorker;
use conclib_tests::bus::Bus;
use conclib_tests::messages::{Double, Forget, Note, Pass, note};
use conclib_tests::{GateHandle, Log, SECOND, TestResult, eventually, gate, poll_once, within};
use tokio::runtime::Runtime;
use tokio::task::spawn_blocking;

/// For blocking waits, whose clock cannot be paused.
const SHORT: Duration = Duration::from_millis(5);

/// A worker with room for one message.
fn spawn_worker(system: &ActorSystem, log: &Log) -> Spawn<LoggingWorker> {
    system.spawn(LoggingWorker(log.clone())).mailbox(1)
}

/// A busy worker with room for one message.
async fn busy_worker(
    system: &ActorSystem,
    log: &Log,
) -> Result<(ActorRef<LoggingWorker>, GateHandle), Box<dyn std::error::Error>> {
    let worker = spawn_worker(system, log).await?;
    let (gate, mut keeper) = gate();
    worker.tell(Pass(gate)).await?;
    keeper.reached().await;
    Ok((worker, keeper))
}

// ---- try_tell

#[tokio::test(start_paused = true)]
async fn try_tell_returns_a_message_without_room() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let (worker, keeper) = busy_worker(&system, &log).await?;
    assert!(worker.try_tell(note("in")).is_ok());

    let back = worker.try_tell(note("full")).unwrap_err();
    assert!(
        matches!(back.reason(), AskError::Overloaded { retry_after } if !retry_after.is_zero())
    );
    assert!(back.reason().is_retryable());
    assert_eq!(back.into_message().0, "full");
    let back = worker.recipient().try_tell(note("full as well"));
    assert!(back.is_err_and(|back| matches!(back.reason(), AskError::Overloaded { .. })));

    keeper.open();
    within(worker.ask(Double { n: 0 })).await?;
    assert!(worker.recipient().try_tell(note("room again")).is_ok());
    worker.stop();
    let back = worker.try_tell(note("stopped")).unwrap_err();
    assert_eq!(back.into_parts(), (note("stopped"), AskError::ActorStopped));
    within(worker.wait_stopped()).await;
    assert_eq!(log.entries(), ["in", "room again"]);
    Ok(())
}

/// Tries to tell itself notes, this many; the answer is the number of successes.
#[derive(ActorMessage)]
#[message(local, response = usize)]
struct TellSelf(usize);

#[derive(Actor)]
struct SelfTeller(Log);

#[handlers]
impl SelfTeller {
    #[handler]
    fn note(&mut self, Note(text): Note) {
        self.0.add(text);
    }

    #[handler]
    fn tell_self(&mut self, TellSelf(times): TellSelf, ctx: &mut Context<Self>) -> usize {
        let told = (0..times).map(|n| ctx.actor_ref().try_tell(note(n.to_string())));
        told.flatten().count()
    }
}

#[tokio::test(start_paused = true)]
async fn actor_always_has_room_for_itself() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let teller = system.spawn(SelfTeller(log.clone())).mailbox(1).await?;
    assert_eq!(teller.ask(TellSelf(3)).await?, 3);
    teller.stop();
    within(teller.wait_stopped()).await;
    assert_eq!(log.entries(), ["0", "1", "2"]);
    Ok(())
}

// ---- with a timeout

#[tokio::test(start_paused = true)]
async fn tell_with_a_timeout_returns_its_message() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let (worker, keeper) = busy_worker(&system, &log).await?;
    worker.tell(note("in")).timeout(SECOND).await?;

    let begin = tokio::time::Instant::now();
    let mut patient = worker.tell(note("patient")).timeout(3 * SECOND);
    tokio::time::advance(SECOND).await; // not awaited yet: the timeout has not begun
    assert!(poll_once(&mut patient).await.is_pending());
    let back = worker.tell(note("late")).timeout(SECOND).await.unwrap_err();
    let delivered = Delivered::No;
    assert_eq!(
        back.into_parts(),
        (note("late"), AskError::Timeout { delivered })
    );
    assert!(begin.elapsed() >= 2 * SECOND);
    let mut endless = worker.tell(note("endless")).timeout(Duration::MAX);
    assert!(poll_once(&mut endless).await.is_pending());

    tokio::time::advance(SECOND).await;
    assert!(poll_once(&mut patient).await.is_pending());
    keeper.open();
    within(patient).await?;
    within(endless).await?;
    within(worker.ask(Double { n: 0 })).await?;
    assert_eq!(log.entries(), ["in", "patient", "endless"]);

    worker.stop();
    let back = worker.tell(note("stopped")).timeout(SECOND).await;
    assert!(back.is_err_and(|back| back.reason() == &AskError::ActorStopped));
    let back = system.tell("nobody", note("lost")).timeout(SECOND).await;
    assert!(back.is_err_and(|back| matches!(back.reason(), AskError::ActorNotFound { .. })));
    Ok(())
}

// ---- blocking

#[test]
fn threads_without_a_runtime_tell_and_ask() -> TestResult {
    let runtime = Runtime::new()?;
    let system = ActorSystem::new();
    let log = Log::default();
    let (worker, keeper) = runtime
        .block_on(busy_worker(&system, &log))
        .map_err(|error| error.to_string())?;

    worker.tell(note("in")).blocking()?;
    let back = worker.tell(note("late")).timeout(SHORT).blocking();
    let back = back.unwrap_err();
    let delivered = Delivered::No;
    assert_eq!(
        back.into_parts(),
        (note("late"), AskError::Timeout { delivered })
    );
    let late = worker.ask(Double { n: 1 }).timeout(SHORT).blocking();
    assert_eq!(late, Err(AskError::Timeout { delivered }));

    // Both wait: for room, and then for the answer.
    let teller = worker.clone();
    let telling = thread::spawn(move || teller.tell(note("told")).timeout(60 * SECOND).blocking());
    let asker = worker.clone();
    let asking = thread::spawn(move || asker.ask(Double { n: 21 }).blocking());
    keeper.open();
    telling.join().map_err(|_| "it panicked")??;
    assert_eq!(asking.join().map_err(|_| "it panicked")?, Ok(42));
    worker.ask(Double { n: 0 }).blocking()?;
    assert_eq!(log.entries(), ["in", "told"]);

    // An ask that was polled as a future keeps its deadline.
    let (gate, mut keeper) = gate();
    let mut ask = worker.ask(Pass(gate)).timeout(SHORT);
    runtime.block_on(async {
        assert!(poll_once(&mut ask).await.is_pending());
        keeper.reached().await;
    });
    let delivered = Delivered::Accepted;
    assert_eq!(ask.blocking(), Err(AskError::Timeout { delivered }));
    keeper.open();

    // A blocking wait reports the end of the runtime.
    let (gate, mut keeper) = conclib_tests::gate();
    let asker = worker.clone();
    let waiting = thread::spawn(move || asker.ask(Pass(gate)).blocking());
    runtime.block_on(keeper.reached());
    drop(runtime);
    let ended = waiting.join().map_err(|_| "it panicked")?;
    assert_eq!(ended, Err(AskError::ActorStopped));
    assert_eq!(
        worker.ask(Double { n: 1 }).blocking(),
        Err(AskError::ActorStopped)
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn blocking_calls_work_in_spawn_blocking() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = spawn_worker(&system, &log).await?;
    let asker = worker.clone();
    let answer = spawn_blocking(move || asker.ask(Double { n: 2 }).blocking());
    assert_eq!(within(answer).await?, Ok(4));

    let (gate, mut keeper) = gate();
    worker.tell(Pass(gate)).await?;
    keeper.reached().await;
    let asker = worker.clone();
    // By the real clock: the paused one does not move meanwhile.
    let late = spawn_blocking(move || asker.ask(Double { n: 2 }).timeout(SHORT).blocking());
    let delivered = Delivered::No;
    assert_eq!(late.await?, Err(AskError::Timeout { delivered }));
    keeper.open();
    Ok(())
}

/// Asks the recipient in a blocking call within the handler.
#[derive(ActorMessage)]
#[message(local)]
struct Block(Recipient<Double>);

#[derive(Actor)]
struct Blocker;

#[handlers]
impl Blocker {
    #[handler]
    fn block(&mut self, Block(other): Block) -> Result<(), Failure> {
        other.ask(Double { n: 1 }).blocking()?;
        Ok(())
    }
}

#[tokio::test]
async fn blocking_call_in_a_task_panics() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = spawn_worker(&system, &log).await?;
    // The same if it would not have to wait.
    let teller = worker.clone();
    let told = tokio::spawn(async move { teller.tell(note("never told")).blocking() });
    assert!(within(told).await.is_err_and(|error| error.is_panic()));

    let blocker = system.spawn(Blocker).await?;
    let blocked = within(blocker.ask(Block(worker.recipient()))).await;
    assert!(matches!(blocked, Err(AskError::Failed { .. })));
    assert_eq!(worker.ask(Double { n: 1 }).await, Ok(2));
    assert_eq!(log.count(), 0);
    Ok(())
}

// ---- forwarding

#[tokio::test(start_paused = true)]
async fn forwarded_message_is_answered_by_its_receiver() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let (worker, keeper) = busy_worker(&system, &log).await?;
    let (reply, answer) = Reply::channel();
    worker
        .forward(Double { n: 1 }, reply)
        .await
        .map_err(AskError::from)?;
    let (reply, second) = Reply::channel();
    let mut forward = worker.recipient().forward(Double { n: 2 }, reply);
    assert!(poll_once(&mut forward).await.is_pending()); // it waits for room
    keeper.open();
    within(forward).await.map_err(AskError::from)?;
    assert_eq!(within(answer).await, Ok(2));
    assert_eq!(within(second).await, Ok(4));

    let (reply, answer) = Reply::channel();
    worker
        .forward(Forget, reply)
        .await
        .map_err(AskError::from)?;
    assert_eq!(within(answer).await, Err(AskError::NoReply));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn failed_forward_is_reported_to_the_asker() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let (worker, _keeper) = busy_worker(&system, &log).await?;

    let (reply, unpolled) = Reply::channel();
    drop(worker.forward(Double { n: 1 }, reply));
    assert_eq!(within(unpolled).await, Err(AskError::NoReply));

    let (reply, in_mailbox) = Reply::channel();
    worker
        .forward(Double { n: 2 }, reply)
        .await
        .map_err(AskError::from)?;
    let (reply, mut in_line) = Reply::channel();
    let mut forward = worker.forward(Double { n: 3 }, reply);
    assert!(poll_once(&mut forward).await.is_pending());
    assert!(poll_once(&mut in_line).await.is_pending());
    drop(forward);
    assert_eq!(within(in_line).await, Err(AskError::NoReply));

    let (reply, late) = Reply::channel();
    let back = worker.forward(Double { n: 4 }, reply).timeout(SECOND).await;
    let back = back.unwrap_err();
    let delivered = Delivered::No;
    assert_eq!(back.reason(), &AskError::Timeout { delivered });
    drop(back);
    let delivered = Delivered::Accepted; // by the handler that forwards it
    assert_eq!(within(late).await, Err(AskError::Timeout { delivered }));

    let (reply, at_stop) = Reply::channel();
    let mut forward = worker.forward(Double { n: 5 }, reply);
    assert!(poll_once(&mut forward).await.is_pending());
    worker.kill();
    let back = within(forward).await.unwrap_err();
    assert_eq!(AskError::from(back), AskError::ActorStopped);
    assert_eq!(within(at_stop).await, Err(AskError::ActorStopped));
    // It was queued, but no handler had started.
    assert_eq!(within(in_mailbox).await, Err(AskError::ActorStopped));

    let (reply, after_stop) = Reply::channel();
    let back = worker.forward(Double { n: 6 }, reply).await.unwrap_err();
    assert_eq!(AskError::from(back), AskError::ActorStopped);
    assert_eq!(within(after_stop).await, Err(AskError::ActorStopped));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn failed_forward_returns_message_and_reply() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let (worker, _keeper) = busy_worker(&system, &log).await?;
    let other = spawn_worker(&system, &log).urn("other").await?;
    worker.tell(note("fills the mailbox")).await?;

    let (reply, answer) = Reply::channel();
    let late = worker.forward(Double { n: 1 }, reply).timeout(SECOND).await;
    let (message, reply) = late.unwrap_err().into_parts();
    assert!(message == Double { n: 1 } && reply.is_wanted());
    worker.kill();
    let back = worker.forward(message, reply).await.unwrap_err();
    assert_eq!(back.reason(), &AskError::ActorStopped);
    let text = "the message was not forwarded: the actor has stopped";
    assert_eq!(back.to_string(), text);
    let (message, reply) = back.into_parts();
    other
        .forward(message, reply)
        .await
        .map_err(AskError::from)?;
    assert_eq!(within(answer).await, Ok(2));

    let (reply, dropped) = Reply::channel();
    let back = worker.forward(Double { n: 2 }, reply).await.unwrap_err();
    drop(back.into_parts());
    assert_eq!(within(dropped).await, Err(AskError::NoReply));
    Ok(())
}

/// Forwards to a stopped actor, and then to another.
#[derive(Actor)]
#[actor(urn = "switch")]
struct Switch {
    stopped: ActorRef<LoggingWorker>,
    then: Option<ActorRef<LoggingWorker>>,
}

#[handlers]
impl Switch {
    #[handler]
    async fn double(&mut self, message: Double, reply: Reply<u32>) -> Result<(), Failure> {
        let Some(then) = &self.then else {
            self.stopped.forward(message, reply).await?;
            return Ok(());
        };
        if let Err(back) = self.stopped.forward(message, reply).await {
            let (message, reply) = back.into_parts();
            then.forward(message, reply).await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn forward_to_a_stopped_actor_costs_no_reply() -> TestResult {
    let bus = Bus::memory();
    let (system, _proxy) = bus.system().await;
    let stopped = spawn_worker(&system, &Log::default())
        .urn("stopped")
        .await?;
    stopped.kill();
    within(stopped.wait_stopped()).await;
    let then = Some(spawn_worker(&system, &Log::default()).await?);
    let switch = system.spawn(Switch { stopped, then }).await?;
    assert_eq!(within(switch.ask(Double { n: 2 })).await, Ok(4));
    let client = bus.client().await;
    assert_eq!(within(client.ask("switch", Double { n: 3 })).await, Ok(6));
    Ok(())
}

#[tokio::test]
async fn failure_by_a_forward_names_handler_and_cause() -> TestResult {
    let system = ActorSystem::new();
    let stopped = spawn_worker(&system, &Log::default()).await?;
    stopped.kill();
    within(stopped.wait_stopped()).await;
    let switch = system
        .spawn(Switch {
            stopped,
            then: None,
        })
        .await?;
    let heard = within(switch.ask(Double { n: 2 })).await;
    let Err(AskError::Failed { cause: Some(cause) }) = heard else {
        return Err(format!("{heard:?}").into());
    };
    assert_eq!(cause.urn(), "switch");
    let text = "the message was not forwarded: the actor has stopped";
    assert_eq!(cause.text(), text);
    let reason = within(switch.wait_stopped()).await;
    assert_eq!(reason.failure().ok_or("no failure")?.to_string(), text);
    Ok(())
}

/// Forwards its messages.
#[derive(Actor)]
#[actor(urn = "desk")]
struct Desk {
    to: ActorRef<LoggingWorker>,
    log: Log,
}

#[handlers]
impl Desk {
    #[handler]
    async fn double(&mut self, message: Double, reply: Reply<u32>) {
        let forwarded = self.to.forward(message, reply).await;
        self.log.add(format!("forwarded: {}", forwarded.is_ok()));
    }

    #[handler]
    async fn raw(&mut self, envelope: RequestEnvelope) -> Result<(), UnexpectedMessage> {
        let message = envelope.extract::<Note>()?;
        let forwarded = self.to.forward(message, envelope.into_reply::<Note>());
        self.log
            .add(format!("forwarded: {}", forwarded.await.is_ok()));
        Ok(())
    }
}

#[tokio::test]
async fn requests_from_the_bus_are_forwarded() -> TestResult {
    let bus = Bus::memory();
    let (system, _proxy) = bus.system().await;
    let (log, forwarded) = (Log::default(), Log::default());
    let worker = spawn_worker(&system, &log).await?;
    let desk = Desk {
        to: worker.clone(),
        log: forwarded.clone(),
    };
    system.spawn(desk).await?;
    let client = bus.client().await;
    assert_eq!(client.ask("desk", Double { n: 21 }).await, Ok(42));
    assert_eq!(client.ask("desk", note("raw")).await, Ok(()));
    assert_eq!(log.entries(), ["raw"]);

    // The worker ends before it handles waiting messages, and then it is gone.
    let (gate, mut keeper) = gate();
    worker.tell(Pass(gate)).await?;
    keeper.reached().await;
    let waiting = tokio::spawn(client.ask("desk", Double { n: 1 }));
    eventually("it is forwarded", async || forwarded.count() == 3).await;
    worker.kill();
    assert_eq!(within(waiting).await?, Err(AskError::ActorStopped));
    let late = within(client.ask("desk", note("late"))).await;
    assert_eq!(late, Err(AskError::ActorStopped));
    let late = within(client.ask("desk", Double { n: 1 })).await;
    assert_eq!(late, Err(AskError::ActorStopped));
    let entries = forwarded.entries();
    assert_eq!(entries[..3], ["forwarded: true"; 3]);
    assert_eq!(entries[3..], ["forwarded: false"; 2]);
    Ok(())
}

// ---- recipients as references

#[tokio::test(start_paused = true)]
async fn recipients_are_equal_if_they_lead_to_the_same_actor() -> TestResult {
    let system = ActorSystem::new();
    let worker = spawn_worker(&system, &Log::default()).await?;
    let other = spawn_worker(&system, &Log::default()).urn("other").await?;
    let recipient: Recipient<Double> = worker.recipient();
    assert_eq!(recipient, system.recipient("worker")?);
    assert_ne!(recipient, other.recipient());

    assert!(!recipient.is_stopped());
    worker.kill();
    assert!(matches!(
        within(recipient.wait_stopped()).await,
        StopReason::Killed
    ));
    assert!(recipient.is_stopped() && !other.is_stopped());
    assert_eq!(recipient, worker.recipient()); // still
    let next = within(spawn_worker(&system, &Log::default())).await?;
    assert_ne!(recipient, next.recipient()); // at the same URN
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn weak_recipient_keeps_no_actor_alive() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = spawn_worker(&system, &log).while_referenced().await?;
    let weak: WeakRecipient<Note> = worker.recipient().downgrade();
    let strong = weak.upgrade().ok_or("it lives")?;
    assert_eq!(strong, worker.recipient());
    drop(worker);
    strong.ask(note("a recipient counts")).await?;
    let stopped = {
        let system = system.clone();
        drop(strong);
        async move {
            while !system.is_empty() {
                tokio::task::yield_now().await;
            }
        }
    };
    within(stopped).await;
    assert!(weak.upgrade().is_none() && weak.clone().upgrade().is_none());
    assert_eq!(format!("{weak:?}"), "WeakRecipient(None)");
    assert_eq!(log.entries(), ["a recipient counts"]);
    Ok(())
}

// ---- errors in `?`

/// `Send`, but not `Sync`.
#[derive(ActorMessage)]
#[message(local)]
struct Single(std::cell::Cell<u32>);

#[derive(Actor)]
struct Shelf;

#[handlers]
impl Shelf {
    #[handler]
    fn single(&mut self, _: Single) {}
}

/// Tells the shelf a `Single`, and fails if that does not work.
#[derive(Actor)]
struct Carrier {
    to: Recipient<Single>,
}

#[handlers]
impl Carrier {
    #[handler]
    async fn double(&mut self, Double { n }: Double) -> Result<u32, Failure> {
        self.to.tell(Single(n.into())).await?;
        self.to.try_tell(Single(n.into()))?;
        Ok(2 * n)
    }
}

#[tokio::test]
async fn tell_errors_of_messages_without_sync_convert_to_failures() -> TestResult {
    let system = ActorSystem::new();
    let shelf = system.spawn(Shelf).await?;
    let to = shelf.recipient();
    let carrier = system.spawn(Carrier { to: to.clone() }).await?;
    assert_eq!(carrier.ask(Double { n: 2 }).await, Ok(4));
    shelf.stop();
    let back = to.tell(Single(7.into())).await.unwrap_err();
    assert_eq!(back.into_message().0.get(), 7);
    Ok(())
}

/// The one conversion that an error of a web server needs.
#[derive(Debug, PartialEq)]
struct WebError(AskError);

impl From<AskError> for WebError {
    fn from(error: AskError) -> Self {
        Self(error)
    }
}

#[tokio::test]
async fn remote_tells_and_asks_share_one_error() -> TestResult {
    async fn handler(client: &ProxyClient) -> Result<(), WebError> {
        client.tell("nobody", note("told")).await?;
        client.ask("nobody", note("asked")).await?;
        Ok(())
    }
    let client = ProxyClient::connect(&Config::memory()).await?;
    assert_eq!(handler(&client).await, Err(WebError(AskError::NoResponder)));
    Ok(())
}
