//! The configuration of a bus: address, names, limits.

use std::fmt;
#[cfg(feature = "test-util")]
use std::sync::Arc;
use std::time::Duration;

use crate::bus::keys::Keys;
use crate::bus::transport::{Epoch, LEASE};
use crate::time::backoff::Backoff;

pub use acl::Role;
#[cfg(feature = "test-util")]
pub(crate) use bus::TransportLayer;
pub(crate) use bus::{Bus, LocalBus};
#[cfg(feature = "redis")]
pub(crate) use credentials::Access;
pub(crate) use env::format_duration;
pub use operators::LogControl;
pub(crate) use operators::{OperatorSettings, SharedLogControl};
pub(crate) use url::RedisAddress;
#[cfg(feature = "redis")]
pub(crate) use url::{HostPort, Sentinels, ServerLocation};

mod acl;
mod bus;
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "a bus in memory needs none")
)]
mod credentials;
mod durable;
mod env;
mod fleet;
mod operators;
mod url;

/// The node of a config that names none.
const DEFAULT_NODE: &str = "main";

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The configuration of a bus: its address, namespace, node and limits.
///
/// Cheap to clone. The actor process and its clients use the same config.
///
/// | environment variable | meaning | default |
/// |---|---|---|
/// | `CONCLIB_REDIS_URL` | a URL: see [`Config::new`] | `redis://localhost:6379` |
/// | `CONCLIB_REDIS_USER_FILE` | a file that holds the user's name, instead of the URL | |
/// | `CONCLIB_REDIS_PASSWORD_FILE` | a file that holds the password, instead of the URL | |
/// | `CONCLIB_REDIS_CA` | the certificates to trust (PEM), for `rediss://` | the system's |
/// | `CONCLIB_REDIS_CERT`, `CONCLIB_REDIS_KEY` | the certificate to show and its key (PEM), for `rediss://` | none |
/// | `CONCLIB_NAMESPACE` | prefix of every key and channel | `conclib` |
/// | `CONCLIB_NODE` | the actor system within the namespace | `main` |
/// | `CONCLIB_FLEET` | `1` or `true`: many processes share the names of the namespace: see [`Config::fleet`] | `0` |
/// | `CONCLIB_INSTANCE` | this process among those that may serve the node: see [`Config::instance`] | none |
/// | `CONCLIB_ADMIN` | `1` or `true`: operators may act on this process: see [`Config::allow_admin`] | `0` |
/// | `CONCLIB_TIMEOUT` | deadline of an ask, such as `500ms` or `5s` | `5s` |
///
/// The bus in memory has no variable: see [`Config::memory`].
///
/// ```
/// use conclib::Config;
/// use std::time::Duration;
///
/// let config = Config::new("redis://user:secret@cache.internal:6380/2")?
///     .namespace("billing")
///     .timeout(Duration::from_secs(2));
/// assert!(!format!("{config:?}").contains("secret"));
/// # Ok::<(), conclib::bus::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Config {
    pub(crate) bus: Bus,
    pub(crate) namespace: String,
    pub(crate) node: String,
    /// The node was chosen, and not left at its default.
    has_chosen_node: bool,
    /// The processes of the namespace are a fleet.
    fleet: bool,
    /// The name of this process among those of its node; empty if it has none.
    pub(crate) instance: String,
    /// The age of this process among those of its instance, from its first turn on.
    pub(crate) age: Option<Epoch>,
    /// Time that a lease lasts after its last renewal.
    pub(crate) lease_duration: Duration,
    pub(crate) timeout: Duration,
    pub(crate) max_message_size: usize,
    /// Credentials and certificates in files.
    pub(crate) access: credentials::Access,
    /// Time after its last heartbeat at which a proxy's durable messages are taken over.
    pub(crate) visibility_timeout: Duration,
    /// Time after which a durable message without an actor becomes a dead letter.
    pub(crate) missing_timeout: Duration,
    /// Pauses of a durable message after failed deliveries.
    pub(crate) retry_backoff: Backoff,
    /// Deliveries of a durable message before it becomes a dead letter.
    pub(crate) max_deliveries: u32,
    /// Time for which the results of durable messages are stored.
    pub(crate) result_ttl: Duration,
    /// Durable messages that may wait to be handled.
    pub(crate) max_stream_len: u64,
    /// Clients receive the cause of an actor's failure.
    pub(crate) exposes_failures: bool,
    /// The permissions of operators.
    pub(crate) operators: OperatorSettings,
    /// Faults that are injected into a bus within this process.
    #[cfg(feature = "test-util")]
    pub(crate) faults: Option<Arc<dyn TransportLayer>>,
    /// The first wrong value; reported by the first use of the config.
    invalid: Option<ConfigError>,
}

