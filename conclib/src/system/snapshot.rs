//! Snapshots of a running system.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::actor::{ActorSnapshot, FailedActor, Listing};
use crate::system::ActorSystem;
use crate::time::rfc3339::format_seconds;

impl ActorSystem {
    /// Takes a snapshot of all actors: their phases, mailboxes, counters and running handlers.
    ///
    /// The counters are always kept, at the cost of a few plain stores per message. A snapshot does
    /// not pause the actors; its parts may be a few messages apart.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// struct Work;
    ///
    /// #[derive(Actor)]
    /// #[actor(urn = "worker")]
    /// struct Worker;
    ///
    /// #[handlers]
    /// impl Worker {
    ///     #[handler]
    ///     fn work(&mut self, _: Work) {}
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// system.spawn(Worker).await?.ask(Work).await?;
    ///
    /// let snapshot = system.snapshot();
    /// let worker = snapshot.actor("worker").unwrap();
    /// assert_eq!((worker.handled, worker.failures, worker.queued), (1, 0, 0));
    /// println!("{snapshot}");                  // a table
    /// # Ok(()) }
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        let mut actors = self.core().registry.newest_first();
        // Actors on demand of one pattern share its place: their URNs give the order.
        actors.sort_unstable_by(|a, b| {
            let (place, other) = (a.sequence(), b.sequence());
            place.cmp(&other).then_with(|| a.urn().cmp(b.urn()))
        });
        Snapshot {
            actors: actors.iter().map(|actor| actor.snapshot()).collect(),
            failed: self.core().registry.failed(),
        }
    }
}

/// The state of all actors of a system; see [`ActorSystem::snapshot`]. Its `Display` is a table, and it
/// implements serde's traits, as for `serde_json::to_string(&system.snapshot())`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The actors, in the order in which they were spawned. Those [on demand](ActorSystem::on_demand)
    /// are where their pattern was added, by their URNs.
    pub actors: Vec<ActorSnapshot>,
    /// Actors that failed and will not start again, the newest 64 of them, until an actor is
    /// spawned at their URN. Actors that were asked to stop or were killed are not included.
    pub failed: Vec<FailedActor>,
}

impl Snapshot {
    /// The actor with this URN.
    pub fn actor(&self, urn: impl AsRef<str>) -> Option<&ActorSnapshot> {
        let urn = urn.as_ref();
        self.actors.iter().find(|actor| actor.urn == urn)
    }

    /// Writes the table of actors that will not start again.
    fn show_failed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failed.is_empty() {
            return Ok(());
        }
        let urns = self.failed.iter().map(|actor| actor.urn.as_str().len());
        let width = urns.max().unwrap_or_default().max("URN".len());
        writeln!(f, "\nfailed, and will not start again:")?;
        writeln!(
            f,
            "{:width$}  {:20}  {:>8}  reason",
            "URN", "at", "failures"
        )?;
        for actor in &self.failed {
            let at = format_seconds(actor.at);
            let (urn, failures, reason) = (actor.urn.as_str(), actor.failures, &actor.reason);
            writeln!(f, "{urn:width$}  {at:20}  {failures:>8}  {reason}")?;
        }
        Ok(())
    }

    /// The number of queued messages in all mailboxes.
    pub fn queued(&self) -> usize {
        self.actors.iter().map(|actor| actor.queued).sum()
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urns = self.actors.iter().map(|actor| actor.urn.as_str().len());
        let width = urns.max().unwrap_or_default().max("URN".len());
        writeln!(
            f,
            "{:width$}  {:10}  {:>11}  {:>8}  {:>10}  {:>8}  {:>8}  handler",
            "URN", "phase", "mailbox", "oldest", "handled", "failures", "restarts"
        )?;
        for actor in &self.actors {
            let oldest = actor.oldest.map_or_else(String::new, milliseconds);
            write!(
                f,
                "{:width$}  {:10}  {:>11}  {:>8}  {:>10}  {:>8}  {:>8}",
                actor.urn.as_str(),
                actor.phase,
                format!("{}/{}", actor.queued, actor.capacity),
                oldest,
                actor.handled,
                actor.failures,
                actor.restarts,
            )?;
            let running = actor.running.as_ref().map(|running| {
                let elapsed = milliseconds(running.elapsed);
                format!("  {} for {elapsed}", running.name)
            });
            let listing =
                (actor.listing != Listing::Local).then(|| format!("  ({})", actor.listing));
            writeln!(
                f,
                "{}{}",
                running.unwrap_or_default(),
                listing.unwrap_or_default()
            )?;
        }
        self.show_failed(f)
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
