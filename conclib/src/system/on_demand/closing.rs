//! Starts of a pattern while its system is closing: until the shutdown comes to the pattern, older
//! actors may still need its actors.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::actor::any::AnyActor;

/// The starts of a pattern while its system is closing.
#[derive(Default)]
pub(super) struct ClosingStarts(Mutex<Starts>);

#[derive(Default)]
struct Starts {
    /// The shutdown has come to the pattern: no more actors start.
    are_over: bool,
    /// The actors that were started, among them some that have ended.
    started: Vec<Weak<dyn AnyActor>>,
}

impl ClosingStarts {
    /// Notes the start of an actor that is in the registry; false if no more may start.
    pub(super) fn admit(&self, actor: Weak<dyn AnyActor>) -> bool {
        let mut starts = self.0.lock();
        if starts.are_over {
            return false;
        }
        let started = &mut starts.started;
        // Before the list grows, actors that have ended are removed from it. Unless most had ended, it
        // doubles, so that this is not done for each start.
        if started.len() == started.capacity() {
            started.retain(|actor| actor.strong_count() > 0);
            started.reserve(started.len().max(16));
        }
        started.push(actor);
        true
    }

    /// Admits no more. Returns the actors that were started and are live.
    pub(super) fn close(&self) -> Vec<Arc<dyn AnyActor>> {
        let mut starts = self.0.lock();
        starts.are_over = true;
        let started = starts.started.clone();
        drop(starts);
        let live = started.iter().filter_map(Weak::upgrade);
        live.filter(|actor| !actor.has_ended()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    #[derive(Actor)]
    struct Idle;

    #[handlers]
    impl Idle {}

    #[tokio::test]
    async fn starts_are_kept_while_they_are_live_and_refused_once_closed() {
        let (system, starts) = (ActorSystem::new(), ClosingStarts::default());
        for _ in 0..1000 {
            let actor = system.spawn(Idle).await.unwrap();
            let cell: Arc<dyn AnyActor> = actor.cell().clone();
            assert!(starts.admit(Arc::downgrade(&cell)));
            actor.kill();
            actor.stopped().await;
        }
        assert!(starts.0.lock().started.len() <= 64);
        let stays = system.spawn(Idle).await.unwrap();
        let cell: Arc<dyn AnyActor> = stays.cell().clone();
        assert!(starts.admit(Arc::downgrade(&cell)));
        for _ in 0..2 {
            let live = starts.close();
            assert_eq!(live.len(), 1);
            assert_eq!(live[0].id(), cell.id());
        }
        assert!(!starts.admit(Arc::downgrade(&cell)));
    }
}
