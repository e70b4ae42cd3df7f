//! Who an actor has to do with: its children, those who want to hear of its end, and those it waits
//! for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Terminated;
use super::cell::{ActorId, AnyActor};
use super::waiting::Edge;

/// Under one lock, and without memory for the many actors that have none of it.
#[derive(Default)]
pub(crate) struct Relations {
    ties: Mutex<Ties>,
}

#[derive(Default)]
struct Ties {
    /// Nobody is taken in any more, until another life begins.
    childless: bool,
    /// It has ended, and the watchers have been told.
    ended: bool,
    /// By their place in the order of spawning.
    children: Option<Box<BTreeMap<u64, Arc<dyn AnyActor>>>>,
    watchers: Vec<Watcher>,
    /// Whom its own code waits for at this moment; seldom more than one.
    waits: Vec<(u64, Edge)>,
    /// The next wait's number.
    next_wait: u64,
}

/// Somebody who wants to hear of the end.
pub(crate) struct Watcher {
    pub(crate) id: ActorId,
    /// Puts the news into the watcher's mailbox. Holds it weakly.
    pub(crate) tell: Box<dyn FnOnce(Terminated) + Send>,
}

impl Relations {
    // ---- children

    /// Takes a child in; false if this actor is ending.
    pub(crate) fn adopt(&self, child: Arc<dyn AnyActor>) -> bool {
        let mut ties = self.lock();
        if ties.childless || ties.ended {
            return false;
        }
        let children = ties.children.get_or_insert_default();
        children.insert(child.sequence(), child);
        true
    }

    /// A child has ended.
    pub(crate) fn disown(&self, sequence: u64) {
        let mut ties = self.lock();
        let Some(children) = &mut ties.children else {
            return;
        };
        let child = children.remove(&sequence);
        if children.is_empty() {
            ties.children = None;
        }
        drop(ties);
        drop(child);
    }

    /// The newest child; without one, none is taken in any more.
    pub(crate) fn newest_child_or_close(&self) -> Option<Arc<dyn AnyActor>> {
        let mut ties = self.lock();
        let newest = ties
            .children
            .as_ref()
            .and_then(|children| children.last_key_value())
            .map(|(_, child)| child.clone());
        ties.childless = newest.is_none();
        newest
    }

    /// Everybody, newest first.
    pub(crate) fn children(&self) -> Vec<Arc<dyn AnyActor>> {
        let ties = self.lock();
        let children = ties.children.iter().flat_map(|children| children.values());
        children.rev().cloned().collect()
    }

    /// Another life begins.
    pub(crate) fn open(&self) {
        self.lock().childless = false;
    }

    // ---- watchers

    /// Adds a watcher, unless it is one already; gives it back if the actor has ended.
    pub(crate) fn watch(&self, watcher: Watcher) -> Result<(), Watcher> {
        let mut ties = self.lock();
        if ties.ended {
            return Err(watcher);
        }
        if ties.watchers.iter().all(|other| other.id != watcher.id) {
            ties.watchers.push(watcher);
        }
        Ok(())
    }

    pub(crate) fn unwatch(&self, id: ActorId) {
        let mut ties = self.lock();
        let place = ties.watchers.iter().position(|watcher| watcher.id == id);
        let watcher = place.map(|place| ties.watchers.swap_remove(place));
        drop(ties);
        drop(watcher);
    }

    /// The actor has ended: who is to hear of it, once.
    pub(crate) fn end(&self) -> Vec<Watcher> {
        let mut ties = self.lock();
        ties.ended = true;
        std::mem::take(&mut ties.watchers)
    }

    // ---- whom it waits for

    /// Records a wait; its number ends it.
    pub(crate) fn begin_wait(&self, edge: Edge) -> u64 {
        let mut ties = self.lock();
        let number = ties.next_wait;
        ties.next_wait += 1;
        ties.waits.push((number, edge));
        number
    }

    pub(crate) fn end_wait(&self, number: u64) {
        let mut ties = self.lock();
        let place = ties.waits.iter().position(|(other, _)| *other == number);
        let edge = place.map(|place| ties.waits.swap_remove(place));
        drop(ties);
        drop(edge);
    }

    pub(crate) fn waits(&self) -> Vec<Edge> {
        let ties = self.lock();
        ties.waits.iter().map(|(_, edge)| edge.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Ties> {
        self.ties.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
