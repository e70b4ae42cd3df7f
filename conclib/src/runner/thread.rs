//! Actors with a thread of their own, whose handlers may block.
//!
//! The thread polls the actor's task itself, and sleeps in between. It makes the spawning runtime the
//! current one, for timers, tasks and I/O, but does not enter it: within tokio's `block_on`, code that
//! blocks panics (`Handle::block_on`, `blocking_recv`, blocking clients).

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Builder, Thread};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::actor::any::AnyActor;

/// A thread that waits for the task of its actor.
pub(super) struct ActorThread {
    work: SyncSender<Work>,
}

/// The task of an actor, and the actor.
type Work = (Task, Arc<dyn AnyActor>);

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The error of an actor whose thread could not be started.
#[derive(Debug, thiserror::Error)]
#[error("its thread could not be started")]
pub(super) struct NoThread(#[from] io::Error);

impl ActorThread {
    /// Starts a thread with this name, for a task of the current runtime.
    ///
    /// # Errors
    ///
    /// The operating system has no thread left.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(super) fn start(name: &str) -> Result<Self, NoThread> {
        Self::start_by(Builder::new().name(name.to_owned()))
    }

    fn start_by(builder: Builder) -> Result<Self, NoThread> {
        let runtime = Handle::current();
        let (work, works) = sync_channel(1);
        // Detached: the thread ends with its task, and the process does not wait for it.
        builder.spawn(move || {
            if let Ok((task, actor)) = works.recv() {
                run(task, actor, &runtime);
            }
        })?;
        Ok(Self { work })
    }

    /// Runs the actor's task on the thread, which ends with it.
    pub(super) fn run(
        self,
        task: impl Future<Output = ()> + Send + 'static,
        actor: Arc<dyn AnyActor>,
    ) {
        drop(self.work.send((Box::pin(task), actor))); // the thread waits for it: this does not fail
    }
}

/// Runs a task on this thread to its end, or until the runtime ends.
fn run(mut task: Task, actor: Arc<dyn AnyActor>, runtime: &Handle) {
    let _current = runtime.enter();
    let wakeup = Arc::new(Wakeup::of_this_thread());
    let _watch = RuntimeWatch::start(runtime, &wakeup, actor);
    let waker = Waker::from(wakeup.clone());
    let mut cx = Context::from_waker(&waker);
    // Timers of a runtime that has ended panic, so the task is dropped instead, like the runtime's own.
    while !wakeup.has_runtime_ended() && task.as_mut().poll(&mut cx).is_pending() {
        wakeup.wait();
    }
    drop(task); // while the runtime is the current one
}

/// Wakes the thread of an actor.
struct Wakeup {
    thread: Thread,
    /// The task was woken since its last poll. The thread's own token is not enough: a handler that
    /// blocks may use it up.
    woken: AtomicBool,
    runtime_ended: AtomicBool,
}

impl Wakeup {
    fn of_this_thread() -> Self {
        Self {
            thread: thread::current(),
            woken: AtomicBool::new(false),
            runtime_ended: AtomicBool::new(false),
        }
    }

    /// Blocks the thread until the task is woken.
    fn wait(&self) {
        while !self.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }

    fn has_runtime_ended(&self) -> bool {
        self.runtime_ended.load(Ordering::Acquire)
    }
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// A task that never ends by itself: when it is dropped with its runtime, it kills the actor, which has
/// no further use.
struct RuntimeWatch(AbortHandle);

impl RuntimeWatch {
    fn start(runtime: &Handle, wakeup: &Arc<Wakeup>, actor: Arc<dyn AnyActor>) -> Self {
        let wakeup = wakeup.clone();
        let end = EndOfRuntime { wakeup, actor };
        let watch = runtime.spawn(async move {
            let _end = end;
            pending::<()>().await;
        });
        Self(watch.abort_handle())
    }
}

impl Drop for RuntimeWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells a thread and its actor on drop that their runtime has ended.
struct EndOfRuntime {
    wakeup: Arc<Wakeup>,
    actor: Arc<dyn AnyActor>,
}

impl Drop for EndOfRuntime {
    fn drop(&mut self) {
        self.wakeup.runtime_ended.store(true, Ordering::Release);
        self.wakeup.wake_by_ref();
        // A poll handles all queued messages, unless there is a signal.
        self.actor.kill();
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::future::poll_fn;
    use std::task::Poll;

    use super::{ActorThread, Builder, io, thread};
    use crate::prelude::*;

    #[derive(Actor)]
    struct Idle;

    #[handlers]
    impl Idle {}

    #[tokio::test]
    async fn thread_that_cannot_be_started_is_an_error() {
        // More than any address space has.
        let builder = Builder::new().stack_size(1 << 62);
        let error = ActorThread::start_by(builder).err().expect("no thread");
        assert_eq!(error.to_string(), "its thread could not be started");
        let source = error.source().expect("the error of the system");
        assert!(source.is::<io::Error>());
    }

    #[tokio::test]
    async fn wake_is_kept_when_the_task_uses_up_the_token_of_its_thread() {
        let thread = ActorThread::start("sleeper").expect("a thread");
        let (done, is_done) = tokio::sync::oneshot::channel();
        let mut polls = 0;
        let mut done = Some(done);
        let task = poll_fn(move |cx| {
            polls += 1;
            if polls == 1 {
                cx.waker().wake_by_ref();
                thread::park(); // as a blocking call does
                return Poll::Pending;
            }
            let _ = done.take().expect("polled twice").send(polls);
            Poll::Ready(())
        });
        thread.run(task, Context::<Idle>::test().cell().clone());
        assert_eq!(is_done.await, Ok(2));
    }
}
