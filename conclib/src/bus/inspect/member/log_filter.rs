//! The filter of the log, which operators change for a time.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::bus::config::SharedLogControl;
use crate::bus::inspect::message::{LogState, MAX_LOG_DURATION};
use crate::error::panics;

/// The filter of the program's log. Dropping it sets the filter again that it had before.
pub(super) struct LogFilter {
    /// `None` if the program has given no control.
    control: Option<SharedLogControl>,
    /// The filter from before the first change, and the time at which it is set again.
    changed: Option<(String, Instant)>,
}

impl LogFilter {
    pub(super) fn new(control: Option<SharedLogControl>) -> Self {
        Self {
            control,
            changed: None,
        }
    }

    pub(super) fn reverts_at(&self) -> Option<Instant> {
        self.changed.as_ref().map(|(_, at)| *at)
    }

    pub(super) fn state(&self) -> LogState {
        let now = Instant::now();
        LogState {
            is_controllable: self.control.is_some(),
            filter: self.filter(),
            reverts_in: self
                .reverts_at()
                .map(|at| at.saturating_duration_since(now)),
        }
    }

    /// Sets the filter for a time; returns the problem in words on failure.
    pub(super) fn set(&mut self, filter: &str, duration: Duration) -> Result<(), String> {
        if duration.is_zero() || duration > MAX_LOG_DURATION {
            let hours = MAX_LOG_DURATION.as_secs() / 3600;
            return Err(format!(
                "a filter is set for 1 s to {hours} h, not for {duration:?}"
            ));
        }
        if self.control.is_none() {
            return Err(
                "the program gives no control of its log: `Config::log_control`".to_owned(),
            );
        }
        let before = match &self.changed {
            Some((before, _)) => before.clone(),
            None => self.filter().ok_or_else(|| {
                "the filter of the log is not known, and could not be set again".to_owned()
            })?,
        };
        self.write(filter)?;
        self.changed = Some((before, Instant::now() + duration));
        Ok(())
    }

    /// Sets the filter again that the log had before it was changed; returns the problem in words on failure.
    pub(super) fn reset(&mut self) -> Result<(), String> {
        let Some((before, _)) = &self.changed else {
            return Err("the filter of the log was not changed".to_owned());
        };
        self.write(before)?;
        self.changed = None;
        Ok(())
    }

    pub(super) fn revert_if_due(&mut self) {
        if self.reverts_at().is_some_and(|at| at <= Instant::now()) {
            self.revert();
        }
    }

    fn revert(&mut self) {
        if let Err(problem) = self.reset() {
            warn!(target: "conclib::admin", %problem, "the filter of the log stays changed");
            self.changed = None;
        } else {
            info!(target: "conclib::admin", filter = self.filter(), "the filter of the log is that from before again");
        }
    }

    fn filter(&self) -> Option<String> {
        let SharedLogControl(control) = self.control.as_ref()?;
        panics::catch(|| control.filter()).ok().flatten()
    }

    fn write(&self, filter: &str) -> Result<(), String> {
        let Some(SharedLogControl(control)) = &self.control else {
            return Err("the program gives no control of its log".to_owned());
        };
        let written = panics::catch(|| control.set_filter(filter));
        written.unwrap_or_else(|failure| Err(failure.to_string()))
    }
}

impl Drop for LogFilter {
    fn drop(&mut self) {
        if self.changed.is_some() {
            self.revert();
        }
    }
}
