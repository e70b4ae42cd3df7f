//! Answers about single actors, and about their waits.

use std::collections::HashSet;
use std::sync::Arc;

use crate::actor::any::AnyActor;
use crate::bus::inspect::member::bound::cut_page;
use crate::bus::inspect::member::{Answers, InspectedMember};
use crate::bus::inspect::message::{
    ActorDetails, ActorQuery, MAX_PAGE, Refusal, WaitEdge, WaitGraph, WaitKind, WaitsFor,
    WaitsQuery,
};
use crate::core::SystemCore;
use crate::deadlock::{ActorId, AwaitedEvent, current_waits};
use crate::system::metrics::SystemMetrics;
use crate::urn::Urn;

/// The most children and watchers of an actor that are named.
const MAX_NAMED: usize = 100;

impl From<AwaitedEvent> for WaitKind {
    fn from(event: AwaitedEvent) -> Self {
        match event {
            AwaitedEvent::Reply => Self::Answer,
            AwaitedEvent::Capacity => Self::Capacity,
            AwaitedEvent::Start => Self::Start,
            AwaitedEvent::Stop => Self::Stop,
        }
    }
}

/// Finds a living actor, and starts none.
pub(super) fn find(core: &SystemCore, urn: &Urn) -> Result<Arc<dyn AnyActor>, Refusal> {
    core.registry.existing(urn.as_str()).ok_or_else(|| {
        let failed = core.registry.failed().into_iter();
        Refusal::NoSuchActor {
            urn: urn.clone(),
            failed: failed.rev().find(|failed| failed.urn == *urn).map(Box::new),
        }
    })
}

impl Answers<ActorQuery> for InspectedMember {
    async fn answer(&mut self, ActorQuery { urn }: ActorQuery) -> Result<ActorDetails, Refusal> {
        let core = self.core()?;
        let actor = find(&core, &urn)?;
        let many = if actor.watchers().is_empty() {
            0
        } else {
            core.registry.len() // its watchers are searched for
        };
        let details = move || details(&core, &*actor);
        self.share.measure_many(many, details).await
    }
}

fn details(core: &SystemCore, actor: &dyn AnyActor) -> ActorDetails {
    let children = actor.children();
    let watcher_ids = actor.watchers();
    let (supervision, budget) = actor.supervision();
    let urn = actor.name().to_urn();
    ActorDetails {
        actor: actor.snapshot(),
        handlers: SystemMetrics::handlers_of(core, actor.type_name(), MAX_PAGE),
        counts_handlers: cfg!(feature = "metrics"),
        children_total: children.len(),
        children: urns(children.iter()),
        watchers_total: watcher_ids.len(),
        watchers: watchers(core, &watcher_ids.into_iter().collect()),
        waits_for: waits(actor),
        supervision,
        budget,
        last_failure: core
            .failures()
            .into_iter()
            .rev()
            .find(|failure| failure.urn == urn),
        is_private: actor.is_private(),
        has_thread: actor.has_thread(),
    }
}

fn urns<'a>(actors: impl Iterator<Item = &'a Arc<dyn AnyActor>>) -> Vec<Urn> {
    let names = actors.take(MAX_NAMED).map(|actor| actor.name().to_urn());
    names.collect()
}

/// The URNs of the watchers with these identities. They are searched for: an actor that is watched has no other trace
/// of them, and pays for none.
fn watchers(core: &SystemCore, ids: &HashSet<ActorId>) -> Vec<Urn> {
    if ids.is_empty() {
        return Vec::new();
    }
    let living = core.registry.newest_first();
    urns(living.iter().filter(|actor| ids.contains(&actor.id())))
}

/// The actors that an actor waits for.
fn waits(actor: &dyn AnyActor) -> Vec<WaitsFor> {
    let waits = current_waits(actor);
    let of_code = waits.into_iter().map(|(target, event)| WaitsFor {
        urn: target.urn().clone(),
        kind: event.into(),
    });
    let child = actor.awaited_child().map(|child| WaitsFor {
        urn: child.name().to_urn(),
        kind: WaitKind::Stop,
    });
    let mut all: Vec<_> = of_code.collect();
    if let Some(child) = child
        && !all.contains(&child)
    {
        all.push(child);
    }
    all
}

impl Answers<WaitsQuery> for InspectedMember {
    async fn answer(&mut self, query: WaitsQuery) -> Result<WaitGraph, Refusal> {
        let core = self.core()?;
        let (actors, max_bytes) = (core.registry.len(), self.max_page_bytes());
        let limit = query.limit.clamp(1, MAX_PAGE);
        let graph = move || wait_graph(&core, limit, max_bytes);
        self.share.measure_many(actors, graph).await
    }
}

fn wait_graph(core: &SystemCore, limit: usize, max_bytes: usize) -> WaitGraph {
    let mut edges = all_edges(core);
    edges.sort_by(|a, b| b.running.cmp(&a.running).then_with(|| a.from.cmp(&b.from)));
    WaitGraph {
        omitted: cut_page(&mut edges, limit, max_bytes),
        edges,
    }
}

fn all_edges(core: &SystemCore) -> Vec<WaitEdge> {
    let mut edges = Vec::new();
    for actor in core.registry.newest_first() {
        add_edges(&*actor, &mut edges);
    }
    edges
}

fn add_edges(actor: &dyn AnyActor, edges: &mut Vec<WaitEdge>) {
    let waits = waits(actor);
    if waits.is_empty() {
        return; // of nearly all actors
    }
    let (from, running) = (actor.name().to_urn(), actor.load().running);
    edges.extend(waits.into_iter().map(|wait| WaitEdge {
        from: from.clone(),
        to: wait.urn,
        kind: wait.kind,
        running,
    }));
}
