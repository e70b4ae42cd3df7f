//! The configuration that a `main` gives to `run`.

use crate::bus::{Config, ConfigError};

/// The configuration of a service, or the error of reading it: [`run`](crate::service::run) takes both, so that a `main` can
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
