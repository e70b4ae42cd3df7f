//! The operations of a framework that are measured.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::rows::Workers;

/// The capacity of a mailbox, where it can be set.
pub(crate) const MAILBOX: usize = 1024;

/// The interval of a periodic actor.
pub(crate) const PERIOD: Duration = Duration::from_millis(100);

/// The channel on which a ring reports that its token has arrived.
pub(crate) type Done = mpsc::UnboundedSender<()>;

/// The number of runs of the handlers of all periodic and counting actors.
static BEATS: AtomicU64 = AtomicU64::new(0);

/// The work of the handler of a periodic or counting actor.
pub(crate) fn beat() {
    BEATS.fetch_add(1, Ordering::Relaxed);
}

/// The number of calls of [`beat`].
pub(crate) fn beats() -> u64 {
    BEATS.load(Ordering::Relaxed)
}

/// A framework. Its actor holds a `u64`, adds the `u64` of each message to it, and replies with the sum.
pub(crate) trait Peer: Clone + Send + Sync + 'static {
    /// A reference to an actor that sums.
    type Actor: Clone + Send + Sync + 'static;
    /// A reference to an actor of a ring.
    type Node: Send + Sync + 'static;

    /// Sets the framework up before the first actor. Called within its runtime.
    fn new() -> Self;

    /// Runs a measurement to its end, as a task of the runtime on which the senders run.
    fn run<F>(workers: Workers, measurement: F) -> F::Output
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers.count())
            .enable_all()
            .build()
            .expect("the runtime starts");
        let result = runtime.block_on(runtime.spawn(measurement));
        let result = result.expect("the measurement is right");
        // The rest ends with the process: stopping a hundred thousand actors takes long.
        std::mem::forget(runtime);
        result
    }

    /// Starts an actor, and returns when it is known to have started.
    fn spawn(&self) -> impl Future<Output = Self::Actor> + Send;

    /// Sends a message that needs no reply; waits for room where the mailbox is bounded.
    fn tell(&self, actor: &Self::Actor, n: u64) -> impl Future<Output = ()> + Send;

    /// Sends a message, and returns the reply.
    fn ask(&self, actor: &Self::Actor, n: u64) -> impl Future<Output = u64> + Send;

    /// Stops actors, and waits for their end where the framework can.
    fn stop(&self, actors: Vec<Self::Actor>) -> impl Future<Output = ()> + Send;

    /// Starts actors that call [`beat`] every [`PERIOD`] for the rest of the process.
    fn periodic(&self, actors: usize) -> impl Future<Output = ()> + Send;

    /// Starts a ring of actors, and returns its first one.
    fn ring(&self, length: usize, done: Done) -> impl Future<Output = Self::Node> + Send;

    /// Gives a ring's actor a token. Each actor gives it to the next with one hop less, or reports
    /// `done` if no hop is left.
    fn pass(&self, node: &Self::Node, hops: u64) -> impl Future<Output = ()> + Send;
}

/// A framework whose cost is measured with many live actors.
pub(crate) trait Counting: Peer {
    /// Sends a message whose handler calls [`beat`]; waits for room.
    fn count(&self, actor: &Self::Actor) -> impl Future<Output = ()> + Send;
}
