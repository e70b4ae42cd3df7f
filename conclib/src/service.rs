//! The life of an actor process: its turn, its actors, its signals, and its end.
//!
//! [`run`] is the whole of it, for a `main` that ends with it. Programs with a life of their own use the
//! pieces below it: [`acquire_lease`], [`Lease::serve`](crate::bus::Lease::serve),
//! [`Proxy::stopped`](crate::Proxy::stopped), [`ActorSystem::failed`], [`shutdown_signal`] and
//! [`ActorSystem::shutdown`].

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{error, info, warn};

use crate::bus::transport::Epoch;
use crate::bus::{Config, ConfigError, ConnectError, Lease, ProxyEnd, acquire_lease};
use crate::core::SystemCore;
use crate::error::Failure;
use crate::error::panics::catch_future;
use crate::system::{ActorFailure, ActorSystem, ShutdownReport};

pub use end::{EndCause, RunEnd};
pub use into_config::IntoConfig;
pub use signal::shutdown_signal;

use leftovers::Leftovers;
use signal::Signals;

mod end;
mod into_config;
mod leftovers;
mod signal;

/// The time for the orderly shutdown of a service: less than the 30 s that Kubernetes gives a pod, and
/// the 90 s that systemd gives a unit.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(25);

/// The time that `start` has to return the error of an actor that could not start, after the actor has
/// reported its end.
const START_GRACE: Duration = Duration::from_millis(100);

/// The time for the release of the lease after a second signal: without one, the next process waits until
/// it expires.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs an actor process: waits for its turn, makes its actors by `start`, lets other processes ask
/// them, and ends in good order. A `main` returns its outcome.
///
/// ```no_run
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(response = u32)]
/// struct Double { n: u32 }
///
/// #[derive(Actor)]
/// #[actor(urn = "doubler")]
/// struct Doubler;
///
/// #[handlers]
/// impl Doubler {
///     #[handler]
///     async fn double(&mut self, message: Double) -> u32 { message.n * 2 }
/// }
///
/// #[tokio::main]
/// async fn main() -> RunEnd {
///     run(Config::from_env(), async |system| {
///         system.spawn(Doubler).essential().await?;
///         Ok(())
///     })
///     .await
/// }
/// ```
///
/// In this order:
///
/// 1. It takes the [lease](acquire_lease) of its node: for as long as that takes, through outages of
///    Redis. A second process stands by here until the first one has ended.
/// 2. It calls `start` with a new [`ActorSystem`], which `start` owns (`async |system|`): a handle, cheap to
///    clone. It is called once, and may move what it has captured (`async move |system|`). State that is loaded now is current (not in a [fleet](Config::fleet)): a process
///    before it that ended in good order has released the lease after its actors had saved theirs, and no
///    other one serves from now on.
///    [`ActorSystem::token`] is its fencing token.
/// 3. It serves: other processes can ask the actors. Until then they hear
///    [`NoResponder`](crate::AskError::NoResponder).
/// 4. It ends with the first of these: `SIGTERM` or `SIGINT`; an
///    [essential](crate::system::Spawn::essential) actor has ended, or one has failed that
///    [escalates](crate::system::Spawn::escalate); the lease is lost for good; the system was shut
///    down; `start` has failed.
/// 5. It shuts the system down: accepted requests are answered, actors stop after their queued messages,
///    within [25 s](Service::shutdown_timeout). At the latest 2 s after that it returns, whatever still
///    runs: see [`ActorSystem::shutdown`]. A signal that comes after another one ends the wait.
///
/// In a [fleet](crate::Config::fleet), a process with a [`Config::instance`] of its own, or with none, stands by for
/// no other one in step 1. In step 5 its member drains first: clients are told to choose others, and requests that
/// still come are answered until the lease is closed. Other members serve meanwhile: the state that `start` loads may be
/// out of date when the member lists a name, and [`ActorSystem::token`] orders the processes of one node only.
///
/// | end | exit code |
/// |---|---|
/// | a signal, or a shutdown by the program; all actors have stopped by themselves | 0 |
/// | an actor had to be killed, an actor has ended, or `start` has failed | 1 |
/// | the lease was lost: start this process again | 75 |
/// | a younger process of the same [`Config::instance`] has taken its place: do not start it again | 76 |
/// | a setting is wrong | 78 |
///
/// (75 and 78 are `EX_TEMPFAIL` and `EX_CONFIG` of `sysexits.h`. A systemd unit writes
/// `Restart=on-failure` and `RestartPreventExitStatus=76 78`. [`Service`] has the settings.)
///
/// # Work that blocks
///
/// A closure of [`spawn_blocking`](crate::Context::spawn_blocking) cannot be interrupted, nor can a handler
/// that blocks its thread, and a tokio runtime that is dropped waits for both without a limit. So when the
/// service has ended and its runtime is dropped, as at the end of a `main` with `#[tokio::main]`, such work
/// has one second more. Then the process ends without it ([`std::process::exit`]), with the exit code of
/// the table, and after the text of the end on the standard error. An error in the log has said before how
/// many closures run, and of which actors. Code of `main` between the two, which may flush logs, has the
/// time that it takes; so has a program that keeps the runtime and goes on.
///
/// # Cancel safety
///
/// Dropped, it releases the lease and stops the actors, without waiting for their end. This does not depend
/// on clones of the system.
pub async fn run<F, Fut>(config: impl IntoConfig, start: F) -> RunEnd
where
    F: FnOnce(ActorSystem) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let mut start = Some(start);
    let only_turn = |system| {
        let start = start.take();
        async move {
            match start {
                Some(start) => start(system).await,
                None => unreachable!("the service does not stand by again"),
            }
        }
    };
    Service::new(config).run(only_turn).await
}