/// Redis at `localhost:6379`, namespace `conclib`, node `main`. The environment is not read: that is
/// [`Config::from_env`].
impl Default for Config {
    fn default() -> Self {
        Self::with_bus(Bus::Redis(RedisAddress::local()))
    }
}

impl Config {
    /// A Redis by its URL:
    ///
    /// | URL | meaning |
    /// |---|---|
    /// | `redis://[user:password@]host[:port][/db]` | over TCP; port 0 asks `start_redis` for a free one |
    /// | `rediss://…` | over TLS, with the feature `tls` |
    /// | `unix://[user:password@]/path/of/the.sock[?db=db]` | over a Unix socket |
    /// | `redis-sentinel://[user:password@]host[:port],…/service[/db][?sentinel=user:password]` | the primary that Sentinels name for each connection; their own user and password stand behind `?` |
    /// | `rediss-sentinel://…` | the same over TLS |
    ///
    /// `valkey://` means the same as `redis://`. In user and password, `%2F`, `%3F`, `%23` and `%40`
    /// stand for `/`, `?`, `#` and `@`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the URL is not of this form; the text never holds the password.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let address =
            RedisAddress::parse(url).map_err(|problem| ConfigError::new("the URL", problem))?;
        Ok(Self::with_bus(Bus::Redis(address)))
    }

    /// The prefix of every key and channel: 1 to 64 letters, digits, `_`, `-`, `.` or `:`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self.check_name("the namespace", &self.namespace.clone());
        self
    }

    /// The actor system within the namespace that serves or is asked: letters as in a namespace.
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = node.into();
        self.has_chosen_node = true;
        self.check_name("the node", &self.node.clone());
        self
    }

    /// The name of this process among those that may serve the node, such as that of its systemd unit or
    /// of its pod in a `StatefulSet`: letters as in a namespace, none by default. One process at a time
    /// has it.
    ///
    /// A process that starts again need not wait then until the lease of its predecessor has expired:
    /// it ends that lease at once, and takes the durable messages over that its predecessor had. If the
    /// predecessor still runs, it begins none of the requests that it takes off the bus from then on; those
    /// in its mailboxes may begin until it notices, with its next renewal at the latest: after a third of
    /// the [lease's duration](Self::lease_duration), which is 2 s by default. It ends as
    /// [`Replaced`](crate::bus::ProxyEnd::Replaced), and never takes the lease back: two processes that
    /// have one name by mistake do not fight. Durable messages whose handlers run in a predecessor that still
    /// runs may be executed again here, at the same time. Those of a predecessor that has stopped in good
    /// order are left to it while its handlers run. (If something starts the older one again, as a supervisor
    /// does, it is the younger one then. [`run`](crate::service::run) ends with code 76, at which a
    /// supervisor should leave it alone.)
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # use conclib::bus::{ProxyEnd, acquire_lease};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = Config::memory().instance("worker-0");
    /// let (old, new) = (ActorSystem::new(), ActorSystem::new());
    /// let proxy = start_proxy(&old, &config).await?;
    /// // The process is started again, and the old one still runs, or has left its lease.
    /// let lease = acquire_lease(&new, &config).await?;
    /// assert!(Some(lease.token()) > old.token());
    /// assert_eq!(proxy.stopped().await, ProxyEnd::Replaced);
    /// # Ok(()) }
    /// ```
    ///
    /// In a [fleet](Self::fleet) it is the name of the member's node: the name for
    /// [`ProxyClient::node`](crate::ProxyClient::node).
    ///
    /// Only the actor process needs it; [`variables`](Self::variables) leaves it out.
    #[must_use]
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = instance.into();
        self.check_name("the instance", &self.instance.clone());
        self
    }

    /// Time that the lease of an actor system lasts after its last renewal: 6 s by default, 2 s to
    /// 60 s. It is renewed three times within it, and requests begin until a twelfth of it is left.
    ///
    /// A shorter lease lets another process serve sooner when one was killed or hangs. A longer one
    /// bridges longer outages and failovers of Redis, and stalls of the process: when they last
    /// longer than two thirds of it, no requests are executed until the lease is taken again. The
    /// owner's config decides; its clients read it.
    #[must_use]
    pub fn lease_duration(mut self, duration: Duration) -> Self {
        if !(Duration::from_secs(2)..=Duration::from_secs(60)).contains(&duration) {
            self.reject("the duration of the lease", "it must be 2 s to 60 s");
        }
        self.lease_duration = duration;
        self
    }

    /// The deadline of an ask that sets none: 5 s by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The largest request or response in bytes, encoded: 4 MiB by default.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// Sends clients the URN and the text of a failure with
    /// [`AskError::Failed`](crate::AskError::Failed): off by default, since the text of an error
    /// may hold details that clients must not see. The config of the actor process decides. Within a
    /// process, and among the [dead letters](crate::durable::DeadLetters), the cause is always given.
    #[must_use]
    pub fn expose_failures(mut self, exposes: bool) -> Self {
        self.exposes_failures = exposes;
        self
    }

    /// The port of the Redis; `None` for a Unix socket, Sentinels, and the memory bus.
    pub fn port(&self) -> Option<u16> {
        match &self.bus {
            Bus::Redis(address) => address.node().map(|node| node.port),
            Bus::Local(_) => None,
        }
    }

    fn database(&self) -> u32 {
        match &self.bus {
            Bus::Redis(address) => address.database,
            Bus::Local(_) => 0,
        }
    }

    /// The same config with another port, as `start_redis` chooses one for port 0.
    #[cfg(all(unix, feature = "daemon", feature = "redis"))]
    pub(crate) fn with_port(mut self, new: u16) -> Self {
        if let Bus::Redis(address) = &mut self.bus
            && let ServerLocation::Tcp(node) = &mut address.location
        {
            node.port = new;
        }
        self
    }

    /// The key and channel names of the node.
    pub(crate) fn keys(&self) -> Keys {
        Keys::new(&self.namespace, &self.node)
    }

    /// The first wrong value, as an error; every use of a config begins with this.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.invalid.clone().map_or(Ok(()), Err)?;
        match &self.bus {
            Bus::Redis(address) => self.access.check(address),
            Bus::Local(_) => Ok(()),
        }
    }

    pub(crate) fn with_bus(bus: Bus) -> Self {
        Self {
            bus,
            namespace: "conclib".to_owned(),
            node: DEFAULT_NODE.to_owned(),
            has_chosen_node: false,
            fleet: false,
            instance: String::new(),
            age: None,
            lease_duration: LEASE,
            timeout: Duration::from_secs(5),
            max_message_size: 4 * 1024 * 1024,
            access: credentials::Access::default(),
            visibility_timeout: Duration::from_secs(30),
            missing_timeout: 24 * HOUR,
            retry_backoff: Backoff::from_secs(5).up_to(Duration::from_secs(5 * 60)),
            max_deliveries: 5,
            result_ttl: HOUR,
            max_stream_len: 1_000_000,
            exposes_failures: false,
            operators: OperatorSettings::default(),
            #[cfg(feature = "test-util")]
            faults: None,
            invalid: None,
        }
    }

    fn check_name(&mut self, setting: &'static str, name: &str) {
        if let Err(error) = check_name(setting, name) {
            self.invalid.get_or_insert(error);
        }
    }

    pub(crate) fn reject(&mut self, setting: &'static str, problem: impl Into<String>) {
        if self.invalid.is_none() {
            self.invalid = Some(ConfigError::new(setting, problem));
        }
    }
}

