//! Actor systems: shutting down in order and within a bound, and spawning under pressure.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use conclib::SpawnError;
use conclib::prelude::*;
use conclib::system::ShutdownReport;
use conclib_tests::messages::Ping;
use conclib_tests::{Log, SECOND, TestResult, poll_once, within};
use futures_util::future::{join_all, try_join_all};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

/// A handler that never ends, but awaits.
#[derive(ActorMessage, Serialize, Deserialize)]
struct Hang;

/// A handler that blocks its thread until the sender is dropped.
#[derive(ActorMessage)]
#[message(local)]
struct Block(oneshot::Sender<()>, mpsc::Receiver<()>);

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = bool)]
struct HasSystem;

#[derive(ActorMessage)]
#[message(local, response = ShutdownReport)]
struct ShutDown;

#[derive(Actor)]
struct Member {
    name: &'static str,
    log: Log,
}

#[handlers]
impl Member {
    async fn on_stop(&mut self, ctx: &mut Context<Self>, reason: &StopReason) {
        let refused = match ctx.system() {
            Some(system) => {
                system
                    .spawn(Self {
                        name: "late",
                        log: self.log.clone(),
                    })
                    .await
            }
            None => Err(SpawnError::SystemClosed),
        };
        assert!(
            matches!(refused, Err(SpawnError::SystemClosed)),
            "{refused:?}"
        );
        assert!(matches!(reason, StopReason::Shutdown), "{reason}");
        self.log.add(self.name);
    }

    #[handler]
    fn ping(&mut self, _: Ping) -> u32 {
        1
    }

    #[handler]
    async fn hang(&mut self, _: Hang) {
        pending::<()>().await;
    }

    #[handler]
    fn block(&mut self, Block(began, released): Block) {
        let _ = began.send(());
        let _ = released.recv(); // ends when the sender is dropped
    }

    #[handler]
    fn has_system(&mut self, _: HasSystem, ctx: &mut Context<Self>) -> bool {
        ctx.system().is_some()
    }

    #[handler]
    async fn shut_down(&mut self, _: ShutDown, ctx: &mut Context<Self>) -> ShutdownReport {
        let system = ctx.system().expect("it lives");
        let report = system.shutdown().await;
        self.log.add(format!(
            "{} has shut down, {} left",
            self.name,
            system.len()
        ));
        report
    }
}

