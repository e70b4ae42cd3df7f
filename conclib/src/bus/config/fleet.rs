//! The settings of a fleet.

use tracing::warn;

use crate::bus::config::{Config, DEFAULT_NODE};

impl Config {
    /// Has many processes share the names of the namespace: each that serves is a member of its fleet, and
    /// clients find the one that has a name. Members and clients set it alike; without it, one process
    /// serves the node, and a second one stands by.
    ///
    /// The node of a member is its [`instance`](Self::instance), or a generated name. A process with a
    /// [`node`](Self::node) of its own is no member: it serves, or asks, that node as without a fleet. If the
    /// node is chosen before, as by `CONCLIB_NODE`, this logs a warning.
    ///
    /// ```
    /// use conclib::Config;
    ///
    /// let config = Config::new("redis://localhost")?.namespace("shop").fleet();
    /// let member = config.clone().instance("worker-0"); // such as the name of its pod
    /// assert!(config.variables().contains(&("CONCLIB_FLEET", "1".to_owned())));
    /// # drop(member);
    /// # Ok::<(), conclib::bus::ConfigError>(())
    /// ```
    #[must_use]
    pub fn fleet(mut self) -> Self {
        if self.has_chosen_node {
            warn!(
                node = %self.node,
                "a process with a node of its own is no member of a fleet, and its clients ask this node only: \
                 leave `CONCLIB_NODE` unset, and name a member with `CONCLIB_INSTANCE`"
            );
        }
        self.fleet = true;
        self
    }

    /// True if this end serves as a member of a fleet, or asks its members.
    pub(crate) fn is_in_fleet(&self) -> bool {
        self.fleet && !self.has_chosen_node
    }

    /// The config of one member of the fleet, with its node; the same config if the process is no member, or
    /// has its node already. Other calls are other members, unless the process is named as an instance.
    pub(crate) fn as_member(&self) -> Self {
        if !self.is_in_fleet() || self.node != DEFAULT_NODE {
            return self.clone();
        }
        let node = if self.instance.is_empty() {
            format!("m-{:012x}", fastrand::u64(..1 << 48))
        } else {
            self.instance.clone()
        };
        Self {
            node,
            ..self.clone()
        }
    }

    /// The channel on which a client hears of changes of the map, if there is one.
    pub(crate) fn map_changes(&self) -> Option<String> {
        self.is_in_fleet().then(|| self.keys().map_changes())
    }

    /// Sets the fleet from the value of a variable.
    pub(super) fn read_fleet(self, name: &'static str, value: &str) -> Self {
        match value {
            "1" | "true" => self.fleet(),
            "0" | "false" | "" => self,
            other => {
                let mut config = self;
                config.reject(name, format!("`{other}` is neither `1` nor `0`"));
                config
            }
        }
    }
}
