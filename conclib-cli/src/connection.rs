//! The bus that a command is about.

use std::ffi::OsString;

use clap::Args;
use conclib::Config;

use crate::exit::Failure;

/// The bus, as in the `CONCLIB_*` variables: an option counts instead of its variable.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// URL of the Redis [env: CONCLIB_REDIS_URL] [default: redis://localhost:6379]
    #[arg(long, global = true, value_name = "URL")]
    redis: Option<OsString>,
    /// Prefix of every key and channel [env: CONCLIB_NAMESPACE] [default: conclib]
    #[arg(long, global = true, value_name = "NAME")]
    namespace: Option<OsString>,
    /// Actor system within the namespace, also one member of a fleet [env: CONCLIB_NODE] [default: main]
    #[arg(long, global = true, value_name = "NAME")]
    node: Option<OsString>,
    /// Ask the members of the namespace's fleet [env: CONCLIB_FLEET]
    #[arg(long, global = true, conflicts_with = "node")]
    fleet: bool,
    /// Time for an answer, such as 500ms or 1m [env: CONCLIB_TIMEOUT] [default: 5s]
    #[arg(long, global = true, value_name = "DURATION")]
    timeout: Option<OsString>,
}

impl Connection {
    /// The config of these options and variables.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let config = Config::from_lookup(|name| self.variable(name));
        config.map_err(|error| self.wrong(&error.to_string()))
    }

    /// The failure of a setting that is wrong: it names the option, if that was given, and not its variable.
    fn wrong(&self, text: &str) -> Failure {
        let options = [
            (
                "CONCLIB_REDIS_URL",
                &self.redis,
                "--redis redis://localhost:6379",
            ),
            ("CONCLIB_NAMESPACE", &self.namespace, "--namespace shop"),
            ("CONCLIB_NODE", &self.node, "--node main"),
            (
                "CONCLIB_TIMEOUT",
                &self.timeout,
                "--timeout 500ms, --timeout 30s or --timeout '1m 30s'",
            ),
        ];
        for (variable, given, example) in options {
            if let (Some(rest), Some(_)) = (text.strip_prefix(variable), given) {
                let option = example.split(' ').next().unwrap_or_default();
                return Failure::usage(format!("{option}{rest}")).advise(example);
            }
        }
        Failure::usage(text)
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        let given = match name {
            "CONCLIB_REDIS_URL" => self.redis.clone(),
            "CONCLIB_NAMESPACE" => self.namespace.clone(),
            "CONCLIB_NODE" if self.fleet => return None,
            "CONCLIB_NODE" => self.node.clone(),
            "CONCLIB_FLEET" if self.fleet => Some("1".into()),
            "CONCLIB_FLEET" if self.node.is_some() => return None,
            "CONCLIB_TIMEOUT" => self.timeout.clone(),
            _ => None,
        };
        given.or_else(|| std::env::var_os(name))
    }
}
