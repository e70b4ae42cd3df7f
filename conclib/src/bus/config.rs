//! Where the bus is, and within which bounds it is used.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "test-util")]
use crate::bus::faults::Faults;
use crate::bus::memory::MemoryBus;
use crate::time::duration::parse_duration;

pub use acl::Role;
#[cfg(feature = "redis")]
pub(crate) use credentials::Access;
pub(crate) use url::RedisAddress;

mod acl;
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "a bus in memory needs none")
)]
mod credentials;
mod url;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The environment variables that [`Config::default`] and [`Config::from_env`] read.
const VARIABLES: [&str; 4] = [
    "CONCLIB_REDIS_URL",
    "CONCLIB_NAMESPACE",
    "CONCLIB_NODE",
    "CONCLIB_TIMEOUT",
];

/// Where the bus is, and within which bounds it is used.
///
/// Cheap to clone. The actor process and its clients use the same one.
///
/// | environment variable | means | default |
/// |---|---|---|
/// | `CONCLIB_REDIS_URL` | `redis://[user:password@]host[:port][/db]`, `rediss://` with TLS | `redis://localhost:6379` |
/// | `CONCLIB_REDIS_USER_FILE` | a file that holds the user's name, instead of the URL | |
/// | `CONCLIB_REDIS_PASSWORD_FILE` | a file that holds the password, instead of the URL | |
/// | `CONCLIB_REDIS_CA` | the certificates to trust (PEM), for `rediss://` | the system's |
/// | `CONCLIB_REDIS_CERT`, `CONCLIB_REDIS_KEY` | the certificate to show and its key (PEM), for `rediss://` | none |
/// | `CONCLIB_NAMESPACE` | prefix of every key and channel | `conclib` |
/// | `CONCLIB_NODE` | which actor system of the namespace | `main` |
/// | `CONCLIB_TIMEOUT` | deadline of an ask, such as `500ms` or `5s` | `5s` |
///
/// ```
/// use conclib::Config;
/// use std::time::Duration;
///
/// let config = Config::new("redis://user:secret@cache.internal:6380/2")?
///     .namespace("billing")
///     .timeout(Duration::from_secs(2));
/// assert!(!format!("{config:?}").contains("secret"));
/// # Ok::<(), conclib::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Config {
    pub(crate) bus: Bus,
    pub(crate) namespace: String,
    pub(crate) node: String,
    pub(crate) timeout: Duration,
    pub(crate) max_frame: usize,
    /// How to get in, beyond what the URL says.
    pub(crate) access: credentials::Access,
    /// How long after its last sign of life a proxy's durable messages are taken over.
    pub(crate) visibility: Duration,
    /// How often a durable message is delivered before it is a dead letter.
    pub(crate) max_deliveries: u32,
    /// How long the answers of durable messages are remembered.
    pub(crate) keep_replies: Duration,
    /// How many durable messages may be kept.
    pub(crate) max_kept: u64,
    /// True if clients hear the cause of an actor's failure.
    pub(crate) exposes_failures: bool,
    /// What goes wrong on the memory bus, on purpose.
    #[cfg(feature = "test-util")]
    pub(crate) faults: Option<Faults>,
    /// The first wrong value; whoever uses the config reports it.
    invalid: Option<ConfigError>,
}

/// Which bus it is.
#[derive(Clone)]
pub(crate) enum Bus {
    Redis(RedisAddress),
    /// In this process; every clone of the config leads to the same one.
    Memory(Arc<MemoryBus>),
}