/// Checks the name of a namespace, node or instance.
pub(crate) fn check_name(setting: &'static str, name: &str) -> Result<(), ConfigError> {
    if !Keys::is_name(name) {
        let problem = format!("`{name}` must be 1 to 64 letters, digits, `_`, `-`, `.` or `:`");
        return Err(ConfigError::new(setting, problem));
    }
    Ok(())
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Config");
        match &self.bus {
            Bus::Redis(address) => out.field("redis", address),
            Bus::Local(_) => out.field("bus", &"memory"),
        };
        out.field("namespace", &self.namespace)
            .field("node", &self.node)
            .field("fleet", &self.fleet)
            .field("instance", &self.instance)
            .field("lease_duration", &self.lease_duration)
            .field("timeout", &self.timeout)
            .field("max_message_size", &self.max_message_size)
            .field("access", &self.access)
            .field("visibility_timeout", &self.visibility_timeout)
            .field("missing_timeout", &self.missing_timeout)
            .field("retry_backoff", &self.retry_backoff)
            .field("max_deliveries", &self.max_deliveries)
            .field("result_ttl", &self.result_ttl)
            .field("max_stream_len", &self.max_stream_len)
            .field("operators", &self.operators);
        #[cfg(feature = "test-util")]
        out.field("faults", &self.faults);
        out.finish_non_exhaustive()
    }
}

/// A setting with a wrong value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is wrong: {problem}")]
pub struct ConfigError {
    setting: &'static str,
    problem: String,
}

impl ConfigError {
    /// The error of a second proxy of a fleet in one system.
    pub(crate) fn second_fleet() -> Self {
        Self::new(
            "the fleet",
            "the actor system is a member of one already: it can be in one at a time",
        )
    }

    fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self {
            setting,
            problem: problem.into(),
        }
    }

    /// Only the Redis transport and the daemons are missing in some builds.
    #[allow(dead_code, reason = "unused when every feature is on")]
    pub(crate) fn unsupported(problem: impl Into<String>) -> Self {
        Self::new("the bus", problem)
    }
}

#[cfg(test)]
mod tests;
