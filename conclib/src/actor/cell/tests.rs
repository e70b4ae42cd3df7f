use std::future::{Future, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Wake, Waker};

use crate::Terminated;
use crate::prelude::*;
use crate::supervision::Backoff;

#[derive(Actor)]
struct Idle;

#[handlers]
impl Idle {}

/// Watches another actor, and fails on request.
#[derive(Actor)]
struct Watcher(ActorRef<Idle>);

#[derive(ActorMessage, Serialize, Deserialize)]
struct Fail;

#[handlers]
impl Watcher {
    fn on_start(&mut self, ctx: &mut Context<Self>) {
        ctx.watch(&self.0);
    }

    #[handler]
    fn fail(&mut self, _: Fail) -> Result<(), Failure> {
        Err(Failure::msg("on purpose"))
    }

    #[handler]
    fn terminated(&mut self, _: Terminated) {}
}

type TestResult = Result<(), Box<dyn std::error::Error>>;

#[tokio::test]
async fn ended_actor_is_no_longer_a_watcher() -> TestResult {
    let system = ActorSystem::new();
    let idle = system.spawn(Idle).await?;
    let watchers = || idle.cell().links().watchers().len();
    let ends: [fn(&ActorRef<Watcher>); 2] = [ActorRef::stop, ActorRef::kill];
    for end in ends {
        let watcher = system.spawn(Watcher(idle.clone())).await?;
        assert_eq!(watchers(), 1);
        end(&watcher);
        watcher.stopped().await;
        assert_eq!(watchers(), 0);
    }
    let target = idle.clone();
    let again = system.supervise(move || ready(Watcher(target.clone())));
    let again = again.backoff(Backoff::none()).await?;
    for _ in 0..3 {
        assert!(matches!(
            again.ask(Fail).await,
            Err(AskError::Failed { .. })
        ));
        assert!(watchers() <= 1);
    }
    Ok(())
}

#[test]
fn actor_that_ends_with_its_runtime_is_no_longer_a_watcher() -> TestResult {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    };
    let (stays, ends) = (runtime()?, runtime()?);
    let system = ActorSystem::new();
    let idle = stays.block_on(system.spawn(Idle))?;
    ends.block_on(system.spawn(Watcher(idle.clone())))?;
    assert_eq!(idle.cell().links().watchers().len(), 1);
    drop(ends);
    assert_eq!(idle.cell().links().watchers().len(), 0);
    Ok(())
}

#[test]
fn flags_of_a_test_context_are_set_when_it_is_dropped() {
    let ctx = Context::<Idle>::test();
    let flag = ctx.cancel_flag();
    assert!(!flag.is_cancelled());
    drop(ctx);
    assert!(flag.is_cancelled());
}

#[test]
fn name_is_written_out_once() {
    let ctx = Context::<Idle>::test();
    let actor = ctx.actor_ref();
    assert_eq!(format!("{actor:?}"), format!("ActorRef({:?})", actor.urn()));
    assert!(std::ptr::eq(actor.urn(), ctx.urn()));
}

/// An actor with a child.
#[derive(Actor)]
struct Parent;

#[handlers]
impl Parent {
    async fn on_start(&mut self, ctx: &mut Context<Self>) -> Result<(), Failure> {
        ctx.spawn(Idle).urn("child").await?;
        Ok(())
    }
}

/// A waker that records the number of an actor's children when it is woken.
struct Counts(ActorRef<Parent>, Mutex<Vec<usize>>);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        let children = self.0.cell().links().children().len();
        if let Ok(mut seen) = self.1.lock() {
            seen.push(children);
        }
    }
}

/// In the other order, a parent could stop before its child counts as stopped.
#[tokio::test]
async fn child_counts_as_stopped_before_it_leaves_its_parent() -> TestResult {
    let system = ActorSystem::new();
    let parent = system.spawn(Parent).await?;
    let child = system.actor::<Idle>("child")?;
    let counts = Arc::new(Counts(parent, Mutex::default()));
    let waker = Waker::from(counts.clone());
    let mut stopped = pin!(child.stopped());
    let polled = stopped.as_mut().poll(&mut TaskContext::from_waker(&waker));
    assert!(polled.is_pending());
    child.stop();
    child.stopped().await;
    let seen = counts.1.lock().map_err(|_| "poisoned")?.clone();
    assert_eq!(seen, [1]);
    Ok(())
}

#[tokio::test]
async fn stopped_actor_drops_the_waker_of_its_task() -> Result<(), crate::SpawnError> {
    let idle = ActorSystem::new().spawn(Idle).await?;
    idle.stopped().await; // stops, since its system was dropped
    assert!(!idle.cell().mailbox.has_receiver());
    Ok(())
}