impl Config {
    /// A Redis by its URL: `redis://[user:password@]host[:port][/db]`. The port 0 asks
    /// `start_redis` for a free one. With `rediss://` and the feature `tls`, it is reached over TLS.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the URL is not of this form; the text never holds the password.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let address =
            RedisAddress::parse(url).map_err(|problem| ConfigError::new("the URL", problem))?;
        Ok(Self::with_bus(Bus::Redis(address)))
    }

    /// A bus within this process: nothing to install, and nobody else can reach it. Clones share
    /// it; each call makes a new one.
    pub fn memory() -> Self {
        Self::with_bus(Bus::Memory(Arc::default()))
    }

    /// What the `CONCLIB_*` variables say, and the defaults for those that are not set.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the variable that has a wrong value.
    pub fn from_env() -> Result<Self, ConfigError> {
        let config = Self::from_variables(|name| std::env::var_os(name));
        config.check().map(|()| config)
    }

    /// The prefix of every key and channel: 1 to 64 letters, digits, `_`, `-`, `.` or `:`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self.check_name("the namespace", &self.namespace.clone());
        self
    }

    /// Which actor system of the namespace serves or is asked: letters as in a namespace.
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = node.into();
        self.check_name("the node", &self.node.clone());
        self
    }

    /// The deadline of an ask that sets none: 5 s unless changed.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The largest request or response in bytes, encoded: 4 MiB unless changed.
    #[must_use]
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.max_frame = bytes;
        self
    }

    /// How long after its last sign of life the durable messages of a proxy are taken over, and how
    /// long a message that has failed waits for its next delivery: 30 s unless changed, 100 ms to
    /// 24 h.
    ///
    /// A handler may take longer: a proxy that lives gives signs of life for what its actors have.
    /// A message whose actor is missing for so long has failed.
    #[must_use]
    pub fn visibility(mut self, visibility: Duration) -> Self {
        if !(Duration::from_millis(100)..=24 * HOUR).contains(&visibility) {
            self.reject("the visibility", "it must be 100 ms to 24 h");
        }
        self.visibility = visibility;
        self
    }

    /// How often a durable message is delivered, before it becomes a [dead
    /// letter](crate::DeadLetters): 5 times unless changed, at least once.
    ///
    /// A process that ends amid its work counts one delivery for all that it had taken. The last
    /// delivery is made alone then, so that a message that ends its process takes no other one along;
    /// with 1 the first delivery is the last, and that cannot be.
    #[must_use]
    pub fn max_deliveries(mut self, deliveries: u32) -> Self {
        if deliveries == 0 {
            self.reject("the number of deliveries", "it must be at least 1");
        }
        self.max_deliveries = deliveries;
        self
    }

    /// How long the answer of a durable message is remembered, so that who repeats it with the same
    /// idempotency key hears that answer and has nothing done twice: 1 h unless changed, 1 s to
    /// 30 days.
    ///
    /// Every message costs Redis the memory of its answer for so long: at a thousand messages per
    /// second, an hour is some 3.6 million small keys, and a day would be 86 million. An hour is
    /// far longer than a client repeats a message by itself.
    #[must_use]
    pub fn keep_replies(mut self, keep: Duration) -> Self {
        if !(Duration::from_secs(1)..=30 * 24 * HOUR).contains(&keep) {
            self.reject("how long to keep replies", "it must be 1 s to 30 days");
        }
        self.keep_replies = keep;
        self
    }

    /// How many durable messages may wait to be handled: 1,000,000 unless changed. A client that
    /// finds more is answered [`Overloaded`](crate::AskError::Overloaded) until there are fewer.
    /// Those that are under way at that moment come on top.
    #[must_use]
    pub fn max_kept(mut self, messages: u64) -> Self {
        if messages == 0 {
            self.reject("how many messages to keep", "it must be at least 1");
        }
        self.max_kept = messages;
        self
    }

    /// Sends clients the URN and the text of a failure with
    /// [`AskError::Failed`](crate::AskError::Failed): off unless changed, since the text of an error
    /// may hold what clients must not see. It is the actor process whose config counts. Within a
    /// process, and among the [dead letters](crate::DeadLetters), the cause is always told.
    #[must_use]
    pub fn expose_failures(mut self, exposes: bool) -> Self {
        self.exposes_failures = exposes;
        self
    }

    /// What is to go wrong on the bus in memory, for tests of programs that must bear it. Needs the
    /// feature `test-util`.
    ///
    /// On a Redis it is a wrong setting, reported by whatever uses the config first. The actor
    /// process and its clients use the same config: requests go wrong where the one takes them,
    /// responses where the other does.
    ///
    /// ```
    /// use conclib::Config;
    /// use conclib::test::Faults;
    ///
    /// let config = Config::memory().faults(Faults::seeded(7).lose(0.1));
    /// # let _ = config;
    /// ```
    #[cfg(feature = "test-util")]
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        if let Bus::Redis(_) = self.bus {
            self.reject("the bus", "faults need the one in memory, not a Redis");
        }
        self.faults = Some(faults);
        self
    }

    /// The `CONCLIB_*` variables that give another process this config, for a child that is started
    /// with [`Command::envs`](std::process::Command::envs). They hold the password, if there is
    /// one. For the memory bus there are none: no other process can reach it.
    ///
    /// ```
    /// use conclib::Config;
    /// use std::process::Command;
    ///
    /// let config = Config::new("redis://localhost:6380")?.namespace("billing");
    /// let mut web = Command::new("web");
    /// web.envs(config.variables());
    /// # Ok::<(), conclib::ConfigError>(())
    /// ```
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let Bus::Redis(address) = &self.bus else {
            return Vec::new();
        };
        let [url, namespace, node, timeout] = VARIABLES;
        let mut variables = vec![
            (url, address.to_url()),
            (namespace, self.namespace.clone()),
            (node, self.node.clone()),
            (timeout, format_duration(self.timeout)),
        ];
        variables.extend(self.access.variables());
        variables
    }

    /// The port of the Redis; `None` for the memory bus.
    pub fn port(&self) -> Option<u16> {
        match &self.bus {
            Bus::Redis(address) => Some(address.port),
            Bus::Memory(_) => None,
        }
    }

    fn database(&self) -> u8 {
        match &self.bus {
            Bus::Redis(address) => address.database,
            Bus::Memory(_) => 0,
        }
    }

    /// The same config with another port: what `start_redis` makes of port 0.
    #[cfg(all(unix, feature = "daemon", feature = "redis"))]
    pub(crate) fn with_port(mut self, new: u16) -> Self {
        if let Bus::Redis(address) = &mut self.bus {
            address.port = new;
        }
        self
    }

    /// Whoever uses the config asks this first.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.invalid.clone().map_or(Ok(()), Err)?;
        match &self.bus {
            Bus::Redis(address) => self.access.check(address),
            Bus::Memory(_) => Ok(()),
        }
    }

    fn with_bus(bus: Bus) -> Self {
        Self {
            bus,
            namespace: "conclib".to_owned(),
            node: "main".to_owned(),
            timeout: Duration::from_secs(5),
            max_frame: 4 * 1024 * 1024,
            access: credentials::Access::default(),
            visibility: Duration::from_secs(30),
            max_deliveries: 5,
            keep_replies: HOUR,
            max_kept: 1_000_000,
            exposes_failures: false,
            #[cfg(feature = "test-util")]
            faults: None,
            invalid: None,
        }
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let mut unreadable = None;
        let [url, namespace, node, timeout] = VARIABLES.map(|name| {
            let text = variable(name).map(OsString::into_string);
            let text = text.and_then(|text| text.map_err(|_| unreadable = Some(name)).ok());
            (name, text)
        });
        let address = match url.1.as_deref() {
            Some(text) => RedisAddress::parse(text),
            None => Ok(RedisAddress::local()),
        };
        let (address, problem) = match address {
            Ok(address) => (address, None),
            Err(problem) => (RedisAddress::local(), Some(problem)),
        };
        let mut config = Self::with_bus(Bus::Redis(address));
        config.invalid = problem.map(|problem| ConfigError::new(url.0, problem));
        if let Some(name) = unreadable {
            config.reject(name, "it must be valid UTF-8");
        }
        config.access = credentials::Access::from_variables(&variable);
        if let (name, Some(value)) = namespace {
            config.check_name(name, &value);
            config.namespace = value;
        }
        if let (name, Some(value)) = node {
            config.check_name(name, &value);
            config.node = value;
        }
        if let (name, Some(value)) = timeout {
            match parse_duration(&value) {
                Ok(timeout) if !timeout.is_zero() => config.timeout = timeout,
                Ok(_) => config.reject(name, "it must be longer than 0"),
                Err(problem) => config.reject(name, format!("`{value}` is no duration: {problem}")),
            }
        }
        config
    }

    fn check_name(&mut self, what: &'static str, name: &str) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
            let problem = format!("`{name}` must be 1 to 64 letters, digits, `_`, `-`, `.` or `:`");
            self.reject(what, problem);
        }
    }

    fn reject(&mut self, what: &'static str, problem: impl Into<String>) {
        if self.invalid.is_none() {
            self.invalid = Some(ConfigError::new(what, problem));
        }
    }
}

