//! Queries to all members of a fleet.

use crate::actor::ActorSnapshot;
use crate::bus::inspect::inspector::{InspectError, Inspector, MemberAddress};
use crate::bus::inspect::message::{ActorPage, ActorsQuery, Query};

/// The answer of one member, or the reason that there is none: a member that is silent is named.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FromMember<T> {
    /// The member.
    pub member: MemberAddress,
    /// Its answer.
    pub outcome: Result<T, InspectError>,
}

/// The first actors of all members in one order, by [`Inspector::actors`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetActors {
    /// The actors, with their nodes.
    pub actors: Vec<ActorOf>,
    /// The number of actors that the filter selects, of all members that have answered.
    pub matching: usize,
    /// The number of all actors of these members.
    pub total: usize,
    /// The members that have not answered, and why.
    pub silent: Vec<(MemberAddress, InspectError)>,
}

/// An actor of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActorOf {
    /// The node of the member.
    pub node: String,
    /// The actor.
    pub actor: ActorSnapshot,
}

impl Inspector {
    /// Asks all members at once, each with the same deadline. The answers are in the order of the members; those that
    /// have left are not asked.
    ///
    /// # Errors
    ///
    /// [`InspectError`]: the members cannot be read. A member without an answer is no error, but has one.
    ///
    /// # Cancel safety
    ///
    /// The call may be dropped and repeated.
    pub async fn ask_all<Q: Query>(
        &self,
        query: &Q,
    ) -> Result<Vec<FromMember<Q::Answer>>, InspectError> {
        let members = self.members().await?.into_iter();
        let members = members.filter(|member| member.stage != Some(super::MemberStage::Left));
        let asked = members.map(|member| async move {
            let outcome = self.ask(&member.node, query).await;
            FromMember { member, outcome }
        });
        Ok(futures_util::future::join_all(asked).await)
    }

    /// The first actors of all members, in the order of the query. Further ones of one member are on the pages of
    /// that member: a [cursor](ActorsQuery::after) is not used here.
    ///
    /// # Errors
    ///
    /// [`InspectError`]: the members cannot be read. Members without an answer are [named](FleetActors::silent).
    ///
    /// # Cancel safety
    ///
    /// The call may be dropped and repeated.
    pub async fn actors(&self, query: &ActorsQuery) -> Result<FleetActors, InspectError> {
        let first = ActorsQuery {
            after: None,
            ..query.clone()
        };
        let mut all = FleetActors::default();
        for answer in self.ask_all(&first).await? {
            match answer.outcome {
                Ok(page) => all.add(&answer.member.node, page),
                Err(error) => all.silent.push((answer.member, error)),
            }
        }
        all.actors.sort_by(|a, b| {
            let order = query.sort.compare(&a.actor, &b.actor);
            order.then_with(|| a.node.cmp(&b.node))
        });
        all.actors.truncate(query.limit);
        Ok(all)
    }
}

impl FleetActors {
    fn add(&mut self, node: &str, page: ActorPage) {
        self.matching += page.matching;
        self.total += page.total;
        self.actors
            .extend(page.actors.into_iter().map(|actor| ActorOf {
                node: node.to_owned(),
                actor,
            }));
    }
}
