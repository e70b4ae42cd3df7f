//! Actions of operators.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use conclib::inspect::{
    Action, ActionOutcome, Audit, InspectError, LogControl, LogQuery, Refusal, StatusQuery,
};
use conclib::prelude::*;
use conclib::supervision::Restart;
use conclib::supervisor::{ChildSpec, Strategy, Supervisor};
use conclib_tests::bus::Bus;
use conclib_tests::messages::{Double, Pass};
use conclib_tests::{MS, SECOND, eventually, gate, within};
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::{Inspected, audit, urn};

/// Counts the messages of its incarnation, and waits at gates.
#[derive(Actor, Default)]
struct Counter {
    count: u32,
}

#[handlers]
impl Counter {
    #[handler]
    fn double(&mut self, message: Double) -> u32 {
        self.count += 1;
        self.count * message.n
    }

    #[handler]
    async fn pass(&mut self, Pass(gate): Pass) {
        gate.pass().await;
    }
}

async fn operated(bus: Bus) -> Inspected {
    Inspected::with(bus, Config::allow_admin).await
}

impl Inspected {
    async fn act(&self, action: Action) -> ActionOutcome {
        self.inspector.act("main", action, &audit()).await.unwrap()
    }
}

fn stop(name: &str) -> Action {
    Action::Stop { urn: urn(name) }
}

fn kill(name: &str) -> Action {
    Action::Kill { urn: urn(name) }
}

fn restart(name: &str) -> Action {
    Action::Restart { urn: urn(name) }
}

fn interrupt(name: &str) -> Action {
    Action::Interrupt { urn: urn(name) }
}

fn is_done(outcome: &ActionOutcome) -> bool {
    matches!(outcome, ActionOutcome::Done { .. })
}

pub(crate) async fn actions_are_off_by_default(bus: Bus) {
    let inspected = Inspected::with(bus, |config| config).await;
    let counter = inspected
        .system
        .spawn(Counter::default())
        .urn("counter")
        .await
        .unwrap();
    for action in [
        stop("counter"),
        kill("counter"),
        Action::Drain,
        Action::ResetLogFilter,
    ] {
        let refused = inspected
            .inspector
            .act("main", action, &audit())
            .await
            .unwrap_err();
        let is_expected = matches!(&refused, InspectError::Refused(Refusal::NotAllowed { reason }) if reason.contains("allow_admin"));
        assert!(is_expected && refused.is_not_executed(), "{refused:?}");
    }
    assert_eq!(counter.ask(Double { n: 2 }).await, Ok(2));
    let stats = inspected.proxy.stats().operators;
    assert_eq!((stats.actions, stats.refused), (0, 4));
}

pub(crate) async fn actors_are_stopped_and_killed(bus: Bus) {
    let inspected = operated(bus).await;
    let spawn = async |name: &str| {
        let spawned = inspected.system.spawn(Counter::default());
        spawned.urn(name).await.unwrap()
    };
    let (stopped, killed) = (spawn("stopped").await, spawn("killed").await);
    assert!(is_done(&inspected.act(stop("stopped")).await));
    assert!(matches!(stopped.stopped().await, StopReason::Requested));
    assert!(is_done(&inspected.act(kill("killed")).await));
    assert!(matches!(killed.stopped().await, StopReason::Killed));
    // A stop waits for the current message, and says so.
    let busy = spawn("busy").await;
    let (gate, mut handle) = gate();
    busy.try_tell(Pass(gate)).unwrap();
    handle.reached().await;
    let outcome = inspected.act(stop("busy")).await;
    assert!(matches!(outcome, ActionOutcome::Begun { .. }), "{outcome}");
    handle.open();
    assert!(matches!(
        within(busy.stopped()).await,
        StopReason::Requested
    ));
    // One that is gone is not found; an author without a name is refused.
    let gone = inspected
        .inspector
        .act("main", stop("busy"), &audit())
        .await;
    assert!(matches!(
        gone,
        Err(InspectError::Refused(Refusal::NoSuchActor { .. }))
    ));
    let nameless = inspected
        .inspector
        .act("main", stop("x"), &Audit::new(" ", "why"))
        .await;
    assert!(matches!(
        nameless,
        Err(InspectError::Refused(Refusal::NotAllowed { .. }))
    ));
    let stats = inspected.proxy.stats().operators;
    assert_eq!((stats.actions, stats.refused), (3, 2));
}