/// An actor process with settings of its own; [`run`] is one without.
///
/// ```no_run
/// use conclib::prelude::*;
/// use conclib::service::Service;
/// use std::time::Duration;
///
/// # #[derive(Actor)]
/// # #[actor(urn = "ledger")]
/// # struct Ledger;
/// # impl Ledger { async fn load() -> Result<Self, Failure> { Ok(Self) } }
/// # #[handlers]
/// # impl Ledger {}
/// #[tokio::main]
/// async fn main() -> RunEnd {
///     Service::new(Config::from_env())
///         .shutdown_timeout(Duration::from_secs(8))
///         .stand_by_again()
///         .run(async |system| {
///             system.supervise(Ledger::load).essential().await?;
///             Ok(())
///         })
///         .await
/// }
/// ```
#[must_use = "a service runs when `run` is awaited"]
#[derive(Debug)]
pub struct Service {
    config: Result<Config, ConfigError>,
    shutdown_timeout: Duration,
    after_loss: AfterLoss,
}

/// The consequence of a lease that is lost for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterLoss {
    End,
    StandBy,
}

impl Service {
    /// A service with these settings, or with the error of reading them, as [`Config::from_env`]
    /// returns it.
    pub fn new(config: impl IntoConfig) -> Self {
        Self {
            config: config.into_config(),
            shutdown_timeout: SHUTDOWN_TIMEOUT,
            after_loss: AfterLoss::End,
        }
    }

    /// Sets the time for the orderly shutdown: 25 s by default. It is one bound for all of it, and at the
    /// latest 2 s later the service has ended; then blocking work has another second (see [`run`]). The
    /// manager of the processes should wait for longer than all three: Kubernetes waits for 30 s.
    ///
    /// An actor that overruns it is killed, and those that have had no turn by then have a second for
    /// their ends: see [`ActorSystem::shutdown`].
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// When the lease is lost for good, stops the actors and waits for the next turn, instead of ending:
    /// then `start` is called again, with another system. (A process that a younger one of its
    /// [instance](Config::instance) has replaced ends all the same.)
    pub fn stand_by_again(mut self) -> Self {
        self.after_loss = AfterLoss::StandBy;
        self
    }

    /// Runs the service: see [`run`]. `start` is called once for each turn.
    pub async fn run<F, Fut>(self, mut start: F) -> RunEnd
    where
        F: FnMut(ActorSystem) -> Fut,
        Fut: Future<Output = Result<(), Failure>>,
    {
        let mut config = match self.config {
            Ok(config) => config.as_member(),
            Err(error) => return RunEnd::before_start(EndCause::Config(error)),
        };
        let mut signals = Signals::listen();
        let mut leftovers = Leftovers::default();
        loop {
            let system = ActorSystem::new();
            let _stops = StopsOnDrop(system.core().clone());
            leftovers.add(system.core().blocking_work());
            let mut serving = Serving::default();
            let mut reason = "a shutdown by the program";
            let mut cause = tokio::select! {
                biased;
                signal = signals.next() => {
                    reason = signal;
                    EndCause::Stopped
                }
                cause = take_turn(&system, &mut config, &mut start, &mut serving) => cause,
            };
            match &cause {
                EndCause::Stopped => info!(node = %config.node, %reason, "the service stops"),
                cause => error!(node = %config.node, %cause, "the service stops"),
            }
            let release = serving.0.as_ref().map(Lease::releaser);
            let mut was_asked = matches!(cause, EndCause::Stopped);
            let mut ending = pin!(shut_down(&system, self.shutdown_timeout, &mut serving));
            let report = loop {
                tokio::select! {
                    report = &mut ending => break report,
                    _ = signals.next() => {
                        if was_asked {
                            warn!(node = %config.node, "another signal: the service ends without waiting for its actors");
                            if let Some(release) = release {
                                drop(timeout(RELEASE_TIMEOUT, release).await);
                            }
                            let end = RunEnd::interrupted(cause).logged(&config.node);
                            return leftovers.end_process_after(end);
                        }
                        was_asked = true;
                    }
                }
            };
            let may_stand_by = self.after_loss == AfterLoss::StandBy && report.stuck.is_empty();
            if matches!(cause, EndCause::LeaseLost) {
                if was_asked {
                    cause = EndCause::Stopped;
                } else if may_stand_by {
                    continue;
                }
            }
            return leftovers.end_process_after(RunEnd::new(cause, report).logged(&config.node));
        }
    }
}

