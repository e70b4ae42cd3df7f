//! Observers of failures.

use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex};

use conclib::SpawnError;
use conclib::error::ChildFailure;
use conclib::prelude::*;
use conclib::snapshot::Phase;
use conclib::supervision::Backoff;
use conclib::system::FailureEvent;
use conclib_tests::scripted::{ScriptedActor, fail, lives, run, run_async};
use conclib_tests::{Log, TestResult, within};

/// A system, and the failures that its observer has seen.
fn observed() -> (ActorSystem, Arc<Mutex<Vec<FailureEvent>>>) {
    let (system, seen) = (ActorSystem::new(), Arc::<Mutex<Vec<_>>>::default());
    let events = seen.clone();
    system.on_failure(move |event| events.lock().unwrap().push(event.clone()));
    (system, seen)
}

#[tokio::test]
async fn observer_sees_the_handler_and_the_error_of_each_failure() -> TestResult {
    let (system, seen) = observed();
    let log = Log::default();
    let a = system.supervise(lives("a", &log)).urn("a");
    let a = within(a.backoff(Backoff::none())).await?;
    within(a.ask(fail())).await.unwrap_err();
    let no_disk = run_async(|_| Box::pin(ready(Err(io::Error::other("no disk").into()))));
    within(a.ask(no_disk)).await.unwrap_err();
    // Its own end, and the failure of a task, for which no handler runs.
    let in_a_task =
        run(|ctx| drop(ctx.pipe(async { panic!("in a task") as conclib_tests::messages::Note })));
    a.tell(in_a_task).await?;
    conclib_tests::until(|| seen.lock().unwrap().len() == 3).await;

    let seen = seen.lock().unwrap();
    for event in &*seen {
        assert_eq!((event.urn.as_str(), event.phase), ("a", Phase::Running));
        assert!(event.actor_type.ends_with("ScriptedActor") && event.is_supervised);
    }
    let handlers: Vec<_> = seen.iter().map(|event| event.handler).collect();
    assert_eq!(handlers, [Some("run"), Some("run"), None]);
    assert!(seen[0].failure.is_panic());
    assert!(seen[1].failure.downcast_ref::<io::Error>().is_some());
    assert_eq!(seen[2].failure.to_string(), "panicked: in a task");
    Ok(())
}

#[tokio::test]
async fn observer_sees_failed_starts_last_hooks_and_parents() -> TestResult {
    let (system, seen) = observed();
    let log = Log::default();
    let mortal =
        ScriptedActor::new("a", &log).starting(|_| Box::pin(ready(Err(Failure::msg("no luck")))));
    let failed = within(system.spawn(mortal)).await;
    assert!(matches!(failed, Err(SpawnError::StartFailed { .. })));
    let clumsy = ScriptedActor::new("b", &log).stopping(|_| panic!("at last"));
    let clumsy = within(system.spawn(clumsy)).await?;
    clumsy.stop();
    within(clumsy.stopped()).await;
    // A child escalates.
    let child = ScriptedActor::new("child", &log);
    let parent = within(system.spawn(ScriptedActor::new("parent", &log))).await?;
    let spawning = run_async(|ctx| {
        let spawn = ctx.spawn(child).urn("child").escalate();
        Box::pin(async { Ok(spawn.await.map(drop)?) })
    });
    within(parent.ask(spawning)).await?;
    within(system.ask("child", fail())).await.unwrap_err();
    within(parent.stopped()).await;

    let seen = seen.lock().unwrap();
    let phases: Vec<_> = seen.iter().map(|event| event.phase).collect();
    assert_eq!(
        phases,
        [
            Phase::Starting,
            Phase::Stopping,
            Phase::Running,
            Phase::Running
        ]
    );
    assert!(seen.iter().all(|event| !event.is_supervised));
    assert_eq!(seen[2].urn, "child");
    let cause = seen[3].failure.downcast_ref::<ChildFailure>();
    assert_eq!(cause.expect("the child's").urn, "child");
    Ok(())
}

#[tokio::test]
async fn observer_that_panics_stops_neither_others_nor_the_actor() -> TestResult {
    let system = ActorSystem::new();
    let seen = Arc::<Mutex<Vec<&str>>>::default();
    let (first, second) = (seen.clone(), seen.clone());
    let adds = system.clone();
    system.on_failure(move |_| {
        first.lock().unwrap().push("first");
        adds.on_failure(|_| {}); // an observer may add another
        panic!("on purpose");
    });
    system.on_failure(move |_| second.lock().unwrap().push("second"));
    let a = system.supervise(lives("a", &Log::default()));
    let a = within(a.backoff(Backoff::none())).await?;
    within(a.ask(fail())).await.unwrap_err();
    within(a.ask(run(|_| {}))).await?;
    assert_eq!(*seen.lock().unwrap(), ["first", "second"]);
    Ok(())
}

#[tokio::test]
async fn requested_ends_are_no_failures() -> TestResult {
    let (system, seen) = observed();
    let ends: [fn(&ActorRef<ScriptedActor>); 2] = [ActorRef::stop, ActorRef::kill];
    for end in ends {
        let a = within(system.spawn(ScriptedActor::new("a", &Log::default()))).await?;
        end(&a);
        within(a.stopped()).await;
    }
    within(system.shutdown()).await;
    assert!(seen.lock().unwrap().is_empty());
    Ok(())
}
