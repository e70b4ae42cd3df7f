//! Lists of the actors of a process, which queries share: a list of 100,000 actors has 13 MB and takes 50 ms.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::actor::ActorSnapshot;
use crate::bus::inspect::member::cpu_share::CpuShare;
use crate::bus::inspect::message::Refusal;
use crate::core::SystemCore;

/// Age up to which a list answers further queries.
pub(super) const FRESH: Duration = Duration::from_millis(500);

/// Time for which a list is kept after its last use.
const KEPT: Duration = Duration::from_secs(10);

/// The number of lists that are kept: one that is fresh, and some whose pages are being read.
const MAX_LISTS: usize = 3;

/// The actors of a process at one moment.
pub(super) struct ActorList {
    pub(super) number: u64,
    pub(super) taken: Instant,
    pub(super) actors: Vec<ActorSnapshot>,
}

/// The lists that are kept.
#[derive(Default)]
pub(super) struct ActorLists {
    /// The newest last, each with the time of its last use.
    lists: Vec<(Arc<ActorList>, Instant)>,
    /// The number of the next list. It begins at random: a cursor of another process means none of these.
    next: Option<u64>,
}

impl ActorLists {
    /// A list that is not older than [`FRESH`].
    pub(super) async fn fresh(
        &mut self,
        core: Arc<SystemCore>,
        share: &mut CpuShare,
    ) -> Result<Arc<ActorList>, Refusal> {
        let now = Instant::now();
        if let Some((newest, used)) = self.lists.last_mut()
            && now.duration_since(newest.taken) <= FRESH
        {
            *used = now;
            return Ok(newest.clone());
        }
        let actors = share.measure_many(core.registry.len(), move || read(&core));
        let actors = actors.await?;
        let number = self.next.unwrap_or_else(|| fastrand::u64(..1 << 40));
        self.next = Some(number + 1);
        let list = Arc::new(ActorList {
            number,
            taken: now,
            actors,
        });
        if self.lists.len() >= MAX_LISTS {
            self.drop_least_used();
        }
        self.lists.push((list.clone(), Instant::now()));
        Ok(list)
    }

    /// The list of a cursor.
    pub(super) fn of_number(&mut self, number: u64) -> Result<Arc<ActorList>, Refusal> {
        let kept = self
            .lists
            .iter_mut()
            .find(|(list, _)| list.number == number);
        let (list, used) = kept.ok_or(Refusal::CursorExpired)?;
        *used = Instant::now();
        Ok(list.clone())
    }

    /// The time at which a list is dropped; `None` without one.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.lists.iter().map(|(_, used)| *used + KEPT).min()
    }

    /// Drops the lists that were not used for a while.
    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        self.lists
            .retain(|(_, used)| now.duration_since(*used) < KEPT);
    }

    fn drop_least_used(&mut self) {
        let uses = self.lists.iter().enumerate();
        if let Some((place, _)) = uses.min_by_key(|(_, (_, used))| *used) {
            self.lists.remove(place);
        }
    }
}

/// Reads the state of all actors, in the order of spawning.
fn read(core: &SystemCore) -> Vec<ActorSnapshot> {
    let newest_first = core.registry.newest_first();
    let oldest_first = newest_first.iter().rev();
    oldest_first.map(|actor| actor.snapshot()).collect()
}

impl ActorList {
    pub(super) fn age(&self) -> Duration {
        self.taken.elapsed()
    }
}
