//! The names of a member, and their progress towards the map. No I/O.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tracing::warn;

use crate::actor::listing::{Listing, ListingSlot};
use crate::bus::transport::fleet::{MAX_NAMES, MAX_SHARED, MemberId};
use crate::urn::Urn;

/// The names of a member, by their progress.
#[derive(Default)]
pub(super) struct Names {
    /// Names of which one member has each, in an order in which they are checked.
    pub(super) listed: BTreeMap<Urn, ListedName>,
    /// The name that was checked last.
    pub(super) checked: Option<Urn>,
    /// Names to be listed, in the order of their claims. The actors of some may have ended.
    pub(super) pending: VecDeque<Urn>,
    /// Names to be freed, whose actors have ended.
    pub(super) ended: VecDeque<Urn>,
    /// Names that other members have, by these members.
    pub(super) standing: HashMap<MemberId, HashSet<Urn>>,
    /// Names that several members may have.
    pub(super) shared: BTreeMap<Urn, Arc<ListingSlot>>,
    pub(super) stage: MembershipStage,
    /// The number of names that were listed here after they had stood by.
    pub(super) moves: u64,
    /// The shared names are other ones than those that were announced.
    pub(super) shared_changed: bool,
    /// The log says that there are too many shared names.
    pub(super) has_warned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum MembershipStage {
    #[default]
    Member,
    /// The member is about to leave: its names stay until it has, and clients wait for them.
    Leaving,
    Ended,
}

/// A name of which one member has it.
pub(super) struct ListedName {
    pub(super) slot: Arc<ListingSlot>,
    pub(super) stage: Stage,
    /// The log says that the name stands by.
    pub(super) is_told: bool,
}

/// The progress of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Pending,
    /// A call to the map has it.
    UnderWay,
    Listed,
    StandsBy(MemberId),
}

impl Names {
    pub(super) fn claim(&mut self, urn: Urn, slot: Arc<ListingSlot>) {
        let known = self.listed.get(&urn);
        if known.is_some_and(|known| Arc::ptr_eq(&known.slot, &slot)) {
            return;
        }
        slot.set(Listing::Pending);
        let name = ListedName {
            slot,
            stage: Stage::Pending,
            is_told: false,
        };
        self.forget(&urn);
        self.pending.push_back(urn.clone());
        self.listed.insert(urn, name);
    }

    pub(super) fn share(&mut self, urn: Urn, slot: Arc<ListingSlot>) {
        let known = self.shared.get(&urn);
        if known.is_some_and(|known| Arc::ptr_eq(known, &slot)) {
            return;
        }
        if self.shared.len() >= MAX_SHARED && !self.shared.contains_key(&urn) {
            if !std::mem::replace(&mut self.has_warned, true) {
                warn!(%urn, max = MAX_SHARED, "a member shares no more names: this one and further ones are not found by other processes");
            }
            return;
        }
        slot.set(Listing::Pending);
        self.shared.insert(urn, slot);
        self.shared_changed = true;
    }

    /// Removes a name from the table of listed ones; true if the map may have it.
    pub(super) fn forget(&mut self, urn: &Urn) -> bool {
        let Some(name) = self.listed.remove(urn) else {
            return false;
        };
        if let Stage::StandsBy(member) = name.stage
            && let Some(standing) = self.standing.get_mut(&member)
        {
            standing.remove(urn);
            if standing.is_empty() {
                self.standing.remove(&member);
            }
        }
        !matches!(name.stage, Stage::StandsBy(_)) // a call that was thought lost may have listed it
    }

    pub(super) fn list_again(&mut self, urn: Urn) {
        if let Some(name) = self.listed.get_mut(&urn) {
            name.stage = Stage::Pending;
            self.pending.push_back(urn);
        }
    }

    /// Takes names to be freed, except those that other actors have claimed since.
    pub(super) fn take_ended(&mut self) -> Vec<Urn> {
        let mut taken = Vec::new();
        while self.stage == MembershipStage::Member
            && taken.len() < MAX_NAMES
            && let Some(urn) = self.ended.pop_front()
        {
            if !self.listed.contains_key(&urn) {
                taken.push(urn);
            }
        }
        taken
    }

    /// Takes names to be listed.
    pub(super) fn take_pending(&mut self) -> Vec<Urn> {
        let mut taken = Vec::new();
        while taken.len() < MAX_NAMES
            && let Some(urn) = self.pending.pop_front()
        {
            if let Some(name) = self.listed.get_mut(&urn)
                && name.stage == Stage::Pending
            {
                name.stage = Stage::UnderWay;
                taken.push(urn);
            }
        }
        taken
    }
}