pub(crate) async fn supervised_actor_is_restarted(bus: Bus) {
    let inspected = operated(bus).await;
    let supervised = inspected.system.supervise(|| async { Counter::default() });
    let counter = supervised.budget(0, SECOND).urn("counter").await.unwrap();
    for _ in 0..3 {
        assert_eq!(counter.ask(Double { n: 1 }).await, Ok(1));
        assert_eq!(counter.ask(Double { n: 1 }).await, Ok(2));
        // Not bounded by the budget, which is for failures.
        let outcome = inspected.act(restart("counter")).await;
        assert!(is_done(&outcome), "{outcome}");
    }
    // Queued messages stay; the current one is handled before.
    let (gate, mut handle) = gate();
    counter.try_tell(Pass(gate)).unwrap();
    handle.reached().await;
    let queued = counter.ask(Double { n: 5 });
    let queued = tokio::spawn(queued);
    let outcome = inspected.act(restart("counter")).await;
    assert!(matches!(outcome, ActionOutcome::Begun { .. }), "{outcome}");
    handle.open();
    assert_eq!(within(queued).await.unwrap(), Ok(5));
    assert_eq!(
        inspected
            .system
            .snapshot()
            .actor("counter")
            .unwrap()
            .restarts,
        4
    );
}

pub(crate) async fn restart_of_an_unsupervised_actor_is_not_possible(bus: Bus) {
    let inspected = operated(bus).await;
    let alone = inspected
        .system
        .spawn(Counter::default())
        .urn("alone")
        .await
        .unwrap();
    let never = inspected.system.supervise(|| async { Counter::default() });
    let never = never.restart(Restart::Never).urn("never").await.unwrap();
    for (name, why) in [("alone", "not supervised"), ("never", "Restart::Never")] {
        for action in [restart(name), interrupt(name)] {
            match inspected.act(action).await {
                ActionOutcome::Impossible { reason } => assert!(reason.contains(why), "{reason}"),
                other => panic!("{other}"),
            }
        }
    }
    for counter in [alone, never] {
        assert_eq!(counter.ask(Double { n: 1 }).await, Ok(1));
    }
    assert_eq!(inspected.proxy.stats().operators.refused, 4);
}

pub(crate) async fn group_member_is_restarted_by_its_group(bus: Bus) {
    let inspected = operated(bus).await;
    let member = |name| ChildSpec::new(|| async { Counter::default() }).urn(name);
    let group = Supervisor::new(Strategy::OneForAll)
        .backoff(conclib::Backoff::none())
        .member(member("one"))
        .member(member("two"));
    inspected.system.spawn(group).await.unwrap();
    let [one, two] = ["one", "two"].map(|name| inspected.system.actor::<Counter>(name).unwrap());
    for counter in [&one, &two] {
        assert_eq!(counter.ask(Double { n: 1 }).await, Ok(1));
    }
    let outcome = inspected.act(restart("one")).await;
    assert!(outcome.is_accepted(), "{outcome}");
    eventually("both have started again", async || {
        let snapshot = inspected.system.snapshot();
        ["one", "two"]
            .iter()
            .all(|name| snapshot.actor(name).unwrap().restarts == 1)
    })
    .await;
    for counter in [&one, &two] {
        assert_eq!(counter.ask(Double { n: 1 }).await, Ok(1));
    }
}

pub(crate) async fn actor_on_demand_ends_and_starts_again(bus: Bus) {
    let inspected = operated(bus).await;
    let on_demand = inspected
        .system
        .on_demand("counter/*", |_| async { Counter::default() });
    on_demand.await.unwrap();
    for _ in 0..2 {
        assert_eq!(
            inspected.system.ask("counter/1", Double { n: 1 }).await,
            Ok(1)
        );
        let outcome = inspected.act(restart("counter/1")).await;
        assert!(is_done(&outcome), "{outcome}");
    }
}

pub(crate) async fn stuck_handler_is_interrupted(bus: Bus) {
    let inspected = operated(bus).await;
    let supervised = inspected.system.supervise(|| async { Counter::default() });
    let counter = supervised.urn("counter").await.unwrap();
    let (gate, mut handle) = gate();
    let stuck = counter.ask(Pass(gate));
    let stuck = tokio::spawn(stuck);
    handle.reached().await;
    let outcome = inspected.act(interrupt("counter")).await;
    assert!(is_done(&outcome), "{outcome}");
    assert!(within(stuck).await.unwrap().is_err());
    assert_eq!(counter.ask(Double { n: 3 }).await, Ok(3));
}

pub(crate) async fn drain_stops_the_node_in_good_order(bus: Bus) {
    let inspected = operated(bus).await;
    let counter = inspected
        .system
        .spawn(Counter::default())
        .urn("counter")
        .await
        .unwrap();
    let client = ProxyClient::connect(&inspected.bus.config).await.unwrap();
    assert_eq!(client.ask("counter", Double { n: 1 }).await, Ok(1));
    let outcome = inspected.act(Action::Drain).await;
    assert!(matches!(outcome, ActionOutcome::Begun { .. }), "{outcome}");
    assert_eq!(
        within(inspected.proxy.stopped()).await,
        conclib::bus::ProxyEnd::Stopped
    );
    let reason = within(counter.stopped()).await;
    assert!(matches!(reason, StopReason::Shutdown), "{reason:?}");
    assert_eq!(
        client.ask("counter", Double { n: 1 }).await,
        Err(AskError::NoResponder)
    );
    eventually("the lease is free", async || {
        start_proxy(&ActorSystem::new(), &inspected.bus.config)
            .await
            .is_ok()
    })
    .await;
}

