//! Paused time that goes forward one timer after another.

use std::future::Future;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

/// The number of turns for tasks that became due at the very end. Tasks that wait only for each other
/// continue for dozens of steps in one turn.
const TURNS: usize = 64;

/// Moves paused time forward, from one timer to the next: each fires in its order, and every task has
/// finished its work before the clock moves on.
///
/// [`tokio::time::advance`] sets the clock to the end at once: timers that were due on the way fire
/// together, all of them late, and timers that an actor starts then count from the end. With this
/// function, an actor that ticks every minute ticks sixty times in an hour, and each time it reads the
/// minute. Timers that are due at the end have fired and been handled as well.
///
/// tokio's timers count in milliseconds; so does this.
///
/// ```
/// use conclib::prelude::*;
/// use conclib::test::advance;
/// use std::time::Duration;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// struct Beat;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(response = u32)]
/// struct Count;
///
/// #[derive(Actor)]
/// #[periodic(tick = Beat, every = "1m", first = "after")]
/// struct Heart { beats: u32 }
///
/// #[handlers]
/// impl Heart {
///     #[handler]
///     fn beat(&mut self, _: Beat) { self.beats += 1; }
///     #[handler]
///     fn count(&mut self, _: Count) -> u32 { self.beats }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // In a `#[tokio::test(start_paused = true)]`:
/// let system = ActorSystem::new();
/// let heart = system.spawn(Heart { beats: 0 }).await?;
/// advance(Duration::from_secs(60 * 60)).await;
/// assert_eq!(heart.ask(Count).await?, 60);
/// # Ok(()) }
/// ```
///
/// # Panics
///
/// If time is not paused.
///
/// # Cancel safety
///
/// Dropped before it is ready, it leaves the clock at the time that was reached.
#[track_caller]
pub fn advance(duration: Duration) -> impl Future<Output = ()> + Send {
    assert!(
        is_paused(),
        "time is not paused: write `#[tokio::test(start_paused = true)]`, or call \
         `tokio::time::pause()` first"
    );
    async move {
        // The runtime moves a paused clock to the next timer when every task is idle.
        sleep(duration).await;
        for _ in 0..TURNS {
            yield_now().await;
        }
    }
}

/// True if tokio's clock stands still while the one of `std` runs.
fn is_paused() -> bool {
    let before = Instant::now();
    let start = std::time::Instant::now();
    while std::time::Instant::now() == start {
        std::hint::spin_loop(); // for nanoseconds: as long as the clock's resolution
    }
    Instant::now() == before
}
