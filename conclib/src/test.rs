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
//! | start actors as `run` does, with a fencing token | [below](#a-service) |
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
//!
//! # A service
//!
//! An actor process calls its `start` once it has the lease, so that the actors have a fencing token, and
//! state that they load is current. A test does as `run` in three lines: it acquires the lease, calls
//! `start`, and serves. The bus in memory takes the place of Redis; clones of one `Config` share it. With a
//! second system, the test sees what another process would find. (`run` itself would take the signals of the
//! process that runs the tests, such as Ctrl-C.)
//!
//! ```
//! use conclib::bus::acquire_lease;
//! use conclib::prelude::*;
//! use conclib::test::TestSystem;
//!
//! #[derive(ActorMessage, Serialize, Deserialize)]
//! #[message(response = u64)]
//! struct GetToken;
//!
//! #[derive(Actor)]
//! #[actor(urn = "account")]
//! struct Account { token: u64 }
//!
//! #[handlers]
//! impl Account {
//!     #[handler]
//!     fn get_token(&mut self, _: GetToken) -> u64 { self.token }
//! }
//!
//! // The program's: `run(Config::from_env(), start).await` is its `main`.
//! async fn start(system: ActorSystem) -> Result<(), Failure> {
//!     let token = system.token().ok_or_else(|| Failure::msg("no lease"))?;
//!     system.spawn(Account { token }).essential().await?;
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Failure> {
//! let config = Config::memory();
//! let system = TestSystem::new();
//! let lease = acquire_lease(&system, &config).await?;
//! start(system.clone()).await?;
//! lease.serve().await?;
//!
//! let client = ProxyClient::connect(&config).await?;
//! let first = client.ask("account", GetToken).await?;
//! system.finish().await; // releases the lease too
//!
//! // The next process.
//! let system = TestSystem::new();
//! let lease = acquire_lease(&system, &config).await?;
//! start(system.clone()).await?;
//! lease.serve().await?;
//! assert!(client.ask("account", GetToken).await? > first);
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
