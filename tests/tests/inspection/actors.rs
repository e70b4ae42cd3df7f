//! Questions about actors.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use conclib::inspect::{
    ActorQuery, ActorsQuery, FailuresQuery, InspectError, MetricsQuery, Refusal, Sort, StatusQuery,
    Supervision, TreeQuery, TypesQuery, WaitKind, WaitsQuery,
};
use conclib::prelude::*;
use conclib::snapshot::Phase;
use conclib_tests::bus::Bus;
use conclib_tests::messages::{Double, Explode, Pass};
use conclib_tests::scripted::{ScriptedActor, run_async};
use conclib_tests::{Log, eventually, gate, within};

use crate::{Inspected, urn};

/// Answers `Double`, waits at gates, and panics.
#[derive(Actor)]
struct Worker;

#[handlers]
impl Worker {
    #[handler]
    fn double(&mut self, message: Double) -> u32 {
        message.n * 2
    }

    #[handler]
    async fn pass(&mut self, Pass(gate): Pass) {
        gate.pass().await;
    }

    #[handler]
    fn explode(&mut self, _: Explode) {
        panic!("on purpose")
    }
}

/// Asks another worker while it handles a message.
#[derive(Actor)]
struct Asker(ActorRef<Worker>);

#[handlers]
impl Asker {
    #[handler]
    async fn double(&mut self, message: Double) -> u32 {
        self.0.ask(message).await.unwrap_or_default()
    }
}

async fn workers(system: &ActorSystem, names: &[&str]) -> Vec<ActorRef<Worker>> {
    let mut all = Vec::new();
    for name in names {
        all.push(system.spawn(Worker).urn(*name).await.unwrap());
    }
    all
}

pub(crate) async fn status_names_the_process(bus: Bus) {
    let inspected = Inspected::with(bus, |config| config).await;
    workers(&inspected.system, &["a", "b"]).await;
    let query = StatusQuery::default();
    let status = inspected.inspector.ask("main", &query).await.unwrap();
    assert_eq!((status.node.as_str(), status.actors), ("main", 2));
    assert_eq!(status.epoch, inspected.proxy.epoch());
    assert!(status.is_serving && !status.in_fleet && !status.allows_admin);
    assert!(
        status
            .lease_left
            .is_some_and(|left| left <= status.config.lease_duration)
    );
    assert_eq!(status.pid, std::process::id());
    assert_eq!(status.connection, "connected");
    let counted = inspected.proxy.stats();
    assert_eq!(
        (counted.operators.inspections, counted.received_asks),
        (1, 0)
    );
    let members = inspected.inspector.members().await.unwrap();
    assert_eq!((members.len(), members[0].node.as_str()), (1, "main"));
}

pub(crate) async fn actors_are_filtered_and_ordered(bus: Bus) {
    let inspected = Inspected::with(bus, |config| config).await;
    let workers = workers(&inspected.system, &["a/1", "a/2", "b/1"]).await;
    let (gate_a, mut handle_a) = gate();
    workers[1].try_tell(Pass(gate_a)).unwrap();
    handle_a.reached().await;
    for _ in 0..3 {
        workers[1].try_tell(Double { n: 1 }).unwrap();
    }
    let names = async |query: &ActorsQuery| -> Vec<String> {
        let page = inspected.inspector.ask("main", query).await.unwrap();
        assert_eq!((page.total, page.matching), (3, page.actors.len()));
        assert_eq!(page.next, None);
        let names = page.actors.iter().map(|actor| actor.urn.to_string());
        names.collect()
    };
    let all = ActorsQuery::new();
    assert_eq!(names(&all).await, ["a/2", "a/1", "b/1"]);
    assert_eq!(
        names(&all.clone().sort(Sort::Name)).await,
        ["a/1", "a/2", "b/1"]
    );
    assert_eq!(
        names(&all.clone().sort(Sort::Queued).urn("a/*")).await,
        ["a/2", "a/1"]
    );
    assert_eq!(
        names(&all.clone().actor_type("Worker").urn("*/1")).await,
        ["a/1", "b/1"]
    );
    assert!(names(&all.clone().actor_type("Asker")).await.is_empty());
    assert!(names(&all.clone().phase(Phase::Stopping)).await.is_empty());
    assert!(
        names(&all.min_age(Duration::from_secs(600)))
            .await
            .is_empty()
    );
    let page = inspected
        .inspector
        .ask("main", &ActorsQuery::new().limit(1))
        .await
        .unwrap();
    let busy = &page.actors[0];
    assert_eq!((busy.queued, page.matching), (3, 3));
    let running = busy.running.as_ref().unwrap();
    assert_eq!(running.name, "pass");
    assert_eq!(running.message.as_deref(), Some(Pass::NAME));
    handle_a.open();
}

