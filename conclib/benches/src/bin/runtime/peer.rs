//! What a framework has to do to be measured.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

/// How many messages wait in front of an actor, where that can be set.
pub(crate) const MAILBOX: usize = 1024;

/// How often a periodic actor beats.
pub(crate) const PERIOD: Duration = Duration::from_millis(100);

/// Where a ring says that its token has made its way.
pub(crate) type Done = mpsc::UnboundedSender<()>;

/// How often the handlers of all periodic and counting actors have run.
static BEATS: AtomicU64 = AtomicU64::new(0);

/// What the handler of a periodic or counting actor does.
pub(crate) fn beat() {
    BEATS.fetch_add(1, Ordering::Relaxed);
}

/// How often [`beat`] has been called.
pub(crate) fn beats() -> u64 {
    BEATS.load(Ordering::Relaxed)
}

/// A framework. Its actor holds a `u64`, adds the `u64` of each message to it, and answers the sum.
pub(crate) trait Peer: Clone + Send + Sync + 'static {
    /// A reference to an actor that sums.
    type Actor: Clone + Send + Sync + 'static;
    /// A reference to an actor of a ring.
    type Node: Send + Sync + 'static;

    /// What the framework needs before the first actor. Called within its runtime.
    fn new() -> Self;

    /// Runs a measurement to its end, as a task of the runtime on which the senders run.
    fn run<F>(measurement: F) -> F::Output
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("the runtime starts");
        let result = runtime.block_on(runtime.spawn(measurement));
        let result = result.expect("the measurement is right");
        // What is left ends with the process: a hundred thousand actors take their time.
        std::mem::forget(runtime);
        result
    }

    /// Starts an actor, and returns when it is known to have started.
    fn spawn(&self) -> impl Future<Output = Self::Actor> + Send;

    /// Sends a message that needs no answer; waits for room where the mailbox is bounded.
    fn tell(&self, actor: &Self::Actor, n: u64) -> impl Future<Output = ()> + Send;

    /// Sends a message, and returns the answer.
    fn ask(&self, actor: &Self::Actor, n: u64) -> impl Future<Output = u64> + Send;

    /// Stops actors, and waits for their end where there is a way to.
    fn stop(&self, actors: Vec<Self::Actor>) -> impl Future<Output = ()> + Send;

    /// Starts actors that call [`beat`] every [`PERIOD`]; they go on for the rest of the process.
    fn periodic(&self, actors: usize) -> impl Future<Output = ()> + Send;

    /// Starts a ring of actors, and returns its first one.
    fn ring(&self, length: usize, done: Done) -> impl Future<Output = Self::Node> + Send;

    /// Gives a ring's actor a token. Whoever has one gives it to the next with one hop less, or says
    /// `done` if there is none left.
    fn pass(&self, node: &Self::Node, hops: u64) -> impl Future<Output = ()> + Send;
}

/// A framework whose cost is measured with many live actors.
pub(crate) trait Counting: Peer {
    /// Sends a message whose handler calls [`beat`]; waits for room.
    fn count(&self, actor: &Self::Actor) -> impl Future<Output = ()> + Send;
}
