//! Long work beside the runtime.

use tokio::sync::oneshot;

use crate::bus::inspect::message::Refusal;

/// Does work on a thread of its own, where it keeps no task from its turn. Not on one of the runtime's threads for
/// blocking work: in a process that hangs, the program may have taken them all.
///
/// # Errors
///
/// The refusal of work for which the process has no thread, or which has panicked.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let unavailable = |reason: &str| Refusal::Unavailable {
        reason: reason.to_owned(),
    };
    let (sender, done) = oneshot::channel();
    let thread = std::thread::Builder::new().name("conclib-inspect".to_owned());
    let started = thread.spawn(move || drop(sender.send(work()))); // fails if the request was given up
    started.map_err(|error| unavailable(&error.to_string()))?;
    done.await
        .map_err(|_| unavailable("the answer has panicked"))
}
