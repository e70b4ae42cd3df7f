//! Ended waits leave neither entries nor references behind.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::deadlock::current::{Current, TaskContext};
use crate::deadlock::{AwaitedEvent, Participant, current_waits};
use crate::pool::Pool;
use crate::prelude::*;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(ActorMessage)]
#[message(local)]
struct Run(Work);

#[derive(Actor)]
#[actor(mailbox = 1)]
struct Node;

#[handlers]
impl Node {
    #[handler]
    async fn run(&mut self, Run(work): Run) {
        work.await;
    }
}

fn run(work: impl Future<Output = ()> + Send + 'static) -> Run {
    Run(Box::pin(work))
}

/// Polls a future once and drops it.
async fn begin(mut future: impl Future + Unpin) {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut future).poll(cx).is_ready())).await;
}

#[tokio::test(start_paused = true)]
async fn ended_waits_are_removed_and_keep_no_actor_alive() -> Result<(), crate::SpawnError> {
    let system = ActorSystem::new();
    let (a, b) = (system.spawn(Node).await?, system.spawn(Node).await?);
    let pool = system.spawn(Pool::new(1, || async { Node })).await?;
    let (asked, both) = (b.clone(), pool.clone());
    let waits = a.ask(run(async move {
        let busy = asked.ask(run(std::future::pending()));
        let late = busy.timeout(Duration::from_secs(1)).await;
        assert!(late.is_err(), "{late:?}");
        begin(asked.ask(run(async {}))).await;
        for _ in 0..3 {
            begin(asked.tell(run(async {}))).await;
            begin(Box::pin(asked.stopped())).await;
        }
        assert_eq!(both.ask(run(async {})).await, Ok(()));
    }));
    assert_eq!(waits.await, Ok(()));
    assert_eq!(a.cell().links().active_waits().len(), 0);

    let cells = [a.cell(), b.cell()].map(std::sync::Arc::downgrade);
    let pooled = std::sync::Arc::downgrade(pool.cell());
    for actor in [&a, &b] {
        actor.kill();
        actor.stopped().await;
    }
    pool.stop();
    pool.stopped().await;
    drop((a, b, pool, system));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(cells.iter().all(|cell| cell.strong_count() == 0));
    assert_eq!(pooled.strong_count(), 0);
    Ok(())
}

#[tokio::test]
async fn pending_reply_keeps_no_mailbox_alive() {
    // A context without a task: its mailbox is never emptied.
    let ctx = crate::Context::<Node>::test();
    let asked = ctx.actor_ref();
    let cell = std::sync::Arc::downgrade(asked.cell());
    let actor: std::sync::Arc<dyn Participant> = asked.cell().clone();
    let mut context = TaskContext::of(actor.clone());
    let current = Current::enter(actor.id(), &mut context);
    let (reply, _answer) = crate::Reply::for_ask(|| actor, std::task::Waker::noop(), None, None);
    assert!(reply.tracked().is_some());
    drop(current);
    drop(context);
    let inbox = <Node as crate::actor::Handler<Run>>::wrap(run(async {}), reply);
    assert!(asked.cell().mailbox.try_push(|| Some(inbox)).is_ok());
    drop((ctx, asked));
    assert_eq!(cell.strong_count(), 0);
}

#[derive(ActorMessage)]
#[message(local, response = ())]
struct Connect;

/// Has the replies to messages that it could not forward.
#[derive(Actor)]
struct Switchboard {
    to: Recipient<Connect>,
    /// Forwards in a task of its own, which runs for no actor.
    is_aside: bool,
    unanswered: Vec<Reply<()>>,
}

#[handlers]
impl Switchboard {
    #[handler]
    async fn connect(&mut self, message: Connect, reply: Reply<()>) {
        let forward = self.to.forward(message, reply);
        let forwarded = if self.is_aside {
            tokio::spawn(forward).await.unwrap()
        } else {
            forward.await
        };
        let (_, reply) = forwarded.unwrap_err().into_parts();
        self.unanswered.push(reply);
    }
}

#[tokio::test(start_paused = true)]
async fn reply_of_a_failed_forward_is_awaited_from_the_actor_that_has_it()
-> Result<(), crate::SpawnError> {
    let system = ActorSystem::new();
    for is_aside in [false, true] {
        let switchboard = |to| Switchboard {
            to,
            is_aside,
            unanswered: Vec::new(),
        };
        let nowhere = crate::Context::<Switchboard>::test().actor_ref();
        let gone = system.spawn(switchboard(nowhere.recipient())).await?;
        gone.stop();
        gone.stopped().await;
        let switchboard = system.spawn(switchboard(gone.recipient())).await?;
        let (waiting, asked) = (system.spawn(Node).await?, switchboard.clone());
        let ask = run(async move { drop(asked.ask(Connect).await) });
        waiting.tell(ask).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let waits = current_waits(&**waiting.cell()).into_iter();
        let waits: Vec<_> = waits.map(|(actor, event)| (actor.id(), event)).collect();
        let id = Participant::id(&**switchboard.cell());
        let expected = (id, AwaitedEvent::Reply);
        assert_eq!(waits.len(), usize::from(!is_aside));
        assert!(waits.into_iter().all(|wait| wait == expected));
    }
    Ok(())
}