/// `redis://localhost:6379`, or what the `CONCLIB_*` variables say.
///
/// A variable with a wrong value is reported by whatever uses the config first; to hear of it at
/// once use [`Config::from_env`].
impl Default for Config {
    fn default() -> Self {
        Self::from_variables(|name| std::env::var_os(name))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Config");
        match &self.bus {
            Bus::Redis(address) => out.field("redis", address),
            Bus::Memory(_) => out.field("bus", &"memory"),
        };
        out.field("namespace", &self.namespace)
            .field("node", &self.node)
            .field("timeout", &self.timeout)
            .field("max_frame", &self.max_frame)
            .field("access", &self.access)
            .field("visibility", &self.visibility)
            .field("max_deliveries", &self.max_deliveries)
            .field("keep_replies", &self.keep_replies)
            .field("max_kept", &self.max_kept);
        #[cfg(feature = "test-util")]
        out.field("faults", &self.faults);
        out.finish_non_exhaustive()
    }
}

/// A duration as [`parse_duration`] reads it.
fn format_duration(duration: Duration) -> String {
    let nanos = duration.subsec_nanos();
    let parts = [
        (duration.as_secs(), "s"),
        ((nanos / 1_000_000).into(), "ms"),
        ((nanos / 1_000 % 1_000).into(), "us"),
        ((nanos % 1_000).into(), "ns"),
    ];
    let written = parts.into_iter().filter(|(count, _)| *count > 0);
    let written: Vec<_> = written
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if written.is_empty() {
        return "0s".to_owned();
    }
    written.join(" ")
}

