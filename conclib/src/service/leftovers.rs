//! Work that cannot be interrupted, and would keep a process whose service has ended: a runtime that is
//! dropped waits for it without a limit.

use std::future::pending;
use std::io::Write;
use std::process::exit;
use std::thread;
use std::time::Duration;

use tracing::{error, warn};

use crate::core::{BlockingWork, spawn_task};
use crate::service::RunEnd;

/// The time that the work has from the moment at which the runtime is dropped.
const EXIT_DELAY: Duration = Duration::from_secs(1);

/// The blocking work of a service, of each turn: as long as there is some, the process does not end by
/// itself.
#[derive(Default)]
pub(super) struct Leftovers(Vec<BlockingWork>);

impl Leftovers {
    /// Adds the work of a turn's actors. That of earlier turns is removed once it is over.
    pub(super) fn add(&mut self, work: BlockingWork) {
        self.0.retain(|work| !work.is_over());
        self.0.push(work);
    }

    fn are_over(&self) -> bool {
        self.0.iter().all(BlockingWork::is_over)
    }

    /// Has the process end although the work is not over, with the exit code of the service, a second after
    /// its runtime is dropped. Work that ends in time changes nothing, nor does a runtime that continues.
    pub(super) fn end_process_after(self, end: RunEnd) -> RunEnd {
        self.log();
        let code = end.exit_code();
        let watch = ExitWatch {
            leftovers: self,
            text: (code != 0).then(|| end.to_string()),
            code: code.into(),
        };
        spawn_task(async move {
            let _watch = watch;
            pending::<()>().await;
        });
        end
    }

    fn log(&self) {
        let counts = self.0.iter().flat_map(BlockingWork::closures);
        let counts: Vec<_> = counts.collect();
        let closures: usize = counts.iter().map(|(_, count)| count).sum();
        if closures > 0 {
            let actors: Vec<_> = counts.iter().map(|(urn, _)| urn.as_str()).collect();
            error!(
                closures,
                ?actors,
                "closures of `spawn_blocking` still run; the process ends a second after its runtime, \
                 without waiting for them"
            );
        }
    }
}

/// Belongs to a task that never ends by itself: it is dropped with its runtime.
struct ExitWatch {
    leftovers: Leftovers,
    /// The text of the end, which `main` cannot write then; `None` for a clean one.
    text: Option<String>,
    code: i32,
}

impl Drop for ExitWatch {
    fn drop(&mut self) {
        if self.leftovers.are_over() {
            return;
        }
        let leftovers = std::mem::take(&mut self.leftovers);
        let (text, code) = (self.text.take(), self.code);
        let wait = move || {
            thread::sleep(EXIT_DELAY);
            if !leftovers.are_over() {
                end_process(text.as_deref(), code);
            }
        };
        // Detached: if the process ends by itself, the thread ends with it.
        let thread = thread::Builder::new().name("conclib-exit".to_owned());
        if let Err(error) = thread.spawn(wait) {
            warn!(%error, "the process ends only with its blocking work: there is no thread to end it");
        }
    }
}

/// Ends the process, as a `main` that returns the end of the service does.
fn end_process(text: Option<&str>, code: i32) {
    error!("the process ends without waiting for its blocking work");
    if let Some(text) = text {
        drop(writeln!(std::io::stderr(), "{text}")); // it may be closed
    }
    exit(code);
}
