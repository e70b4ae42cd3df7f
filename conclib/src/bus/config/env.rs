//! A configuration from environment variables, and back. This file has all their names.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use tracing::warn;

use crate::bus::config::credentials::Access;
use crate::bus::config::{Bus, Config, ConfigError, RedisAddress};
use crate::time::duration::parse_duration;

/// The name of this process: not for its children, which are other processes.
const INSTANCE: &str = "CONCLIB_INSTANCE";

/// The permission of operators to act: also for this process only.
const ADMIN: &str = "CONCLIB_ADMIN";

/// The environment variables of [`Config::from_env`] with values, except [`INSTANCE`] and [`ADMIN`].
const VARIABLES: [&str; 5] = [
    "CONCLIB_REDIS_URL",
    "CONCLIB_NAMESPACE",
    "CONCLIB_NODE",
    "CONCLIB_FLEET",
    "CONCLIB_TIMEOUT",
];

/// The prefix of the names that are reserved for conclib.
const PREFIX: &str = "CONCLIB_";

/// The variable of `start_redis`.
const REDIS_SERVER: &str = "CONCLIB_REDIS_SERVER";

/// The environment variables of [`Config::from_env`] with paths, in the order of
/// [`Access::paths`].
const PATH_VARIABLES: [&str; 5] = [
    "CONCLIB_REDIS_USER_FILE",
    "CONCLIB_REDIS_PASSWORD_FILE",
    "CONCLIB_REDIS_CA",
    "CONCLIB_REDIS_CERT",
    "CONCLIB_REDIS_KEY",
];

impl Config {
    /// The config that the `CONCLIB_*` variables describe, with defaults for those that are not set.
    ///
    /// Another variable whose name begins with `CONCLIB_` changes nothing: it may be a misspelt one, such as
    /// `CONCLIB_REDIS`. The first call in a process logs a warning with all of them.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the variable that has a wrong value.
    pub fn from_env() -> Result<Self, ConfigError> {
        warn_of_unknown();
        let config = Self::from_variables(|name| std::env::var_os(name));
        config.check().map(|()| config)
    }

    /// The config that these `CONCLIB_*` variables describe, for a program that has them from elsewhere than
    /// its environment, such as from its arguments. The function gets the name of each variable.
    ///
    /// ```
    /// use conclib::Config;
    ///
    /// let config = Config::from_lookup(|name| match name {
    ///     "CONCLIB_NAMESPACE" => Some("shop".into()),
    ///     _ => std::env::var_os(name),
    /// })?;
    /// # drop(config);
    /// # Ok::<(), conclib::bus::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the variable that has a wrong value.
    pub fn from_lookup(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let config = Self::from_variables(variable);
        config.check().map(|()| config)
    }

    /// The `CONCLIB_*` variables that give another process this config, for a child that is started
    /// with [`Command::envs`](std::process::Command::envs). They hold the password, if there is
    /// one. The memory bus has none: no other process can reach it.
    ///
    /// ```
    /// use conclib::Config;
    /// use std::process::Command;
    ///
    /// let config = Config::new("redis://localhost:6380")?.namespace("billing");
    /// let mut web = Command::new("web");
    /// web.envs(config.variables());
    /// # Ok::<(), conclib::bus::ConfigError>(())
    /// ```
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let Bus::Redis(address) = &self.bus else {
            return Vec::new();
        };
        let [url, namespace, node, fleet, timeout] = VARIABLES;
        // Written as well if they say nothing: the child may inherit others.
        let chosen_node = self.has_chosen_node.then(|| self.node.clone());
        let mut variables = vec![
            (url, address.to_url()),
            (namespace, self.namespace.clone()),
            (node, chosen_node.unwrap_or_default()),
            (fleet, u8::from(self.is_in_fleet()).to_string()),
            (timeout, format_duration(self.timeout)),
        ];
        let paths = PATH_VARIABLES.into_iter().zip(self.access.paths());
        variables.extend(paths.filter_map(|(name, path)| {
            // A child may have another working directory.
            let path = std::path::absolute(path.as_ref()?).ok()?;
            Some((name, path.into_os_string().into_string().ok()?))
        }));
        variables
    }

    pub(super) fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let mut unreadable = None;
        let mut read = |name| {
            let text = variable(name).map(OsString::into_string);
            let text = text.and_then(|text| text.map_err(|_| unreadable = Some(name)).ok());
            (name, text)
        };
        let [url, namespace, node, fleet, timeout] = VARIABLES.map(&mut read);
        let (instance, admin) = (read(INSTANCE), read(ADMIN));
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
        config.access =
            Access::from_paths(PATH_VARIABLES.map(|name| variable(name).map(PathBuf::from)));
        if let (name, Some(value)) = namespace {
            config.check_name(name, &value);
            config.namespace = value;
        }
        if let (name, Some(value)) = node
            && !value.is_empty()
        {
            config.check_name(name, &value);
            config.node = value;
            config.has_chosen_node = true;
        }
        if let (name, Some(value)) = fleet {
            config = config.read_fleet(name, &value);
        }
        if let (name, Some(value)) = admin {
            config = config.read_admin(name, &value);
        }
        if let (name, Some(value)) = instance {
            config.check_name(name, &value);
            config.instance = value;
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
}

/// Logs the variables that are set and change nothing, once per process.
fn warn_of_unknown() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        let unknown = unknown(names);
        if !unknown.is_empty() {
            let known: Vec<_> = known().collect();
            warn!(
                ?unknown,
                ?known,
                "ignored environment variables that conclib does not know"
            );
        }
    });
}

/// The names that are reserved for conclib and that it does not know.
fn unknown(names: impl Iterator<Item = String>) -> Vec<String> {
    let is_unknown =
        |name: &String| name.starts_with(PREFIX) && !known().any(|known| known == name);
    let mut unknown: Vec<_> = names.filter(is_unknown).collect();
    unknown.sort_unstable();
    unknown
}

/// The names of all variables.
fn known() -> impl Iterator<Item = &'static str> {
    let others = [INSTANCE, ADMIN, REDIS_SERVER];
    VARIABLES.into_iter().chain(PATH_VARIABLES).chain(others)
}

/// A duration as [`parse_duration`] reads it.
pub(crate) fn format_duration(duration: Duration) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reserved_names_that_are_not_known_are_reported() {
        let set = known().chain([
            "PATH",
            "CONCLIB",
            "MY_CONCLIB_URL",
            "CONCLIB_REDIS",
            "CONCLIB_NDOE",
        ]);
        let reported = unknown(set.map(str::to_owned));
        assert_eq!(reported, ["CONCLIB_NDOE", "CONCLIB_REDIS"]);
    }
}
