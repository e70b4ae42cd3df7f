//! Ends of actors on demand: idle ones, and those that stop or are stopped.

use std::time::Duration;

use conclib::Terminated;
use conclib::prelude::*;
use conclib::system::OnDemandActors;
use conclib_tests::{SECOND, TestResult, gate, poll_once, settle, within};
use tokio::time::{Instant, sleep};

use super::{Act, Add, Counter, IDLE, Store};

/// The longest time from a last use to the end of the actor. The clock that stamps messages is never
/// paused, so that the first look after a message takes it for a new one.
const LONGEST: Duration = IDLE.saturating_mul(3);

struct Fixture {
    system: ActorSystem,
    store: Store,
    counters: OnDemandActors,
}

impl Fixture {
    async fn new() -> Self {
        let (system, store) = (ActorSystem::new(), Store::default());
        let counters = system.on_demand("counter/*", store.loader());
        let counters = counters.idle(IDLE).await.unwrap();
        Self {
            system,
            store,
            counters,
        }
    }

    async fn add(&self, n: u64) -> Result<u64, AskError> {
        within(self.system.ask("counter/1", Add(n))).await
    }

    async fn act(&self, act: Act) -> Result<u64, AskError> {
        within(self.system.ask("counter/1", act)).await
    }

    /// Waits for the end of the last actor; returns the time that it took.
    async fn ended(&self) -> Duration {
        let start = Instant::now();
        while !self.counters.is_empty() {
            sleep(Duration::from_millis(100)).await;
            assert!(start.elapsed() < 100 * IDLE, "it does not end");
        }
        start.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn idle_actor_ends_and_the_next_message_starts_it_with_its_state() -> TestResult {
    let it = Fixture::new().await;
    assert_eq!(it.add(1).await, Ok(1));
    let time = it.ended().await;
    assert!((IDLE..=LONGEST).contains(&time), "{time:?}");
    assert!(it.system.is_empty());
    assert_eq!(
        it.store.log(),
        ["counter/1 loaded", "counter/1 saved: it was idle"]
    );
    assert_eq!(it.add(1).await, Ok(2));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn messages_keep_an_actor_and_each_actor_has_its_own_time() -> TestResult {
    let it = Fixture::new().await;
    within(it.system.ask("counter/2", Add(1))).await?;
    for n in 1..=20 {
        assert_eq!(it.add(1).await, Ok(n));
        sleep(IDLE / 2).await;
    }
    assert_eq!(it.counters.len(), 1);
    let loads = it.store.log();
    assert_eq!(
        loads.iter().filter(|one| one.ends_with("loaded")).count(),
        2
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn ticks_are_no_use_of_an_actor() -> TestResult {
    let it = Fixture::new().await;
    it.act(Act::Tick(Duration::from_millis(300))).await?;
    let time = it.ended().await;
    assert!(time <= LONGEST + SECOND, "{time:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn tasks_children_and_handlers_keep_an_actor() -> TestResult {
    let it = Fixture::new().await;
    let long = 5 * IDLE;
    it.act(Act::Task(long)).await?;
    let time = it.ended().await;
    assert!((long..=long + LONGEST).contains(&time), "{time:?}");

    let (gate, mut handle) = gate();
    let mut waits = it.system.ask("counter/1", Act::Wait(gate));
    assert!(poll_once(&mut waits).await.is_pending());
    handle.reached().await;
    sleep(long).await;
    assert_eq!(it.counters.len(), 1);
    handle.open();
    within(waits).await?;
    assert!(it.ended().await <= LONGEST);

    it.act(Act::Child).await?;
    sleep(long).await;
    assert_eq!((it.counters.len(), it.system.len()), (1, 2));
    it.act(Act::Stop).await?;
    settle().await;
    assert!(it.system.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn references_keep_an_actor_and_weak_ones_do_not() -> TestResult {
    let it = Fixture::new().await;
    let actor = it.system.actor::<Counter>("counter/1")?;
    let recipient: Recipient<Add> = actor.recipient();
    let weak = actor.downgrade();
    drop(actor);
    sleep(5 * IDLE).await;
    assert_eq!(it.counters.len(), 1);
    assert_eq!(within(recipient.ask(Add(1))).await, Ok(1));
    drop(recipient);
    assert!(it.ended().await <= LONGEST);
    assert!(weak.upgrade().is_none());

    // An ask that is not polled yet has a reference.
    let ask = it.system.ask("counter/1", Add(1));
    sleep(5 * IDLE).await;
    assert_eq!(it.counters.len(), 1);
    assert_eq!(within(ask).await, Ok(2));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn message_during_the_end_is_handled_by_the_next_state() -> TestResult {
    let it = Fixture::new().await;
    assert_eq!(it.add(1).await, Ok(1));
    for round in 1..=3 {
        let mut at_stop = it.store.gate_at_stop();
        at_stop.reached().await;
        let mut ask = it.system.ask("counter/1", Add(1));
        assert!(poll_once(&mut ask).await.is_pending());
        at_stop.open();
        assert_eq!(within(ask).await, Ok(1 + round));
    }
    let snapshot = it.system.snapshot();
    let actor = snapshot.actor("counter/1").ok_or("it is there")?;
    assert_eq!(
        (actor.handled, actor.restarts, it.counters.len()),
        (4, 0, 1)
    );
    it.ended().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn watcher_is_told_that_an_actor_was_idle() -> TestResult {
    let it = Fixture::new().await;
    let actor = it.system.actor::<Counter>("counter/1")?;
    let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let weak = actor.downgrade();
    let watcher = it
        .system
        .spawn(Watcher {
            actor: Some(actor),
            sender,
        })
        .await?;
    let end = within(ends.recv()).await.ok_or("it ends")?;
    assert!(matches!(end.reason, StopReason::Idle) && end.urn == "counter/1");
    assert!(weak.upgrade().is_none());
    drop(watcher);
    Ok(())
}

/// Passes on the end of an actor that it watches.
#[derive(Actor)]
struct Watcher {
    actor: Option<ActorRef<Counter>>,
    sender: tokio::sync::mpsc::UnboundedSender<Terminated>,
}

#[handlers]
impl Watcher {
    fn on_start(&mut self, ctx: &mut Context<Self>) {
        ctx.watch(&self.actor.take().expect("it starts once"));
    }

    #[handler]
    fn terminated(&mut self, message: Terminated) {
        drop(self.sender.send(message));
    }
}

#[tokio::test(start_paused = true)]
async fn actor_that_stops_itself_ends_at_once_and_queued_messages_start_it_again() -> TestResult {
    let it = Fixture::new().await;
    let mut stop = it.system.ask("counter/1", Act::Stop);
    let mut behind = it.system.ask("counter/1", Add(1));
    assert!(poll_once(&mut stop).await.is_pending());
    assert!(poll_once(&mut behind).await.is_pending());
    assert_eq!(within(stop).await, Ok(0));
    assert_eq!(within(behind).await, Ok(1));
    let requested = "counter/1 saved: stop was requested";
    let loaded = "counter/1 loaded";
    assert_eq!(it.store.log(), [loaded, requested, loaded]);

    // A reference does not keep it.
    let actor = it.system.actor::<Counter>("counter/1")?;
    assert_eq!(within(actor.ask(Act::Stop)).await, Ok(1));
    assert!(matches!(
        within(actor.stopped()).await,
        StopReason::Requested
    ));
    assert_eq!(actor.ask(Add(1)).await, Err(AskError::ActorStopped));
    assert_eq!(it.add(1).await, Ok(2));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn stop_and_kill_from_outside_are_as_for_others() -> TestResult {
    let it = Fixture::new().await;
    let actor = it.system.actor::<Counter>("counter/1")?;
    actor.stop();
    assert!(matches!(
        within(actor.stopped()).await,
        StopReason::Requested
    ));
    assert_eq!(it.add(1).await, Ok(1));

    // While it ends because it was idle.
    let weak = it.system.actor::<Counter>("counter/1")?.downgrade();
    let mut at_stop = it.store.gate_at_stop();
    at_stop.reached().await;
    let actor = weak.upgrade().ok_or("it ends")?;
    actor.stop();
    at_stop.open();
    assert!(matches!(
        within(actor.stopped()).await,
        StopReason::Requested
    ));
    assert_eq!(it.add(1).await, Ok(2));

    let weak = it.system.actor::<Counter>("counter/1")?.downgrade();
    let mut at_stop = it.store.gate_at_stop();
    at_stop.reached().await;
    let actor = weak.upgrade().ok_or("it ends")?;
    actor.kill();
    assert!(matches!(within(actor.stopped()).await, StopReason::Killed));
    settle().await;
    assert!(it.counters.is_empty());
    drop(at_stop);
    Ok(())
}
