//! For tests of programs with actors: a bus with faults, failures that fail the test, paused time,
//! and probes. Needs the feature `test-util`.
//!
//! ```toml
//! [dev-dependencies]
//! conclib = { version = "0.1", features = ["test-util"] }
//! tokio = { version = "1", features = ["macros", "rt", "test-util"] }
//! ```
//!
//! | to | see |
//! |---|---|
//! | let a test fail when one of its actors fails | [`TestSystem`] |
//! | see the messages that an actor sends, and answer them | [`Probe`] |
//! | let hours pass at once, one timer after another | [`advance`] |
//! | check that a message arrives as it was sent | [`round_trips`] |
//! | have a bus that delays, loses and repeats messages | [`Faults`], [`Config::faults`](crate::Config::faults) |
//!
//! ```
//! use conclib::prelude::*;
//! use conclib::test::{Probe, TestSystem};
//!
//! #[derive(ActorMessage, Debug, PartialEq)]
//! #[message(local)]
//! struct Note(String);
//!
//! #[derive(ActorMessage, Serialize, Deserialize)]
//! struct Visit { name: String }
//!
//! // The actor under test: it notes each visitor.
//! #[derive(Actor)]
//! struct Porter { log: Recipient<Note> }
//!
//! #[handlers]
//! impl Porter {
//!     #[handler]
//!     async fn visit(&mut self, Visit { name }: Visit) -> Result<(), Failure> {
//!         Ok(self.log.tell(Note(format!("{name} came"))).await?)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In a `#[tokio::test(start_paused = true)]`:
//! let system = TestSystem::new();
//! let log = Probe::<Note>::spawn(&system).await?;
//! let porter = system.spawn(Porter { log: log.recipient() }).await?;
//! porter.tell(Visit { name: "Ada".into() }).await?;
//! assert_eq!(log.expect().await, Note("Ada came".into()));
//! system.finish().await; // panics if an actor failed
//! # Ok(()) }
//! ```

#[cfg(feature = "bus")]
pub use crate::bus::faults::Faults;
pub use probe::{Probe, SpawnProbe};
pub use round_trips::{RoundTripError, round_trips};
pub use system::TestSystem;
pub use time::advance;

mod probe;
mod round_trips;
mod system;
mod time;
