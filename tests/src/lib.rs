//! What the tests share: messages and actors, a bus to ask them on, the processes of others, and
//! ways to wait for what happens.

pub mod actors;
pub mod bus;
pub mod chaos;
pub mod desk;
pub mod durable;
pub mod framework;
pub mod logs;
pub mod messages;
pub mod probe;
pub mod process;
pub mod random;
pub mod redis;
pub mod relay;

use std::error::Error;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;

/// What a test returns.
pub type TestResult = Result<(), Box<dyn Error>>;

/// What happened, in order; shared by a test and its actors.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Writes an entry.
    pub fn add(&self, entry: impl Into<String>) {
        self.lock().push(entry.into());
    }

    /// What has been written.
    pub fn entries(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// How many entries there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a handler waits until a test lets it go on.
#[derive(Debug)]
pub struct Gate {
    /// Says that the handler has come.
    came: oneshot::Sender<()>,
    /// Ends when the keeper opens, or is dropped.
    opened: oneshot::Receiver<()>,
}

/// The test's side of a [`Gate`]; dropping it opens the gate.
#[derive(Debug)]
pub struct Keeper {
    came: oneshot::Receiver<()>,
    open: oneshot::Sender<()>,
}

/// A gate and its keeper.
pub fn gate() -> (Gate, Keeper) {
    let (came, comes) = oneshot::channel();
    let (open, opened) = oneshot::channel();
    (Gate { came, opened }, Keeper { came: comes, open })
}

impl Gate {
    /// Waits until the gate is open.
    pub async fn pass(self) {
        let _ = self.came.send(()); // nobody need wait for that
        drop(self.opened.await);
    }
}

impl Keeper {
    /// Waits until somebody stands at the gate.
    ///
    /// # Panics
    ///
    /// If the gate is gone before anybody came, or it takes too long.
    pub async fn reached(&mut self) {
        within(&mut self.came).await.expect("somebody comes");
    }

    /// Lets go on who waits.
    pub fn open(self) {
        let _ = self.open.send(());
    }
}

/// A value whose drop panics.
#[derive(Debug)]
pub struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("dropped, on purpose");
    }
}

/// A value that writes an entry when it is dropped.
#[derive(Debug)]
pub struct LogsDrop(pub Log, pub &'static str);

impl Drop for LogsDrop {
    fn drop(&mut self) {
        self.0.add(self.1);
    }
}

/// Awaits, but not forever: so that what hangs fails.
///
/// # Panics
///
/// After 60 s.
pub async fn within<F: IntoFuture>(future: F) -> F::Output {
    let bound = Duration::from_secs(60);
    let ended = tokio::time::timeout(bound, future).await;
    ended.expect("it ends")
}

/// Polls a future once.
pub async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}
