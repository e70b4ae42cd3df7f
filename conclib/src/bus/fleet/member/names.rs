//! The work of a member for its names: listing, freeing, verifying, and the sweep of those of others.

use tracing::error;

use super::{MemberSession, state};
use crate::bus::fleet::name_table::NameWork;
use crate::bus::fleet::sweep::Sweep;
use crate::bus::transport::TransportError;
use crate::bus::transport::fleet::{ListOutcome, MAX_NAMES, MemberId};
use crate::urn::Urn;

/// Number of listed names that are verified with each heartbeat: the map may have lost them.
const VERIFIED_NAMES: usize = 32;

impl MemberSession<'_> {
    /// Frees names that others stood by for some time ago, unless these have listed them.
    pub(super) async fn free_again(&mut self) -> Result<(), TransportError> {
        for names in self.freed[1].chunks(MAX_NAMES) {
            self.membership.map.unlist(MemberId::NONE, names).await?;
        }
        let [last, before] = &mut self.freed;
        *before = std::mem::take(last);
        Ok(())
    }

    /// Lists some of the listed names once more, in case the map has lost them; false if this is no member any
    /// more.
    pub(super) async fn verify_listed_names(&mut self) -> Result<bool, TransportError> {
        let names = &self.membership.names;
        let checked = names.to_check(VERIFIED_NAMES);
        if checked.is_empty() {
            return Ok(true);
        }
        let Some(outcomes) = self.membership.map.list(self.id, &checked).await? else {
            return Ok(false);
        };
        let outcomes = checked.into_iter().zip(outcomes);
        let lost = outcomes.filter(|(_, outcome)| *outcome != ListOutcome::Here);
        names.list_again(lost.map(|(urn, _)| urn));
        Ok(true)
    }

    /// Frees some names of members that were removed.
    async fn sweep_on(&mut self, sweep: Sweep) -> Result<(), TransportError> {
        let map = &self.membership.map;
        let position = map.sweep(sweep.shard, sweep.position).await?;
        self.sweep = sweep.after(position);
        if self.sweep.is_none() && self.swept_once == sweep.unswept_since {
            map.swept(sweep.unswept_since).await?;
            self.map.was_swept();
        }
        if self.sweep.is_none() {
            self.swept_once = sweep.unswept_since;
        }
        Ok(())
    }

    /// Does the next thing for the names of this member. `None` if there is nothing to do, otherwise
    /// whether it is a member.
    pub(super) async fn work(&mut self) -> Result<Option<bool>, TransportError> {
        let names = &self.membership.names;
        let work = names.next();
        let map = &self.membership.map;
        let done = match &work {
            NameWork::Nothing if self.shown == state(self.membership) => {
                let Some(sweep) = self.sweep else {
                    return Ok(None);
                };
                return self.sweep_on(sweep).await.map(|()| Some(true));
            }
            NameWork::Nothing | NameWork::Announce(_) => return self.announce().await.map(Some),
            NameWork::Free(ended) => {
                let freed = map.unlist(self.id, ended).await;
                self.freed[0].extend_from_slice(ended); // a call that failed may have freed them
                freed.map(|()| true)
            }
            NameWork::List(pending) => match map.list(self.id, pending).await {
                Ok(Some(outcomes)) => self.listed(pending, outcomes).await.map(|()| true),
                Ok(None) => Ok(false),
                Err(reason) => Err(reason),
            },
        };
        if done != Ok(true) {
            names.failed(work);
        }
        done.map(Some)
    }

    /// Notes the outcome of listing names, with the nodes of the members that have them.
    async fn listed(
        &mut self,
        urns: &[Urn],
        outcomes: Vec<ListOutcome>,
    ) -> Result<(), TransportError> {
        let is_unknown = |outcome: &ListOutcome| match outcome {
            ListOutcome::There(member) => self.map.node_of(*member).is_none(),
            ListOutcome::Here => false,
        };
        if outcomes.iter().any(is_unknown) {
            self.map.set_members(self.membership.map.members().await?);
            self.membership.saw_members(self.map.member_counts());
        }
        let node_of = |member: MemberId| {
            let known = self.map.node_of(member);
            known.map_or_else(|| member.0.to_string(), str::to_owned)
        };
        let outcomes = urns.iter().cloned().zip(outcomes);
        self.membership.names.listed(outcomes, node_of);
        self.check_shared_names();
        Ok(())
    }

    /// Logs names that this member has listed, and others share: all requests come here then.
    pub(super) fn check_shared_names(&mut self) {
        let shared = self.map.shared_by_others(self.id);
        for (urn, node) in self.membership.names.listed_among(shared) {
            if self.contested.insert(urn.clone()) {
                error!(%urn, shared_by = node, "another member shares a name that this one has listed, and gets no requests for it: write `.shared()` where its actor is spawned");
            }
        }
    }
}
