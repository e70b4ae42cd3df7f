//! Forwarding of messages with their reply.

use conclib::error::Delivered;
use conclib::prelude::*;
use conclib_tests::actors::LoggingWorker;
use conclib_tests::bus::Bus;
use conclib_tests::messages::{Double, Forget, Note, Pass, note};
use conclib_tests::{Log, SECOND, TestResult, eventually, gate, poll_once, within};

use super::{busy_worker, spawn_worker};

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
    within(stopped.stopped()).await;
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
    within(stopped.stopped()).await;
    let switch = system
        .spawn(Switch {
            stopped,
            then: None,
        })
        .await?;
    let result = within(switch.ask(Double { n: 2 })).await;
    let Err(AskError::Failed { cause: Some(cause) }) = result else {
        return Err(format!("{result:?}").into());
    };
    assert_eq!(cause.urn(), "switch");
    let text = "the message was not forwarded: the actor has stopped";
    assert_eq!(cause.text(), text);
    let reason = within(switch.stopped()).await;
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