pub(crate) async fn pages_neither_repeat_nor_omit_actors(bus: Bus) {
    let inspected = Inspected::with(bus, |config| config).await;
    let mut spawned = BTreeSet::new();
    for number in 0..1_203 {
        let name = format!("worker/{number}");
        inspected.system.spawn(Worker).urn(&*name).await.unwrap();
        spawned.insert(name);
    }
    let mut query = ActorsQuery::new().limit(200);
    let mut seen = Vec::new();
    loop {
        let page = inspected.inspector.ask("main", &query).await.unwrap();
        assert!(page.actors.len() <= 200 && page.matching == 1_203);
        seen.extend(page.actors.iter().map(|actor| actor.urn.to_string()));
        // The list of the pages stays, whatever happens meanwhile.
        let name = format!("later/{}", seen.len());
        inspected.system.spawn(Worker).urn(name).await.unwrap();
        match page.next {
            Some(next) => query = query.after(next.to_string().parse().unwrap()),
            None => break,
        }
    }
    assert_eq!(seen.len(), spawned.len());
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), spawned);
    // More than the bound of a page is not given.
    let most = ActorsQuery::new().limit(usize::MAX);
    let page = inspected.inspector.ask("main", &most).await.unwrap();
    assert!(page.actors.len() <= 500 && page.next.is_some());
    let over = ActorsQuery::new().after("1.0".parse().unwrap());
    let refused = inspected.inspector.ask("main", &over).await;
    assert_eq!(refused, Err(InspectError::Refused(Refusal::CursorExpired)));
}

pub(crate) async fn types_are_summed(bus: Bus) {
    let inspected = Inspected::with(bus, |config| config).await;
    let workers = workers(&inspected.system, &["a", "b"]).await;
    inspected
        .system
        .spawn(Asker(workers[0].clone()))
        .urn("asker")
        .await
        .unwrap();
    workers[0].ask(Double { n: 1 }).await.unwrap();
    eventually("the message is counted", async || {
        inspected.system.snapshot().actor("a").unwrap().handled == 1
    })
    .await;
    let query = TypesQuery::new().sort(Sort::Handled);
    let page = inspected.inspector.ask("main", &query).await.unwrap();
    let sums = page
        .types
        .iter()
        .map(|sum| (sum.actors, sum.running, sum.handled));
    assert_eq!(sums.collect::<Vec<_>>(), [(2, 2, 1), (1, 1, 0)]);
    assert!(page.types[0].actor_type.ends_with("::Worker"));
}

pub(crate) async fn one_actor_is_shown_whole(bus: Bus) {
    let inspected = Inspected::with(bus, |config| config).await;
    let log = Log::default();
    let system = &inspected.system;
    let parent = system
        .spawn(ScriptedActor::new("parent", &log))
        .urn("parent")
        .await
        .unwrap();
    let worker = system
        .supervise(|| async { Worker })
        .urn("worker")
        .budget(10, Duration::from_secs(60))
        .await
        .unwrap();
    let watched = worker.clone();
    let child_log = log.clone();
    let prepared = parent.ask(run_async(move |ctx| {
        ctx.watch(&watched);
        let child = ctx
            .spawn(ScriptedActor::new("child", &child_log))
            .urn("child");
        Box::pin(async move {
            child.await?;
            Ok(())
        })
    }));
    prepared.await.unwrap();
    worker.ask(Explode).await.unwrap_err();
    worker.ask(Double { n: 1 }).await.unwrap();

    let shown = async |name: &str| {
        let query = ActorQuery::new(urn(name));
        inspected.inspector.ask("main", &query).await.unwrap()
    };
    let details = shown("worker").await;
    assert_eq!(details.watchers, [urn("parent")]);
    assert_eq!(details.supervision, Supervision::OnFailure);
    let budget = details.budget.unwrap();
    assert_eq!(
        (budget.restarts, budget.within),
        (Some(10), Duration::from_secs(60))
    );
    assert_eq!((details.actor.restarts, details.actor.failures), (1, 1));
    let failure = details.last_failure.unwrap();
    assert_eq!(failure.handler.as_deref(), Some("explode"));
    assert!(details.waits_for.is_empty() && !details.is_private && !details.has_thread);
    // Counted with the batch of its messages.
    eventually("the message is counted", async || {
        let handlers = shown("worker").await.handlers;
        handlers
            .iter()
            .any(|handler| handler.handler == "double" && handler.handled == 1)
    })
    .await;
    let details = shown("parent").await;
    assert_eq!(
        (details.children, details.children_total),
        (vec![urn("child")], 1)
    );
    assert_eq!(
        (details.supervision, details.budget),
        (Supervision::Unsupervised, None)
    );
    let (node, found) = inspected.inspector.find(urn("child")).await.unwrap();
    assert_eq!(
        (node.as_str(), found.actor.parent),
        ("main", Some(urn("parent")))
    );
}