/// A setting with a wrong value, by name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is wrong: {problem}")]
pub struct ConfigError {
    what: &'static str,
    problem: String,
}

impl ConfigError {
    fn new(what: &'static str, problem: impl Into<String>) -> Self {
        Self {
            what,
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
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Config {
        Config::from_variables(|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).into())
        })
    }

    fn address(config: &Config) -> &RedisAddress {
        match &config.bus {
            Bus::Redis(address) => address,
            Bus::Memory(_) => panic!("a memory bus"),
        }
    }

    #[test]
    fn nothing_set_means_the_local_redis() {
        let config = from(&[]);
        assert!(config.check().is_ok());
        assert_eq!(*address(&config), RedisAddress::local());
        assert_eq!(config.timeout, Duration::from_secs(5));
    }

    #[cfg(feature = "redis")]
    #[test]
    fn variables_are_read() {
        let config = from(&[
            ("CONCLIB_REDIS_URL", "redis://u:p%40ss+1@10.0.0.1:7000/3"),
            ("CONCLIB_NAMESPACE", "shop"),
            ("CONCLIB_NODE", "eu-1"),
            ("CONCLIB_TIMEOUT", "250ms"),
        ]);
        assert!(config.check().is_ok());
        let address = address(&config);
        assert_eq!((&*address.host, address.port), ("10.0.0.1", 7000));
        assert_eq!(address.username.as_deref(), Some("u"));
        assert_eq!(address.password.as_deref(), Some("p@ss+1"));
        assert_eq!(address.database, 3);
        assert_eq!((&*config.namespace, &*config.node), ("shop", "eu-1"));
        assert_eq!(config.timeout, Duration::from_millis(250));
    }

    #[cfg(feature = "redis")]
    #[test]
    fn variables_give_another_process_the_same_config() {
        for url in [
            "redis://localhost:6379",
            "redis://u%3A:p%40ss%20+%2F1@10.0.0.1:7000/3",
            "redis://:secret@[::1]:1/0",
            "redis://user@host.internal",
        ] {
            let config = Config::new(url).unwrap();
            let config = match url {
                "redis://user@host.internal" => config.password_file("/run/secrets/redis"),
                _ => config,
            };
            let config = config
                .namespace("shop")
                .node("eu-1")
                .timeout(Duration::from_millis(1250));
            let variables = config.variables();
            let read = Config::from_variables(|name| {
                let variable = variables.iter().find(|(key, _)| *key == name)?;
                Some(variable.1.clone().into())
            });
            assert!(read.check().is_ok());
            assert_eq!(*address(&read), *address(&config));
            assert_eq!((read.namespace, read.node), (config.namespace, config.node));
            assert_eq!(read.timeout, config.timeout);
            assert_eq!(read.access, config.access);
        }
        assert!(Config::memory().variables().is_empty());
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_is_asked_for_in_the_url() {
        let config = Config::new("rediss://u:p@host/1").unwrap();
        let config = config
            .ca_file("ca.pem")
            .client_certificate("c.pem", "k.pem");
        let variables = config.variables();
        let read = Config::from_variables(|name| {
            let variable = variables.iter().find(|(key, _)| *key == name)?;
            Some(variable.1.clone().into())
        });
        assert!(read.check().is_ok());
        assert!(address(&read).tls);
        assert_eq!(*address(&read), *address(&config));
        // The other process may run elsewhere.
        assert!(read.access.ca.unwrap().is_absolute());
        assert!(format!("{config:?}").contains("rediss://"));
    }

    #[cfg(unix)]
    #[test]
    fn what_cannot_be_read_is_no_absence() {
        use std::os::unix::ffi::OsStringExt;

        for wrong in [
            "CONCLIB_REDIS_URL",
            "CONCLIB_NAMESPACE",
            "CONCLIB_REDIS_PASSWORD_FILE",
        ] {
            let latin = || OsString::from_vec(b"/etc/caf\xe9".to_vec());
            let read = Config::from_variables(|name| (name == wrong).then(latin));
            let error = read.check().unwrap_err().to_string();
            assert!(error.ends_with("must be valid UTF-8"), "{error}");
        }
    }

    #[cfg(all(feature = "redis", not(feature = "tls")))]
    #[test]
    fn tls_needs_its_feature() {
        let error = Config::new("rediss://host").unwrap_err().to_string();
        assert!(error.contains("feature `tls`"), "{error}");
    }

    #[test]
    fn a_wrong_variable_is_named() {
        for (name, value) in [
            ("CONCLIB_REDIS_URL", "http://localhost"),
            ("CONCLIB_REDIS_URL", "redis://localhost/x"),
            ("CONCLIB_REDIS_URL", "redis://"),
            ("CONCLIB_NAMESPACE", "with space"),
            ("CONCLIB_NODE", "{braces}"),
            ("CONCLIB_TIMEOUT", "soon"),
            ("CONCLIB_TIMEOUT", "0s"),
        ] {
            let error = from(&[(name, value)]).check().unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }

    #[test]
    fn bounds_of_durable_messages_are_checked() {
        let config = Config::memory;
        for wrong in [
            config().visibility(Duration::from_millis(99)),
            config().visibility(25 * HOUR),
            config().max_deliveries(0),
            config().keep_replies(Duration::from_millis(999)),
            config().keep_replies(31 * 24 * HOUR),
            config().max_kept(0),
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
        let right = config()
            .visibility(Duration::from_millis(100))
            .max_deliveries(1)
            .keep_replies(Duration::from_secs(1))
            .max_kept(1);
        assert!(right.check().is_ok());
    }

    #[cfg(not(feature = "redis"))]
    #[test]
    fn a_redis_needs_its_feature() {
        for url in ["redis://localhost:6379", "redis://me:hunter2@host"] {
            let expected = "the URL is wrong: conclib was built without its feature `redis`";
            assert_eq!(Config::new(url).unwrap_err().to_string(), expected);
            let error = from(&[("CONCLIB_REDIS_URL", url)]).check().unwrap_err();
            let expected =
                "CONCLIB_REDIS_URL is wrong: conclib was built without its feature `redis`";
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for (duration, text) in [
            (Duration::ZERO, "0s"),
            (Duration::from_secs(5), "5s"),
            (Duration::from_millis(1250), "1s 250ms"),
            (Duration::new(0, 1_002_003), "1ms 2us 3ns"),
            (Duration::MAX, "18446744073709551615s 999ms 999us 999ns"),
        ] {
            assert_eq!(format_duration(duration), text);
            assert_eq!(parse_duration(text), Ok(duration));
        }
    }

    #[cfg(feature = "redis")]
    #[test]
    fn no_secret_is_printed() {
        let config = Config::new("redis://me:hunter2@localhost:1").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        for url in [
            "redis://me:hunter2@localhost:port",
            "hunter2:me@localhost",
            "me:hunter2@localhost",
        ] {
            let error = Config::new(url).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