/// Shuts a system down, and waits until the replies of its actors are published.
async fn shut_down(
    system: &ActorSystem,
    timeout: Duration,
    serving: &mut Serving,
) -> ShutdownReport {
    let deadline = Instant::now().checked_add(timeout);
    let report = system.shutdown().timeout(timeout).await;
    // If the program has shut the system down itself, the proxy may still publish. What is left of the
    // one timeout is for that.
    let published = serving.ended();
    match deadline {
        Some(deadline) => drop(timeout_at(deadline, published).await),
        None => published.await,
    }
    report
}

/// Stops a system on drop, whatever still refers to it. No effect on one that is shut down.
struct StopsOnDrop(Arc<SystemCore>);

impl Drop for StopsOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The lease of a turn, from before the actors are made until they have stopped: released if the service
/// is dropped, whatever still refers to the system.
#[derive(Default)]
struct Serving(Option<Lease>);

impl Serving {
    /// Waits until the replies of the actors are published, and the lease is released.
    async fn ended(&mut self) {
        if let Some(lease) = self.0.take() {
            lease.release().await;
        }
    }
}

/// Waits for the turn of a system, makes its actors, and serves; returns the reason of the end.
async fn take_turn<F, Fut>(
    system: &ActorSystem,
    config: &mut Config,
    start: &mut F,
    serving: &mut Serving,
) -> EndCause
where
    F: FnMut(ActorSystem) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let lease = match acquire_lease(system, config).await {
        Ok(lease) => &*serving.0.insert(lease),
        Err(error) => return error.into(),
    };
    // Processes of its instance that start from now on are younger, also in a later turn of this one.
    config.age.get_or_insert(Epoch(lease.token() + 1));
    info!(node = %config.node, epoch = lease.token(), "this process' turn: making the actors");
    // Called within the async block, since it may panic before it returns its future.
    let starting = catch_future(async { start(system.clone()).await });
    tokio::select! {
        biased;
        started = starting => {
            if let Err(failure) | Ok(Err(failure)) = started {
                return EndCause::StartFailed(failure);
            }
        }
        end = lease.lost() => return end.into(),
        failure = failed_while_starting(system) => return EndCause::ActorEnded(failure),
    }
    tokio::select! {
        biased;
        failure = system.failed() => EndCause::ActorEnded(failure),
        cause = serve(lease, config) => cause,
    }
}

/// Waits for an actor that ends while others are made. If its start has failed, `start` has the moment to
/// return that error, which says more; so the failure is taken only after it.
async fn failed_while_starting(system: &ActorSystem) -> ActorFailure {
    system.core().escalations.wait().await;
    sleep(START_GRACE).await;
    system.failed().await
}

/// Serves until the lease is given back or lost.
async fn serve(lease: &Lease, config: &Config) -> EndCause {
    match lease.open().await {
        Ok(proxy) => {
            info!(node = %config.node, epoch = proxy.epoch(), "the service serves");
            proxy.stopped().await.into()
        }
        Err(error) => error.into(),
    }
}

impl From<ProxyEnd> for EndCause {
    fn from(end: ProxyEnd) -> Self {
        match end {
            ProxyEnd::Stopped => Self::Stopped,
            ProxyEnd::LeaseLost => Self::LeaseLost,
            ProxyEnd::Replaced => Self::Replaced,
        }
    }
}

impl From<ConnectError> for EndCause {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Config(error) => Self::Config(error),
            ConnectError::SystemClosed => Self::Stopped,
            ConnectError::Replaced => Self::Replaced,
            ConnectError::LeaseLost => Self::LeaseLost,
            error => Self::StartFailed(error.into()),
        }
    }
}
