//! A process that never outlives this program.
//!
//! Two processes are started. The *guard* is a one-line `/bin/sh` that leads a new process group
//! and reads from a pipe which only this program holds open; the daemon joins that group. When this
//! program ends, in whatever way, the pipe closes and the guard kills its group.
//!
//! - No process escapes between fork and exec: until it has joined the group it holds the pipe open
//!   (which closes on exec), so the guard cannot fire before.
//! - No other process is killed: the system does not reuse the number of a process group before its
//!   leader has been reaped, and the guard is reaped last.
//! - The exit status is the daemon's own, since it is a child of this program.
//!
//! A thread starts both, waits for the daemon, kills the rest of the group, and reaps. So nothing
//! depends on a runtime that may already be gone when the daemon is dropped.
//!
//! A process that leaves its group on purpose (`setsid`) is out of reach.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::daemon::output::{LastLines, Tail, forward};
use crate::daemon::temp_dir::TempDir;

/// Script of the guard. `$1` is a directory to remove, or empty.
const GUARD: &str = r#"trap '' HUP INT QUIT TERM
while read -r _; do :; done
[ -z "$1" ] || rm -rf -- "$1"
kill -s KILL 0"#;

/// Time for a process to end after `SIGTERM`.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// Time for a process to end after `SIGKILL`: only one that hangs in the kernel takes more.
const KILL_BOUND: Duration = Duration::from_secs(1);

/// Wait for the last lines of a process that has ended: a process that left the group may keep
/// the output open for ever.
const DRAIN_BOUND: Duration = Duration::from_millis(500);

/// A process to start, with the receiver of its output.
pub(super) struct Launch {
    pub(super) command: Command,
    /// Written to its standard input, which is then closed.
    pub(super) input: Vec<u8>,
    /// Made before it starts, and removed when it is gone.
    pub(super) directory: Option<TempDir>,
    /// Takes each line it writes.
    pub(super) log: fn(&str),
    /// Called if it ends by itself after [`Process::ready`].
    pub(super) ended: fn(ExitStatus),
}

/// A running process with its whole group. Dropped, it is killed and reaped.
#[derive(Debug)]
pub(super) struct Process {
    /// Kills the group when dropped.
    group: KillOnDrop,
    /// Its own status, once the whole group is gone.
    status: watch::Receiver<Option<ExitStatus>>,
    /// The last lines of its output.
    tail: Tail,
    /// Ends when all its output has been read.
    forward: JoinHandle<()>,
}

impl Process {
    /// Starts it. Dropping the future kills the started processes.
    pub(super) async fn start(launch: Launch) -> io::Result<Self> {
        let (log, ended) = (launch.log, launch.ended);
        let group = Arc::new(ProcessGroup::default());
        let (set_status, status) = watch::channel(None);
        let (report, started) = oneshot::channel();
        thread::Builder::new()
            .name("conclib-daemon".to_owned())
            .spawn({
                let group = group.clone();
                move || manage(launch, &group, report, &set_status)
            })?;
        // From here on the thread manages the group, and dropping this ends it.
        let group = KillOnDrop(group);

        let (stdout, stderr) = started.await.map_err(io::Error::other)??;
        let stdout = stdout.map(process::ChildStdout::from_std).transpose()?;
        let stderr = stderr.map(process::ChildStderr::from_std).transpose()?;
        let tail = Tail::default();
        let forward = tokio::spawn({
            let (tail, group, status) = (tail.clone(), group.0.clone(), status.clone());
            async move {
                tokio::join!(
                    forward(stdout, log, tail.clone()),
                    forward(stderr, log, tail)
                );
                let status = exited(status).await;
                if group.lock().ready {
                    ended(status);
                }
            }
        });
        Ok(Self {
            group,
            status,
            tail,
            forward,
        })
    }

    /// From now on, an end by itself is logged.
    pub(super) fn ready(&self) {
        self.group.0.lock().ready = true;
    }

    /// Waits until it has ended by itself or by [`stop`](Self::stop). Cancel safe.
    pub(super) async fn exited(&self) -> ExitStatus {
        exited(self.status.clone()).await
    }

    /// The last lines of its output; complete if it has ended.
    pub(super) async fn last_lines(&mut self) -> LastLines {
        if self.status.borrow().is_some() {
            self.drain().await;
        }
        self.tail.snapshot()
    }

    /// Sends SIGTERM to the group, waits up to [`GRACE`], then sends SIGKILL.
    pub(super) async fn stop(mut self) -> Result<(), StopDaemonError> {
        let earlier = *self.status.borrow();
        if let Some(status) = earlier {
            let last_lines = self.last_lines().await;
            return Err(StopDaemonError::EndedEarlier { status, last_lines });
        }
        self.group.0.signal(Signal::TERM);
        if timeout(GRACE, self.exited()).await.is_err() {
            tracing::warn!("a process did not end within {GRACE:?} after SIGTERM and is killed");
            self.group.0.signal(Signal::KILL);
            if timeout(KILL_BOUND, self.exited()).await.is_err() {
                return Err(StopDaemonError::Stuck);
            }
        }
        self.drain().await;
        Ok(())
    }

    async fn drain(&mut self) {
        if !self.forward.is_finished() {
            // A panic in a log subscriber and an output that stays open are both harmless here.
            let _ = timeout(DRAIN_BOUND, &mut self.forward).await;
        }
    }
}

