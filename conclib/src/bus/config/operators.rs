//! The settings of a process for those who inspect and operate it.

use std::fmt;
use std::sync::Arc;

use crate::bus::config::Config;

/// Changes the filter of a program's log while it runs, for
/// [`Action::SetLogFilter`](crate::inspect::Action::SetLogFilter). The program implements it for its subscriber: the page
/// on [operation](crate::docs::operation) has the lines for `tracing_subscriber`.
pub trait LogControl: Send + Sync {
    /// The filter now; `None` if it is not known. Such a filter cannot be changed, since it could not be set again.
    fn filter(&self) -> Option<String>;

    /// Sets the filter.
    ///
    /// # Errors
    ///
    /// The reason in words, such as a wrong syntax. The filter is the same as before then.
    fn set_filter(&self, filter: &str) -> Result<(), String>;
}

/// The permissions of operators, as a config holds them.
#[derive(Debug, Clone, Default)]
pub(crate) struct OperatorSettings {
    /// They may act on this process.
    pub(crate) allows_admin: bool,
    /// Changes the filter of the log.
    pub(crate) log_control: Option<SharedLogControl>,
}

/// A control as a config holds it.
#[derive(Clone)]
pub(crate) struct SharedLogControl(pub(crate) Arc<dyn LogControl>);

impl fmt::Debug for SharedLogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogControl")
    }
}

impl Config {
    /// Lets [operators](crate::inspect) act on this process: stop, kill and restart its actors, drain it, and change the
    /// filter of its log. Off by default, also by `CONCLIB_ADMIN=1`. Inspections are always answered.
    ///
    /// Redis decides which user may write such requests: the [role](Self::acl) of an operator may, that of a client or an
    /// observer may not. Each action is logged with its author and reason, in the target `conclib::admin`.
    ///
    /// Only the actor process needs it; [`variables`](Self::variables) leaves it out.
    ///
    /// ```
    /// use conclib::Config;
    ///
    /// let config = Config::new("redis://localhost")?.allow_admin();
    /// # drop(config);
    /// # Ok::<(), conclib::bus::ConfigError>(())
    /// ```
    #[must_use]
    pub fn allow_admin(mut self) -> Self {
        self.operators.allows_admin = true;
        self
    }

    /// Gives operators the control of the log's filter: without it, they cannot change the filter.
    #[must_use]
    pub fn log_control(mut self, control: impl LogControl + 'static) -> Self {
        self.operators.log_control = Some(SharedLogControl(Arc::new(control)));
        self
    }

    /// Sets from the value of a variable if operators may act.
    pub(super) fn read_admin(mut self, name: &'static str, value: &str) -> Self {
        match value {
            "1" | "true" => self.allow_admin(),
            "0" | "false" | "" => self,
            other => {
                self.reject(name, format!("`{other}` is neither `1` nor `0`"));
                self
            }
        }
    }
}
