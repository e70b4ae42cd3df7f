//! One look at all members.

use std::time::{Duration, Instant};

use conclib::inspect::{
    ActorsQuery, Inspector, MemberStatus, Query, StatusQuery, TypesQuery, WaitEdge, WaitsQuery,
};
use conclib::metrics::FailureRecord;
use conclib::monitor::{BusMonitor, DeadLetterStatus, DurableStatus};
use conclib::snapshot::ActorSnapshot;
use conclib::{Config, Urn};

use crate::command::actor::SeenActor;
use crate::command::failures::FailureReader;
use crate::command::inspection::{Answers, Silent, ask_all};
use crate::command::is_fleet;
use crate::command::ls::{SortName, TypeObject};
use crate::command::top::rows::View;
use crate::exit::Failure;

/// The most actors that are shown.
const MAX_ACTORS: usize = 200;

/// The parts of a look that are shown: nothing else is asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) view: View,
    pub(super) sort: SortName,
    /// The pattern of the URNs of actors.
    pub(super) pattern: Option<String>,
    pub(super) has_waits: bool,
    /// The actor that is inspected, and its node.
    pub(super) details: Option<(String, Urn)>,
}

/// One look at all members.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    /// The members that have answered.
    pub(super) members: Vec<(String, MemberStatus)>,
    pub(super) silent: Vec<Silent>,
    pub(super) round_trip: Option<Duration>,
    /// Of the node without a fleet.
    pub(super) durable: Option<DurableStatus>,
    pub(super) dead: Option<DeadLetterStatus>,
    pub(super) types: Vec<TypeObject>,
    pub(super) actors: Vec<(String, ActorSnapshot)>,
    /// The failures since the look before.
    pub(super) failures: Vec<(String, FailureRecord)>,
    pub(super) waits: Vec<(String, WaitEdge)>,
    pub(super) details: Option<Result<SeenActor, String>>,
    /// The reason why no member has answered.
    pub(super) failure: Option<Failure>,
}

/// The ends that members are looked at by.
pub(super) struct Sampler {
    inspector: Inspector,
    monitor: BusMonitor,
    failures: FailureReader,
    is_fleet: bool,
}

impl Sampler {
    pub(super) async fn connect(config: &Config) -> Result<Self, Failure> {
        Ok(Self {
            inspector: Inspector::connect(config).await?,
            monitor: BusMonitor::connect(config).await?,
            failures: FailureReader::default(),
            is_fleet: is_fleet(config),
        })
    }

    pub(super) async fn sample(&mut self, wanted: &Wanted) -> Sample {
        let mut sample = Sample {
            at: Instant::now(),
            members: Vec::new(),
            silent: Vec::new(),
            round_trip: None,
            durable: None,
            dead: None,
            types: Vec::new(),
            actors: Vec::new(),
            failures: Vec::new(),
            waits: Vec::new(),
            details: None,
            failure: None,
        };
        if let Err(failure) = self.fill(&mut sample, wanted).await {
            sample.failure = Some(failure);
        }
        sample
    }

    async fn fill(&mut self, sample: &mut Sample, wanted: &Wanted) -> Result<(), Failure> {
        let trip = self.monitor.round_trip().await;
        sample.round_trip = trip.ok().map(|trip| trip.elapsed);
        if !self.is_fleet {
            sample.durable = self.monitor.durable().await.ok();
            sample.dead = self.monitor.dead_letters().await.ok();
        }
        let status = StatusQuery::default();
        let types = TypesQuery::new().sort(wanted.sort.into());
        let (status, types) = tokio::join!(self.ask(&status), self.ask(&types));
        let status = status?;
        sample.members = status.answered;
        sample.silent = status.silent;
        for (node, page) in types?.answered {
            let types = page.types.iter();
            sample
                .types
                .extend(types.map(|of_type| TypeObject::new(&node, of_type)));
        }
        sample.failures = self.failures.read(&self.inspector).await?;
        if wanted.view == View::Actors {
            let mut query = ActorsQuery::new()
                .sort(wanted.sort.into())
                .limit(MAX_ACTORS);
            query.filter.urn.clone_from(&wanted.pattern);
            let found = self.inspector.actors(&query).await?;
            let actors = found.actors.into_iter();
            sample.actors = actors.map(|of| (of.node, of.actor)).collect();
        }
        if wanted.has_waits {
            for (node, graph) in self.ask(&WaitsQuery::new()).await?.answered {
                let edges = graph.edges.into_iter();
                sample.waits.extend(edges.map(|edge| (node.clone(), edge)));
            }
        }
        if let Some((node, urn)) = &wanted.details {
            let seen = SeenActor::read(&self.inspector, node, urn.clone()).await;
            sample.details = Some(seen.map_err(|error| error.to_string()));
        }
        Ok(())
    }

    async fn ask<Q: Query>(&self, query: &Q) -> Result<Answers<Q::Answer>, Failure> {
        ask_all(&self.inspector, query).await
    }
}
