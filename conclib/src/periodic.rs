//! Actors with regular messages.

use crate::actor::Actor;
use crate::actor::Tick;

/// An actor with a table of ticks. Write `#[periodic(…)]` beside `#[derive(Actor)]`.
///
/// Ticks start after `on_start` and end with the actor. They come from a timer
/// within the actor's own task and take no room in the mailbox; at most one of each entry is
/// pending, so a slow handler does not leave a heap of stale ticks behind it.
///
/// | option | values | default |
/// |---|---|---|
/// | `tick` | a unit struct, a struct literal or a tuple call | |
/// | `every` | a duration: `"500ms"`, `"1m 30s"` | |
/// | `cron` | instead of `every`: a cron expression, as `Schedule::cron` takes it (feature `cron`), in UTC | |
/// | `first` | `"now"`, `"after"` one interval; not with `cron` | `"now"` |
/// | `missed` | `"skip"`, `"burst"`, `"delay"` (see [`Missed`](crate::schedule::Missed)) | `"skip"` |
/// | `jitter` | a duration: each tick is delayed by a random part of it | `"0s"` |
/// | `while_serving` | no value: ticks run only while the process serves; one that is due before waits, and a cron moment is left out (see [`Schedule::while_serving`](crate::schedule::Schedule::while_serving)) | not given |
/// | `each_member` | no value: each member of a fleet that has the actor is to tick (see [`Schedule::each_member`](crate::schedule::Schedule::each_member)) | a warning in a fleet |
///
/// ```
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// struct Beat;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// struct Report;
///
/// #[derive(Actor)]
/// #[actor(urn = "heart")]
/// #[periodic(tick = Beat, every = "500ms")]
/// #[periodic(tick = Report, cron = "0 0 3 * * *")] // at 3 o'clock
/// struct Heart { beats: u64 }
///
/// #[handlers]
/// impl Heart {
///     #[handler]
///     fn beat(&mut self, _: Beat) { self.beats += 1; }
///
///     #[handler]
///     fn report(&mut self, _: Report) { println!("{} beats", self.beats); }
/// }
///
/// assert_eq!(Heart::TICKS[0].schedule().to_string(), "every 500ms");
/// assert_eq!(Heart::TICKS[1].schedule().to_string(), "cron 0 0 3 * * *");
/// ```
pub trait PeriodicActor: Actor {
    /// The messages and their schedules.
    const TICKS: &'static [Tick<Self>];
}