pub(crate) async fn tree_has_parents_before_children(bus: Bus) {
    let inspected = Inspected::with(bus, |config| config).await;
    let log = Log::default();
    for root in ["one", "two"] {
        let spawned = inspected.system.spawn(ScriptedActor::new("root", &log));
        let actor = spawned.urn(root).await.unwrap();
        let log = log.clone();
        let children = actor.ask(run_async(move |ctx| {
            Box::pin(async move {
                for number in 0..2 {
                    let name = format!("{root}/{number}");
                    ctx.spawn(ScriptedActor::new("child", &log))
                        .urn(name)
                        .await?;
                }
                Ok(())
            })
        }));
        children.await.unwrap();
    }
    let nodes = async |query: &TreeQuery| -> Vec<(String, u16, usize)> {
        let page = inspected.inspector.ask("main", query).await.unwrap();
        let nodes = page.nodes.into_iter();
        nodes
            .map(|node| (node.urn.to_string(), node.depth, node.children))
            .collect()
    };
    let of_one = [("one", 0, 2), ("one/0", 1, 0), ("one/1", 1, 0)];
    let of_two = [("two", 0, 2), ("two/0", 1, 0), ("two/1", 1, 0)];
    let owned = |nodes: &[(&str, u16, usize)]| -> Vec<(String, u16, usize)> {
        let nodes = nodes.iter();
        nodes
            .map(|(name, depth, children)| ((*name).to_owned(), *depth, *children))
            .collect()
    };
    let all = nodes(&TreeQuery::new()).await;
    assert_eq!(all, [owned(&of_one), owned(&of_two)].concat());
    assert_eq!(
        nodes(&TreeQuery::new().root(urn("two"))).await,
        owned(&of_two)
    );
    assert_eq!(
        nodes(&TreeQuery::new().depth(0)).await,
        owned(&[of_one[0], of_two[0]])
    );
    let first = inspected
        .inspector
        .ask("main", &TreeQuery::new().limit(4))
        .await
        .unwrap();
    let rest = TreeQuery::new().after(first.next.unwrap());
    assert_eq!(
        (first.matching, nodes(&rest).await),
        (6, owned(&of_two[1..]))
    );
}

pub(crate) async fn waits_are_shown(bus: Bus) {
    let inspected = Inspected::with(bus, |config| config).await;
    let worker = workers(&inspected.system, &["worker"]).await.remove(0);
    let asker = inspected
        .system
        .spawn(Asker(worker.clone()))
        .urn("asker")
        .await
        .unwrap();
    let (gate, mut handle) = gate();
    worker.try_tell(Pass(gate)).unwrap();
    handle.reached().await;
    let doubled = tokio::spawn(async move { asker.ask(Double { n: 4 }).await });
    let graph = async || {
        inspected
            .inspector
            .ask("main", &WaitsQuery::new())
            .await
            .unwrap()
    };
    eventually("the wait is recorded", async || {
        !graph().await.edges.is_empty()
    })
    .await;
    let graph = graph().await;
    assert_eq!((graph.edges.len(), graph.omitted), (1, 0));
    let edge = &graph.edges[0];
    assert_eq!(
        (&edge.from, &edge.to, edge.kind),
        (&urn("asker"), &urn("worker"), WaitKind::Answer)
    );
    assert!(edge.running.is_some());
    let details = inspected
        .inspector
        .ask("main", &ActorQuery::new(urn("asker")))
        .await
        .unwrap();
    assert_eq!(details.waits_for[0].urn, urn("worker"));
    handle.open();
    assert_eq!(doubled.await.unwrap(), Ok(8));
    let later = inspected
        .inspector
        .ask("main", &WaitsQuery::new())
        .await
        .unwrap();
    assert!(later.edges.is_empty());
}

