//! Looking into a running system.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::actor::{Phase, StopReason};
use crate::system::ActorSystem;
use crate::urn::Urn;

impl ActorSystem {
    /// What every actor is doing at this moment.
    ///
    /// What it shows is counted all the time, at the cost of a few plain stores for each message.
    /// Taking a snapshot stops nobody; its parts may be a few messages apart.
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
    /// assert_eq!((worker.handled, worker.failed, worker.depth), (1, 0, 0));
    /// println!("{snapshot}");                  // a table
    /// # Ok(()) }
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        let mut actors = self.core().registry.newest_first();
        actors.reverse();
        Snapshot {
            actors: actors.iter().map(|actor| actor.snapshot()).collect(),
            failed: self.core().registry.failed(),
        }
    }
}

/// What the actors of a system are doing; see [`ActorSystem::snapshot`]. Its `Display` is a table.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// In the order in which they were spawned.
    pub actors: Vec<ActorSnapshot>,
    /// Actors that failed and will not start again, the newest 64 of them, until an actor is spawned
    /// at their URN. Those that were asked to stop, or were killed, are not among them.
    pub failed: Vec<FailedActor>,
}

/// An actor that failed and will not start again.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct FailedActor {
    /// Its address, at which no actor lives now.
    pub urn: Urn,
    /// Its Rust type.
    pub actor_type: &'static str,
    /// The actor that spawned it, if one did and still lived.
    pub parent: Option<Urn>,
    /// The reason for its end, with the text of its last failure; of a long one the first 512 bytes.
    pub reason: String,
    /// The moment of its end.
    pub at: SystemTime,
    /// The number of its failures, in all its lives.
    pub failures: u64,
}

impl FailedActor {
    /// The longest text that is kept, in bytes.
    const MAX_REASON: usize = 512;

    pub(crate) fn new(last: ActorSnapshot, reason: &StopReason) -> Self {
        let mut reason = reason.to_string();
        let ends = (0..=Self::MAX_REASON.min(reason.len())).rev();
        let end = ends.into_iter().find(|end| reason.is_char_boundary(*end));
        reason.truncate(end.unwrap_or(0));
        reason.shrink_to_fit();
        Self {
            urn: last.urn,
            actor_type: last.actor_type,
            parent: last.parent,
            reason,
            at: SystemTime::now(),
            failures: last.failed,
        }
    }
}

/// What one actor is doing.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ActorSnapshot {
    /// Its address.
    pub urn: Urn,
    /// Its Rust type.
    pub actor_type: &'static str,
    /// The actor that spawned it, if one did.
    pub parent: Option<Urn>,
    /// What it does with its life.
    pub phase: Phase,
    /// The handler that runs.
    pub running: Option<RunningHandler>,
    /// How many messages wait in its mailbox.
    pub depth: usize,
    /// How many may wait.
    pub capacity: usize,
    /// How many senders wait for room.
    pub senders: usize,
    /// How long the oldest message has waited: exact to a few milliseconds, and it may be that of
    /// a message that came shortly before and has been handled since.
    pub oldest: Option<Duration>,
    /// How many messages and ticks it has handled without failing.
    pub handled: u64,
    /// How often it has failed.
    pub failed: u64,
    /// How often it has started again.
    pub restarts: u32,
}

/// A handler that runs at this moment.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RunningHandler {
    /// The method's name.
    pub name: &'static str,
    /// For how long: exact to a few milliseconds, or counted from a little before it began.
    pub elapsed: Duration,
}

impl Snapshot {
    /// The actor with this URN.
    pub fn actor(&self, urn: impl AsRef<str>) -> Option<&ActorSnapshot> {
        let urn = urn.as_ref();
        self.actors.iter().find(|actor| actor.urn == urn)
    }

    /// Writes the actors that will not start again, in a table of their own.
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
            let at = humantime::format_rfc3339_seconds(actor.at).to_string();
            let (urn, failures, reason) = (actor.urn.as_str(), actor.failures, &actor.reason);
            writeln!(f, "{urn:width$}  {at:20}  {failures:>8}  {reason}")?;
        }
        Ok(())
    }

    /// How many messages wait in all mailboxes.
    pub fn depth(&self) -> usize {
        self.actors.iter().map(|actor| actor.depth).sum()
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urns = self.actors.iter().map(|actor| actor.urn.as_str().len());
        let width = urns.max().unwrap_or_default().max("URN".len());
        writeln!(
            f,
            "{:width$}  {:10}  {:>11}  {:>8}  {:>10}  {:>6}  {:>8}  handler",
            "URN", "phase", "mailbox", "oldest", "handled", "failed", "restarts"
        )?;
        for actor in &self.actors {
            let oldest = actor.oldest.map_or_else(String::new, milliseconds);
            write!(
                f,
                "{:width$}  {:10}  {:>11}  {:>8}  {:>10}  {:>6}  {:>8}",
                actor.urn.as_str(),
                format!("{:?}", actor.phase).to_lowercase(),
                format!("{}/{}", actor.depth, actor.capacity),
                oldest,
                actor.handled,
                actor.failed,
                actor.restarts,
            )?;
            match &actor.running {
                Some(running) => {
                    let elapsed = milliseconds(running.elapsed);
                    writeln!(f, "  {} for {elapsed}", running.name)?;
                }
                None => writeln!(f)?,
            }
        }
        self.show_failed(f)
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
