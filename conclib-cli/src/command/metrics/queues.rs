//! The families that are read from Redis: queues of a node.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use conclib::monitor::BusMonitor;

use crate::command::inspection::backlog;
use crate::command::metrics::Sources;
use crate::exit::Failure;
use crate::openmetrics::{Family, Figures, gauge};
use crate::output::{Output, age};

const INBOX: Family = gauge("conclib_bus_inbox_length", "Requests that wait on the bus");
const STORED: Family = gauge(
    "conclib_durable_stored",
    "Durable messages that are not handled yet",
);
const DELAYED: Family = gauge(
    "conclib_durable_delayed",
    "Durable messages that wait for their due times",
);
const STORED_OLDEST: Family = gauge(
    "conclib_durable_oldest_seconds",
    "Age of the oldest durable message",
);
const DEAD: Family = gauge("conclib_dead_letters", "Dead letters");

/// The longest time for which a member that answers is waited for to have read its queues: scrapers do not wait for long.
const BACKLOG_TIMEOUT: Duration = Duration::from_secs(1);

/// The families that could not be read. Each is said once.
#[derive(Debug)]
pub(super) struct Missing {
    said: Mutex<BTreeSet<&'static str>>,
    output: Output,
}

impl Missing {
    pub(super) fn new(output: Output) -> Self {
        Self {
            said: Mutex::default(),
            output,
        }
    }

    fn say(&self, family: Family, node: &str, reason: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.insert(family.name) {
            let text = format!("{} of {node} is left out: {reason}", family.name);
            self.output.note("left_out", &text);
        }
    }
}

impl Sources {
    /// Records the queues of a node, as far as they may be read, and says which are left out.
    pub(super) async fn record_queues(
        &self,
        figures: &mut Figures,
        monitor: &BusMonitor,
        is_up: bool,
    ) {
        let node = monitor.node();
        let labels = [("node", node)];
        let inbox = match monitor.lease().await {
            Ok(Some(lease)) => monitor.inbox_len(lease.epoch).await.map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match inbox {
            Ok(Some(length)) => figures.add(INBOX, &labels, length),
            Ok(None) => {}
            Err(error) => self.missing.say(INBOX, node, &error.to_string()),
        }
        self.record_durable(figures, monitor, is_up).await;
        match monitor.dead_letters().await {
            Ok(dead) => figures.add(DEAD, &labels, dead.stored),
            Err(error) => self.missing.say(DEAD, node, &error.to_string()),
        }
    }

    async fn record_durable(&self, figures: &mut Figures, monitor: &BusMonitor, is_up: bool) {
        let node = monitor.node();
        let labels = [("node", node)];
        let durable = match monitor.durable().await {
            Ok(durable) => durable,
            Err(error) => {
                for family in [STORED, DELAYED, STORED_OLDEST] {
                    self.missing.say(family, node, &error.to_string());
                }
                return;
            }
        };
        figures.add(STORED, &labels, durable.stored);
        figures.add(DELAYED, &labels, durable.delayed);
        let oldest = if durable.is_readable || durable.stored == 0 {
            Ok(durable.oldest.map(age))
        } else {
            self.oldest(node, is_up).await
        };
        match oldest {
            Ok(oldest) => {
                let seconds = oldest.unwrap_or_default().as_secs_f64();
                figures.max(STORED_OLDEST, &labels, seconds);
            }
            Err(failure) => self.missing.say(STORED_OLDEST, node, &failure.text),
        }
    }

    /// The age of the oldest durable message, asked of the member, since an observer may not read it: that would be the right
    /// to read contents.
    async fn oldest(&self, node: &str, is_up: bool) -> Result<Option<Duration>, Failure> {
        const DENIED: &str = "the user of Redis may not read it (`conclib acl operator`)";
        let failed = |reason: &str| {
            let exit = crate::exit::Exit::NotPermitted;
            Failure::new(exit, "not_permitted", format!("{DENIED}, and {reason}"))
        };
        if !is_up {
            return Err(failed("its process does not answer"));
        }
        let backlog = backlog(&self.inspector, node, BACKLOG_TIMEOUT).await;
        let backlog = backlog.map_err(|failure| failed(&failure.text))?;
        match (backlog.oldest, backlog.stored) {
            (None, Some(1..) | None) => Err(failed("nor may its process")),
            (oldest, _) => Ok(oldest),
        }
    }
}