pub(crate) async fn failures_are_followed_by_their_numbers(bus: Bus) {
    let inspected = Inspected::with(bus, |config| config).await;
    let supervised = inspected.system.supervise(|| async { Worker }).unlimited();
    let worker = supervised
        .backoff(conclib::Backoff::none())
        .urn("worker")
        .await
        .unwrap();
    let page = async |query: &FailuresQuery| inspected.inspector.ask("main", query).await.unwrap();
    let nothing = page(&FailuresQuery::new()).await;
    assert_eq!(
        (nothing.failures.len(), nothing.next, nothing.lost),
        (0, 0, 0)
    );
    let failed = async |count: u64| {
        eventually("the failures are recorded", async || {
            let failures = inspected.system.failures();
            failures.last().is_some_and(|last| last.number + 1 == count)
        })
        .await;
    };
    for _ in 0..3 {
        worker.ask(Explode).await.unwrap_err();
    }
    failed(3).await;
    let first = page(&FailuresQuery::new().limit(2)).await;
    let numbers = first.failures.iter().map(|failure| failure.number);
    assert_eq!((numbers.collect::<Vec<_>>(), first.next), (vec![0, 1], 2));
    let rest = page(&FailuresQuery::new().since(first.next)).await;
    assert_eq!((rest.failures.len(), rest.next), (1, 3));
    for _ in 0..300 {
        worker.ask(Explode).await.unwrap_err();
    }
    failed(303).await;
    let late = page(&FailuresQuery::new().since(rest.next)).await;
    assert_eq!((late.lost, late.failures[0].number), (44, 47));
    // As after a restart of the process: its numbers begin anew.
    let other = page(&FailuresQuery::new().since(1_000)).await;
    assert_eq!(other.failures[0].number, 47);
}

pub(crate) async fn metrics_are_those_of_system_and_proxy(bus: Bus) {
    let inspected = Inspected::with(bus, |config| config).await;
    workers(&inspected.system, &["worker"]).await;
    let client = ProxyClient::connect(&inspected.bus.config).await.unwrap();
    assert_eq!(client.ask("worker", Double { n: 2 }).await, Ok(4));
    let metrics = inspected
        .inspector
        .ask("main", &MetricsQuery::default())
        .await
        .unwrap();
    assert_eq!(metrics.system.of("Worker").unwrap().handled, 1);
    assert_eq!((metrics.proxy.received_asks, metrics.omitted_types), (1, 0));
}

pub(crate) async fn absent_actor_is_refused_and_not_started(bus: Bus) {
    let inspected = Inspected::with(bus, |config| config).await;
    let starts = Arc::new(AtomicUsize::new(0));
    let counted = starts.clone();
    let on_demand = inspected.system.on_demand("order/*", move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Worker }
    });
    on_demand.await.unwrap();
    let name = urn("order/1");
    let refused = inspected
        .inspector
        .ask("main", &ActorQuery::new(name.clone()))
        .await;
    let failed = None;
    let refusal = Refusal::NoSuchActor { urn: name, failed };
    assert_eq!(refused, Err(InspectError::Refused(refusal)));
    assert_eq!(starts.load(Ordering::SeqCst), 0);

    let worker = workers(&inspected.system, &["worker"]).await.remove(0);
    worker.ask(Explode).await.unwrap_err();
    within(worker.stopped()).await;
    let refused = inspected.inspector.find(urn("worker")).await;
    let Err(InspectError::Refused(Refusal::NoSuchActor { failed, .. })) = refused else {
        panic!("{refused:?}")
    };
    assert!(failed.unwrap().reason.contains("on purpose"));
}
