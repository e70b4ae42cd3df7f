//! Paused time that goes forward one timer after another.

use std::future::Future;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

/// How often what became due at the very end has its turn. Tasks that wait for nothing but each
/// other go on for dozens of steps in one turn.
const TURNS: usize = 64;

/// Lets paused time go forward, from one timer to the next: each fires in its order, and before
/// the clock moves on everybody has done what there was to do.
///
/// [`tokio::time::advance`] puts the clock to the end at once: whatever was due on the way fires
/// together, all of it late, and what an actor starts then counts from the end. With this one, an
/// actor that ticks every minute ticks sixty times in an hour, and each time it reads the minute.
/// At the end, what has become due has had its turn as well.
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
/// Dropped before it is ready, it leaves the clock on the way.
#[track_caller]
pub fn advance(duration: Duration) -> impl Future<Output = ()> + Send {
    assert!(
        is_paused(),
        "time is not paused: write `#[tokio::test(start_paused = true)]`, or call \
         `tokio::time::pause()` first"
    );
    async move {
        // The runtime moves a paused clock to the next timer when no task has anything to do.
        sleep(duration).await;
        for _ in 0..TURNS {
            yield_now().await;
        }
    }
}

/// True if tokio's clock stands still while another one runs.
fn is_paused() -> bool {
    let before = Instant::now();
    let start = std::time::Instant::now();
    while std::time::Instant::now() == start {
        std::hint::spin_loop(); // for nanoseconds: as long as the clock's resolution
    }
    Instant::now() == before
}
