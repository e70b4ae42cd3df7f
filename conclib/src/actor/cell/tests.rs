use std::future::{Future, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Wake, Waker};

use crate::prelude::*;
use crate::{Backoff, Terminated};

#[derive(Actor)]
struct Idle;

#[handlers]
impl Idle {}

/// Watches another, and fails when it is told.
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
async fn whoever_ends_is_no_watcher_any_more() -> TestResult {
    let system = ActorSystem::new();
    let idle = system.spawn(Idle).await?;
    let watchers = || idle.cell().links.watchers();
    let ends: [fn(&ActorRef<Watcher>); 2] = [ActorRef::stop, ActorRef::kill];
    for end in ends {
        let watcher = system.spawn(Watcher(idle.clone())).await?;
        assert_eq!(watchers(), 1);
        end(&watcher);
        watcher.wait_stopped().await;
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
fn whoever_ends_with_its_runtime_is_no_watcher_any_more() -> TestResult {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    };
    let (stays, ends) = (runtime()?, runtime()?);
    let system = ActorSystem::new();
    let idle = stays.block_on(system.spawn(Idle))?;
    ends.block_on(system.spawn(Watcher(idle.clone())))?;
    assert_eq!(idle.cell().links.watchers(), 1);
    drop(ends);
    assert_eq!(idle.cell().links.watchers(), 0);
    Ok(())
}

/// Has a child.
#[derive(Actor)]
struct Parent;

#[handlers]
impl Parent {
    async fn on_start(&mut self, ctx: &mut Context<Self>) -> Result<(), Failure> {
        ctx.spawn(Idle).urn("child").await?;
        Ok(())
    }
}

/// When it wakes, it looks how many children an actor has.
struct Counts(ActorRef<Parent>, Mutex<Vec<usize>>);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        let children = self.0.cell().links.children().len();
        if let Ok(mut seen) = self.1.lock() {
            seen.push(children);
        }
    }
}

/// Otherwise a parent could stop before its child counts as stopped.
#[tokio::test]
async fn a_child_counts_as_stopped_before_its_parent_has_lost_it() -> TestResult {
    let system = ActorSystem::new();
    let parent = system.spawn(Parent).await?;
    let child = system.actor::<Idle>("child")?;
    let counts = Arc::new(Counts(parent, Mutex::default()));
    let waker = Waker::from(counts.clone());
    let mut stopped = pin!(child.wait_stopped());
    let polled = stopped.as_mut().poll(&mut TaskContext::from_waker(&waker));
    assert!(polled.is_pending());
    child.stop();
    child.wait_stopped().await;
    let seen = counts.1.lock().map_err(|_| "poisoned")?.clone();
    assert_eq!(seen, [1]);
    Ok(())
}

#[tokio::test]
async fn a_stopped_actor_does_not_keep_its_task() -> Result<(), crate::SpawnError> {
    let idle = ActorSystem::new().spawn(Idle).await?;
    idle.wait_stopped().await; // its system is gone
    assert!(!idle.cell().control.knows_task());
    Ok(())
}
