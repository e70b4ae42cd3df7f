//! The life of an actor process: its turn, its actors, its signals, and its end.
//!
//! [`run`] is the whole of it, for a `main` that ends with it. Programs with a life of their own use the
//! pieces below it: [`acquire_lease`], [`Lease::serve`](crate::bus::Lease::serve),
//! [`Proxy::stopped`](crate::Proxy::stopped), [`ActorSystem::failed`], [`shutdown_signal`] and
//! [`ActorSystem::shutdown`].

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::bus::{Config, ConfigError, ConnectError, Proxy, ProxyEnd, acquire_lease};
use crate::core::Service as _;
use crate::error::Failure;
use crate::error::panics::catch_future;
use crate::system::ActorSystem;

pub use end::{EndCause, RunEnd};
pub use signal::shutdown_signal;

use signal::Signals;

mod end;
mod signal;

/// The time for the orderly shutdown of a service: less than the 30 s that Kubernetes gives a pod, and
/// the 90 s that systemd gives a unit.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(25);

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
/// 2. It calls `start` with a new [`ActorSystem`]. State that is loaded now is current, since no other
///    process serves from now on; [`ActorSystem::token`] is its fencing token.
/// 3. It serves: other processes can ask the actors. Until then they hear
///    [`NoResponder`](crate::AskError::NoResponder).
/// 4. It ends with the first of these: `SIGTERM` or `SIGINT`; an
///    [essential](crate::system::Spawn::essential) actor has ended, or one has failed that
///    [escalates](crate::system::Spawn::escalate); the lease is lost for good; the system was shut
///    down; `start` has failed.
/// 5. It shuts the system down: accepted requests are answered, actors stop after their queued messages,
///    within [25 s](Service::shutdown_timeout). A signal that comes after another one ends the wait.
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
/// # Cancel safety
///
/// Dropped, it releases the lease and stops the actors, without waiting for their end.
pub async fn run<F, Fut>(config: impl IntoConfig, start: F) -> RunEnd
where
    F: FnMut(ActorSystem) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    Service::new(config).run(start).await
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

    /// Sets the time for the orderly shutdown: 25 s by default. Actors that have not stopped by then
    /// are killed.
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
        let config = match self.config {
            Ok(config) => config,
            Err(error) => return RunEnd::before_start(EndCause::Config(error)),
        };
        let mut signals = Signals::listen();
        loop {
            let system = ActorSystem::new();
            let mut serving = Serving::default();
            let mut cause = tokio::select! {
                biased;
                () = signals.next() => EndCause::Stopped,
                failure = system.failed() => EndCause::ActorEnded(failure),
                cause = take_turn(&system, &config, &mut start, &mut serving) => cause,
            };
            match &cause {
                EndCause::Stopped => info!(node = %config.node, "the service stops"),
                cause => error!(node = %config.node, %cause, "the service stops"),
            }
            let shutdown = system.shutdown().timeout(self.shutdown_timeout);
            let mut ending = pin!(async {
                let report = shutdown.await;
                // The program may have shut the system down itself, and this one ended at once.
                drop(timeout(self.shutdown_timeout, serving.ended()).await);
                report
            });
            let mut was_asked = matches!(cause, EndCause::Stopped);
            let report = loop {
                tokio::select! {
                    report = &mut ending => break report,
                    () = signals.next() => {
                        if was_asked {
                            warn!(node = %config.node, "another signal: the service ends without waiting for its actors");
                            return RunEnd::interrupted(cause);
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
            return RunEnd::new(cause, report);
        }
    }
}

/// The proxy of a turn: shut down if the service is dropped, whatever still refers to the system.
#[derive(Default)]
struct Serving(Option<Proxy>);

impl Serving {
    /// Waits until the replies of the actors are published.
    async fn ended(&mut self) {
        if let Some(proxy) = self.0.take() {
            proxy.shutdown().await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(proxy) = self.0.take() {
            proxy.abort();
        }
    }
}

/// Waits for the turn of a system, makes its actors, and serves; returns the reason of the end.
async fn take_turn<F, Fut>(
    system: &ActorSystem,
    config: &Config,
    start: &mut F,
    serving: &mut Serving,
) -> EndCause
where
    F: FnMut(ActorSystem) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let lease = match acquire_lease(system, config).await {
        Ok(lease) => lease,
        Err(error) => return error.into(),
    };
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
    }
    match lease.serve().await {
        Ok(proxy) => {
            info!(node = %config.node, epoch = proxy.epoch(), "the service serves");
            serving.0 = Some(proxy.clone());
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

/// The configuration of a service, or the error of reading it: [`run`] takes both, so that a `main` can
/// write `run(Config::from_env(), …)`.
pub trait IntoConfig {
    /// Converts the value into a `Result`.
    ///
    /// # Errors
    ///
    /// The error of a configuration that could not be read.
    fn into_config(self) -> Result<Config, ConfigError>;
}

impl IntoConfig for Config {
    fn into_config(self) -> Result<Config, ConfigError> {
        Ok(self)
    }
}

impl IntoConfig for &Config {
    fn into_config(self) -> Result<Config, ConfigError> {
        Ok(self.clone())
    }
}

impl IntoConfig for Result<Config, ConfigError> {
    fn into_config(self) -> Result<Config, ConfigError> {
        self
    }
}