/// A filter of a log that is only a text.
#[derive(Clone, Default)]
struct TestFilter(Arc<Mutex<String>>);

impl LogControl for TestFilter {
    fn filter(&self) -> Option<String> {
        Some(self.0.lock().unwrap().clone())
    }

    fn set_filter(&self, filter: &str) -> Result<(), String> {
        if filter.contains('!') {
            return Err("no such level".to_owned());
        }
        filter.clone_into(&mut self.0.lock().unwrap());
        Ok(())
    }
}

pub(crate) async fn filter_of_the_log_is_changed_for_a_time(bus: Bus) {
    let filter = TestFilter(Arc::new(Mutex::new("info".to_owned())));
    let control = filter.clone();
    let allow = move |config: Config| config.allow_admin().log_control(control);
    let inspected = Inspected::with(bus, allow).await;
    let set = async |filter: &str, duration: Duration| {
        let filter = filter.to_owned();
        inspected
            .act(Action::SetLogFilter { filter, duration })
            .await
    };
    let state = async || {
        inspected
            .inspector
            .ask("main", &LogQuery::default())
            .await
            .unwrap()
    };
    assert!(state().await.is_controllable);
    for (wrong, duration) in [
        ("!", SECOND),
        ("debug", Duration::ZERO),
        ("debug", 100_000 * SECOND),
    ] {
        let outcome = set(wrong, duration).await;
        assert!(
            matches!(outcome, ActionOutcome::Impossible { .. }),
            "{outcome}"
        );
    }
    assert_eq!(filter.filter().unwrap(), "info");
    assert!(set("debug", 100 * SECOND).await.is_accepted());
    assert!(set("trace", 300 * MS).await.is_accepted());
    assert_eq!(filter.filter().unwrap(), "trace");
    eventually("the filter from before is set", async || {
        filter.filter().unwrap() == "info"
    })
    .await;
    assert_eq!(state().await.reverts_in, None);
    assert!(set("debug", 100 * SECOND).await.is_accepted());
    let outcome = inspected.act(Action::ResetLogFilter).await;
    assert!(
        matches!(&outcome, ActionOutcome::Log(state) if state.filter.as_deref() == Some("info"))
    );
    // It does not outlive the process' end of the bus.
    assert!(set("debug", 100 * SECOND).await.is_accepted());
    assert!(inspected.system.shutdown().await.is_clean());
    eventually("the filter from before is set", async || {
        filter.filter().unwrap() == "info"
    })
    .await;
    let gone = inspected
        .inspector
        .ask("main", &StatusQuery::default())
        .await;
    assert_eq!(gone, Err(InspectError::NoResponder));
}

/// The line of an action in the log.
#[tokio::test]
async fn action_is_logged_with_its_author_and_outcome() {
    conclib_tests::logs::capture();
    let inspected = operated(Bus::memory()).await;
    inspected
        .system
        .spawn(Counter::default())
        .urn("counter")
        .await
        .unwrap();
    let audit = Audit::new("ann\nof accounts", "x".repeat(10_000));
    let outcome = inspected
        .inspector
        .act("main", stop("counter"), &audit)
        .await
        .unwrap();
    assert!(is_done(&outcome));
    let log = conclib_tests::logs::logged();
    let line = log
        .lines()
        .find(|line| line.contains("an operator has acted"))
        .unwrap();
    for part in [
        "INFO",
        "conclib::admin",
        "action=\"stop\"",
        "urn=counter",
        "outcome=\"done",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(
        line.contains("ann\u{fffd}of accounts") && line.len() < 1_000,
        "{line}"
    );
}

/// The control of the page on operation.
struct ReloadedFilter(reload::Handle<EnvFilter, Registry>);

impl LogControl for ReloadedFilter {
    fn filter(&self) -> Option<String> {
        self.0.with_current(ToString::to_string).ok()
    }

    fn set_filter(&self, filter: &str) -> Result<(), String> {
        let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
        self.0.reload(filter).map_err(|error| error.to_string())
    }
}

#[test]
fn filter_of_tracing_subscriber_is_controlled() {
    let (layer, handle) = reload::Layer::new(EnvFilter::new("info"));
    let control = ReloadedFilter(handle);
    let subscriber = tracing_subscriber::registry().with(layer);
    assert_eq!(control.filter().as_deref(), Some("info"));
    control.set_filter("conclib=debug").unwrap();
    assert_eq!(control.filter().as_deref(), Some("conclib=debug"));
    assert!(control.set_filter("conclib=very").is_err());
    drop(subscriber);
    assert_eq!(control.filter(), None);
}