/// A thread always sends a status before it drops its sender, unless nothing was started.
async fn exited(mut status: watch::Receiver<Option<ExitStatus>>) -> ExitStatus {
    let status = status.wait_for(Option::is_some).await.map(|status| *status);
    status.ok().flatten().unwrap_or_default()
}

/// Error of a shutdown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopDaemonError {
    /// The process had ended before.
    #[error("the process had already ended by itself ({status}); {last_lines}")]
    #[non_exhaustive]
    EndedEarlier {
        /// Its exit status.
        status: ExitStatus,
        /// The last lines of its output.
        last_lines: LastLines,
    },
    /// The process did not end when killed: it hangs in the operating system, and ends when the
    /// system call does.
    #[error("the process was killed but hangs in the operating system; look for it with `ps`")]
    Stuck,
}

/// The outputs of a process that has been started.
type Outputs = (Option<ChildStdout>, Option<ChildStderr>);

/// Manages a process from its start until the last process of its group is gone.
fn manage(
    mut launch: Launch,
    group: &ProcessGroup,
    report: oneshot::Sender<io::Result<Outputs>>,
    set_status: &watch::Sender<Option<ExitStatus>>,
) {
    let mut status = None;
    match spawn(&mut launch) {
        Err(error) => drop(report.send(Err(error))),
        Ok((guard, mut child)) => {
            group.run(&guard);
            // If the start was dropped, the group is killed and `wait` is short.
            drop(report.send(Ok((child.stdout.take(), child.stderr.take()))));
            if let Some(mut stdin) = child.stdin.take() {
                // A process that ended before it read this explains itself by status and output.
                drop(stdin.write_all(&launch.input));
            }
            // The only error: the program has told the system to reap all children by itself, and
            // the status is lost.
            status = Some(child.wait().unwrap_or_default());
            group.reap(guard);
        }
    }
    drop(launch.directory);
    if status.is_some() {
        set_status.send_replace(status);
    }
    group.end();
}

/// Starts the guard, and then the process in its group.
fn spawn(launch: &mut Launch) -> io::Result<(Child, Child)> {
    let directory = launch.directory.as_ref().map(TempDir::path);
    let mut guard = Command::new("/bin/sh")
        .args(["-c", GUARD, "conclib-guard"])
        .arg(directory.map(Path::as_os_str).unwrap_or_default())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| io::Error::other(format!("/bin/sh: {error}")))?;
    match spawn_guarded(launch, &guard) {
        Ok(child) => Ok((guard, child)),
        Err(error) => {
            // The guard has nothing to guard; a failure means that it is gone already.
            let _ = guard.kill().and_then(|()| guard.wait());
            Err(error)
        }
    }
}

/// Starts the program in the group of its guard.
fn spawn_guarded(launch: &mut Launch, guard: &Child) -> io::Result<Child> {
    if let Some(directory) = &launch.directory {
        let explain = |error| io::Error::other(format!("{}: {error}", directory.path().display()));
        directory.create().map_err(explain)?;
    }
    let piped = !launch.input.is_empty();
    launch
        .command
        .process_group(Pid::from_child(guard).as_raw_nonzero().get())
        .stdin(if piped { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// The process group, for the holders that may end it.
#[derive(Debug, Default)]
struct ProcessGroup {
    state: Mutex<ProcessState>,
    /// Notified when `state.over` becomes true.
    over: Condvar,
}

#[derive(Debug, Default)]
struct ProcessState {
    /// The guard until it is reaped: until then the number belongs to this group.
    leader: Option<Pid>,
    /// It was reported as ready, and has not been told to end.
    ready: bool,
    /// It was killed before it started.
    killed_early: bool,
    /// All of its processes are gone.
    over: bool,
}

impl ProcessGroup {
    fn lock(&self) -> MutexGuard<'_, ProcessState> {
        self.state.lock()
    }

    /// Records its leader, and kills the group if that was asked for meanwhile.
    fn run(&self, guard: &Child) {
        let mut state = self.lock();
        let leader = Pid::from_child(guard);
        state.leader = Some(leader);
        if state.killed_early {
            kill(leader, Signal::KILL);
        }
    }

    fn signal(&self, signal: Signal) {
        let mut state = self.lock();
        state.ready = false;
        match state.leader {
            Some(leader) => kill(leader, signal),
            None => state.killed_early = true,
        }
    }

    /// Kills the rest of the group, and reaps the guard, under the lock: afterwards the system may give
    /// the number to another group, which must not be signalled.
    fn reap(&self, mut guard: Child) {
        let mut state = self.lock();
        kill(Pid::from_child(&guard), Signal::KILL);
        // It only fails if other code of the program has reaped the guard.
        let _ = guard.wait();
        state.leader = None;
    }

    fn end(&self) {
        self.lock().over = true;
        self.over.notify_all();
    }
}

/// Signals a group. An error means that the group is gone, which is the aim.
fn kill(leader: Pid, signal: Signal) {
    let _ = kill_process_group(leader, signal);
}

/// Kills the group and waits until it has been reaped: a few milliseconds.
#[derive(Debug)]
struct KillOnDrop(Arc<ProcessGroup>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if !self.0.lock().over {
            self.0.signal(Signal::KILL);
        }
        let mut state = self.0.lock();
        self.0
            .over
            .wait_while_for(&mut state, |state| !state.over, KILL_BOUND);
    }
}
