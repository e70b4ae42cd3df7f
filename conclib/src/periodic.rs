//! Actors that are sent messages at regular intervals.

use crate::actor::Actor;
use crate::schedule::Tick;

/// An actor with a table of ticks. Write `#[periodic(…)]` beside `#[derive(Actor)]`.
///
/// Ticks start after `on_start` and end with the actor, whatever ends it. They come from a timer
/// within the actor's own task and take no room in the mailbox; at most one of each entry is
/// pending, so a slow handler does not leave a heap of stale ticks behind it.
///
/// | option | values | default |
/// |---|---|---|
/// | `tick` | a unit struct, a struct literal or a tuple call | |
/// | `every` | a duration: `"500ms"`, `"1m 30s"` | |
/// | `first` | `"now"`, `"after"` one interval | `"now"` |
/// | `missed` | `"skip"`, `"burst"`, `"delay"` (see [`Missed`](crate::Missed)) | `"skip"` |
/// | `jitter` | a duration: each tick is late by a random part of it | `"0s"` |
///
/// ```
/// use conclib::prelude::*;
/// use std::time::Duration;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// struct Beat;
///
/// #[derive(Actor)]
/// #[actor(urn = "heart")]
/// #[periodic(tick = Beat, every = "500ms")]
/// struct Heart { beats: u64 }
///
/// #[handlers]
/// impl Heart {
///     #[handler]
///     fn beat(&mut self, _: Beat) { self.beats += 1; }
/// }
///
/// assert_eq!(Heart::TICKS[0].schedule.every, Duration::from_millis(500));
/// ```
pub trait PeriodicActor: Actor {
    /// The messages and when they are due.
    const TICKS: &'static [Tick<Self>];
}