/// A system with members of these names, the first the oldest.
async fn members(log: &Log, names: &[&'static str]) -> (ActorSystem, Vec<ActorRef<Member>>) {
    let system = ActorSystem::new();
    let mut members = Vec::new();
    for name in names {
        let spawn = system
            .spawn(Member {
                name,
                log: log.clone(),
            })
            .urn(*name);
        members.push(spawn.await.expect("it starts"));
    }
    (system, members)
}

#[tokio::test]
async fn shutdown_stops_the_newest_first_and_refuses_spawns() {
    let log = Log::default();
    let (system, members) = members(&log, &["a", "b", "c", "d"]).await;
    let mut asks: Vec<_> = members.iter().map(|member| member.ask(Ping)).collect();
    for ask in &mut asks {
        assert!(poll_once(ask).await.is_pending());
    }
    let report = within(system.shutdown()).await;
    assert!(report.is_clean());
    assert_eq!(log.entries(), ["d", "c", "b", "a"]);
    assert!(
        join_all(asks)
            .await
            .into_iter()
            .all(|answer| answer == Ok(1))
    );
    assert!(system.is_empty());
    let late = system.spawn(Member { name: "late", log }).await;
    assert!(matches!(late, Err(SpawnError::SystemClosed)), "{late:?}");
    assert!(within(system.shutdown()).await.is_clean(), "again");
}

#[tokio::test(start_paused = true)]
async fn shutdown_kills_and_reports_actors_past_the_bound() -> TestResult {
    let log = Log::default();
    let (system, members) = members(&log, &["old", "ends", "hangs", "new"]).await;
    members[2].tell(Hang).await?;
    let ends = members[1].clone();
    tokio::spawn(async move {
        sleep(2 * SECOND).await;
        ends.kill();
    });
    let began = Instant::now();
    let report = within(system.shutdown().timeout(5 * SECOND)).await;
    assert_eq!(began.elapsed(), 5 * SECOND);
    assert_eq!(report.killed, ["hangs"]);
    assert_eq!(report.stuck, Vec::<conclib::Urn>::new());
    assert_eq!(log.entries(), ["new", "old"]); // `old` had its turn in the second after the bound
    assert!(system.is_empty() && !report.is_clean());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_reports_actors_that_block_a_thread() -> TestResult {
    let (system, members) = members(&Log::default(), &["stuck"]).await;
    let (release, released) = mpsc::channel();
    let (began, begins) = oneshot::channel();
    members[0].tell(Block(began, released)).await?;
    within(begins).await?;
    let report = within(system.shutdown().timeout(Duration::from_millis(10))).await;
    assert_eq!(report.stuck, ["stuck"]);
    assert_eq!(report.killed, Vec::<conclib::Urn>::new());
    assert_eq!(system.len(), 1);
    drop(release);
    within(members[0].stopped()).await;
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn actor_may_shut_its_own_system_down() -> TestResult {
    let log = Log::default();
    let (system, members) = members(&log, &["a", "b", "c"]).await;
    let report = within(members[1].ask(ShutDown)).await?;
    assert!(report.is_clean());
    within(members[1].stopped()).await;
    assert_eq!(log.entries(), ["c", "a", "b has shut down, 1 left", "b"]);
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn shutdown_dropped_midway_may_be_called_again() -> TestResult {
    let log = Log::default();
    let (system, members) = members(&log, &["a", "hangs", "c"]).await;
    members[1].tell(Hang).await?;
    let midway = tokio::time::timeout(SECOND, system.shutdown()).await;
    assert!(midway.is_err());
    assert_eq!(members[0].ask(Ping).await, Ok(1), "the rest runs on");
    members[1].kill();
    assert!(within(system.shutdown()).await.is_clean());
    assert_eq!(log.entries(), ["c", "a"]);
    Ok(())
}

#[tokio::test]
async fn dropping_the_last_system_stops_all() -> TestResult {
    let log = Log::default();
    let (system, members) = members(&log, &["a", "b"]).await;
    let clone = system.clone();
    drop(system);
    assert_eq!(members[0].ask(HasSystem).await, Ok(true));
    let mut ask = members[0].ask(HasSystem);
    assert!(poll_once(&mut ask).await.is_pending());
    drop(clone);
    assert_eq!(ask.await, Ok(false), "a context does not keep its system");
    for member in &members {
        let reason = within(member.stopped()).await;
        assert!(matches!(reason, StopReason::Shutdown), "{reason}");
    }
    assert_eq!(log.count(), 2);
    Ok(())
}

#[tokio::test]
async fn systems_do_not_know_each_other() -> TestResult {
    let log = Log::default();
    let (one, _) = members(&log, &["a", "b"]).await;
    let (other, _) = members(&Log::default(), &["a", "b"]).await;
    assert_ne!(one.actor::<Member>("a")?, other.actor::<Member>("a")?);
    assert!(within(one.shutdown()).await.is_clean());
    assert_eq!(log.count(), 2);
    assert!(matches!(
        one.ask("a", Ping).await,
        Err(AskError::ActorNotFound { .. })
    ));
    assert_eq!(other.ask("a", Ping).await, Ok(1));
    Ok(())
}

// ---- concurrency

/// Counts its living instances.
#[derive(Actor)]
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(living: &Arc<AtomicUsize>) -> Self {
        living.fetch_add(1, Ordering::SeqCst);
        Self(living.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[handlers]
impl Counted {
    #[handler]
    fn ping(&mut self, _: Ping) -> u32 {
        1
    }
}

#[derive(ActorMessage, Serialize, Deserialize)]
struct Unknown;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_actors_start_answer_and_stop() -> TestResult {
    let system = ActorSystem::new();
    let living = Arc::default();
    let spawns = (0..1000).map(|_| tokio::spawn(system.spawn(Counted::new(&living))));
    let actors = within(try_join_all(spawns)).await?;
    let actors: Vec<_> = actors.into_iter().collect::<Result<_, _>>()?;
    assert_eq!(system.len(), 1000);
    let answers = within(try_join_all(actors.iter().map(|actor| actor.ask(Ping)))).await?;
    assert_eq!(answers.iter().sum::<u32>(), 1000);
    assert!(within(system.shutdown()).await.is_clean());
    assert!(system.is_empty());
    assert_eq!(living.load(Ordering::SeqCst), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_one_of_concurrent_spawns_gets_the_urn() -> TestResult {
    let system = ActorSystem::new();
    let living = Arc::default();
    for _ in 0..100 {
        let spawns = (0..4).map(|_| tokio::spawn(system.spawn(Counted::new(&living)).urn("one")));
        let spawned = within(try_join_all(spawns)).await?;
        let (won, lost): (Vec<_>, Vec<_>) = spawned.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        assert!(
            lost.iter()
                .all(|lost| matches!(lost, Err(SpawnError::UrnTaken { .. })))
        );
        assert_eq!(living.load(Ordering::SeqCst), 1);
        for winner in won.into_iter().flatten() {
            winner.stop();
            within(winner.stopped()).await;
        }
        assert_eq!(living.load(Ordering::SeqCst), 0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spawns_that_race_a_shutdown_leave_nothing_behind() -> TestResult {
    for round in 0..100 {
        let system = ActorSystem::new();
        let living = Arc::default();
        let spawns = (0..8).map(|_| tokio::spawn(system.spawn(Counted::new(&living))));
        let spawns: Vec<_> = spawns.collect();
        for _ in 0..round % 10 {
            tokio::task::yield_now().await;
        }
        assert!(within(system.shutdown()).await.is_clean());
        for spawned in within(try_join_all(spawns)).await? {
            match spawned {
                Ok(actor) => drop(within(actor.stopped()).await),
                Err(error) => assert!(matches!(error, SpawnError::SystemClosed), "{error:?}"),
            }
        }
        assert!(system.is_empty());
        assert_eq!(living.load(Ordering::SeqCst), 0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lookup_while_an_actor_is_spawned_does_not_end_it() -> TestResult {
    let system = ActorSystem::new();
    let living = Arc::default();
    let looked_up = system.clone();
    let looking = tokio::spawn(async move {
        loop {
            for _ in 0..100 {
                drop(looked_up.recipient::<Unknown>("referenced"));
            }
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..2000 {
        let actor = Counted::new(&living);
        let actor = within(system.spawn(actor).urn("referenced").while_referenced()).await?;
        assert_eq!(within(actor.ask(Ping)).await, Ok(1));
        let weak = actor.downgrade();
        drop(actor);
        while weak.upgrade().is_some() {
            within(tokio::task::yield_now()).await;
        }
    }
    looking.abort();
    Ok(())
}
