//! A web server for as long as this program runs.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::process::ExitStatus;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::daemon::output::LastLines;
use crate::daemon::process::{Launch, Process, StopDaemonError};
use health::HealthUrl;

mod health;

/// Time from the start of a server until it must be healthy, unless the caller gives more.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Pause between two health checks.
const POLL: Duration = Duration::from_millis(20);

/// Timeout of one health check.
const CHECK_BOUND: Duration = Duration::from_secs(5);

/// Starts a web server, and returns when its health check answers 200.
///
/// The health check is a plain `GET` of an `http://` URL. Lines that the server writes, to either
/// output, go to [`tracing`] under the target `conclib::api`; its standard input is empty. The
/// command must stay in the foreground: when its own process ends, the children it leaves behind
/// are killed.
///
/// The server, with all processes that it starts, ends with [`ApiDaemon::shutdown`], when the
/// [`ApiDaemon`] is dropped, and when this program ends, in whatever way. They form a process group
/// of their own; a process that leaves it on purpose (`setsid`) is left alone.
///
/// ```no_run
/// use conclib::daemon::start_api;
/// use std::time::Duration;
/// use tokio::process::Command;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut command = Command::new("uvicorn");
/// command.args(["--workers", "8", "shop.api:app"]);
/// let api = start_api(command, "http://localhost:8000/health")
///     .timeout(Duration::from_secs(60))
///     .await?;
/// tokio::signal::ctrl_c().await?;
/// api.shutdown().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`StartApiError`]; nothing is left behind then.
///
/// # Panics
///
/// If awaited outside a tokio runtime with I/O and time enabled.
///
/// # Cancel safety
///
/// Dropping the future ends what has been started.
pub fn start_api(command: impl Into<Command>, healthcheck_url: &str) -> StartApi {
    let command = command.into();
    let plan = Plan {
        command,
        url: healthcheck_url.to_owned(),
        timeout: TIMEOUT,
    };
    StartApi {
        plan: Some(plan),
        run: None,
    }
}

/// A server that is about to start: await it. See [`start_api`].
#[must_use = "nothing is started until it is awaited"]
pub struct StartApi {
    /// The plan of the start, until the first poll takes it.
    plan: Option<Plan>,
    /// The start under way, from the first poll on.
    run: Option<Run>,
}

type Run = Pin<Box<dyn Future<Output = Result<ApiDaemon, StartApiError>> + Send>>;

#[derive(Debug)]
struct Plan {
    command: Command,
    /// The health check, as it was given.
    url: String,
    /// Time until it must be healthy.
    timeout: Duration,
}

impl StartApi {
    /// Sets the time until the server must be healthy: 30 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        if let Some(plan) = &mut self.plan {
            plan.timeout = timeout;
        }
        self
    }
}

impl Future for StartApi {
    type Output = Result<ApiDaemon, StartApiError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let run = match this.plan.take() {
            Some(plan) => this.run.insert(Box::pin(start(plan))),
            None => this
                .run
                .as_mut()
                .expect("the first poll makes a start of the plan"),
        };
        run.as_mut().poll(cx)
    }
}

impl fmt::Debug for StartApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartApi")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

/// A running web server: see [`start_api`].
///
/// Dropping it kills its whole process group and waits a few milliseconds until the server is
/// gone; [`shutdown`](Self::shutdown) gives it time to end in order.
#[derive(Debug)]
#[must_use = "dropping it ends the server"]
pub struct ApiDaemon {
    process: Process,
}

impl ApiDaemon {
    /// Ends the whole process group: `SIGTERM`, up to 5 s of time for the server, `SIGKILL` for the
    /// processes that are left. The group is gone when this returns.
    ///
    /// # Errors
    ///
    /// [`StopDaemonError`] if the server had ended by itself before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the group at once.
    pub async fn shutdown(self) -> Result<(), StopDaemonError> {
        self.process.stop().await
    }
}

async fn start(plan: Plan) -> Result<ApiDaemon, StartApiError> {
    let url = HealthUrl::parse(&plan.url).map_err(|problem| StartApiError::InvalidUrl {
        url: plan.url,
        problem,
    })?;
    // Otherwise another server at that URL would pass for the new one.
    if let Ok(Ok(status)) = timeout(CHECK_BOUND, url.status()).await
        && status.code == health::OK
    {
        return Err(StartApiError::AlreadyHealthy {
            url: url.to_string(),
        });
    }
    let command = plan.command.into_std();
    let program = command.get_program().to_string_lossy().into_owned();
    let launch = Launch {
        command,
        input: Vec::new(),
        directory: None,
        log: line,
        ended,
    };
    let mut process = Process::start(launch)
        .await
        .map_err(|source| StartApiError::Spawn {
            program: program.clone(),
            source,
        })?;

    let mut last = "it was not asked yet".to_owned();
    tokio::select! {
        biased;
        status = process.exited() => {
            let last_lines = process.last_lines().await;
            Err(StartApiError::Exited { program, status, last_lines })
        }
        healthy = timeout(plan.timeout, until_healthy(&url, &mut last)) => {
            if healthy.is_ok() {
                process.ready();
                return Ok(ApiDaemon { process });
            }
            let last_lines = process.last_lines().await;
            let (url, after) = (url.to_string(), plan.timeout);
            Err(StartApiError::Unhealthy { url, after, last, last_lines })
        }
    }
}

/// Repeats the health check until the answer is 200; `last` says how the last one ended.
async fn until_healthy(url: &HealthUrl, last: &mut String) {
    loop {
        *last = match timeout(CHECK_BOUND, url.status()).await {
            Ok(Ok(status)) if status.code == health::OK => return,
            Ok(Ok(status)) => format!("it answered `{}`", status.line),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it did not answer within {CHECK_BOUND:?}"),
        };
        sleep(POLL).await;
    }
}

fn line(line: &str) {
    tracing::info!(target: "conclib::api", "{line}");
}

fn ended(status: ExitStatus) {
    tracing::error!(target: "conclib::api", "the web server ended by itself ({status})");
}

/// Error of [`start_api`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartApiError {
    /// The URL of the health check cannot be used; nothing was started.
    #[error("`{url}` cannot be a health check: {problem}")]
    #[non_exhaustive]
    InvalidUrl {
        /// As it was given.
        url: String,
        /// The problem with it.
        problem: String,
    },
    /// The health check answers 200 although the server does not run; nothing was started.
    #[error(
        "{url} answers 200 before the server was started: end the server that is there already, \
         or use another port"
    )]
    #[non_exhaustive]
    AlreadyHealthy {
        /// The health check.
        url: String,
    },
    /// The operating system does not start the program.
    #[error("cannot start `{program}`: check that it is installed, on the PATH and executable")]
    #[non_exhaustive]
    Spawn {
        /// Its name.
        program: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The process ended before it was healthy.
    #[error(
        "`{program}` ended before it was healthy ({status}): see what it says, and make sure that \
         it stays in the foreground; {last_lines}"
    )]
    #[non_exhaustive]
    Exited {
        /// Its name.
        program: String,
        /// Its exit status.
        status: ExitStatus,
        /// The last lines of its output.
        last_lines: LastLines,
    },
    /// The process runs, but its health check never answered 200.
    #[error(
        "the server runs, but {url} did not answer 200 within {after:?} ({last}): check the URL \
         and the port, or give it more time with `.timeout(…)`; {last_lines}"
    )]
    #[non_exhaustive]
    Unhealthy {
        /// The health check.
        url: String,
        /// The time that it had.
        after: Duration,
        /// The last answer, or the error of the last health check.
        last: String,
        /// The last lines of its output.
        last_lines: LastLines,
    },
}
