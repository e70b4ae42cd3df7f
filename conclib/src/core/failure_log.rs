//! The last failures of a system's actors.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::actor::FailureEvent;
use crate::actor::snapshot::shortened;
use crate::actor::stats::Phase;
use crate::urn::{ActorName, Urn};

/// The number of failures that are kept: the newest.
const MAX_KEPT: usize = 256;

/// A failure of an actor, in [`ActorSystem::failures`](crate::ActorSystem::failures).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailureRecord {
    /// The number of the failure among those of its system, from 0 on.
    #[serde(default)]
    pub number: u64,
    /// The time of the failure.
    pub at: SystemTime,
    /// The URN of the actor.
    pub urn: Urn,
    /// The name of the actor's Rust type.
    pub actor_type: Cow<'static, str>,
    /// The phase in which it failed.
    pub phase: Phase,
    /// The name of the handler that failed; `None` if none ran.
    pub handler: Option<Cow<'static, str>>,
    /// The name of its message; `None` if no handler ran, or one that handles messages of many names.
    pub message: Option<Cow<'static, str>>,
    /// The text of the error or the panic, with its sources; at most 512 bytes.
    pub text: String,
    /// True if the actor panicked.
    pub is_panic: bool,
    /// True if the actor has started again since, false if it has ended, and `None` as long as neither is the
    /// case: it waits for its restart, or its last hook runs.
    pub restarted: Option<bool>,
}

impl FailureRecord {
    fn new(event: &FailureEvent) -> Self {
        Self {
            number: 0, // given when it is added
            at: SystemTime::now(),
            urn: event.urn.clone(),
            actor_type: event.actor_type.into(),
            phase: event.phase,
            handler: event.handler.map(Cow::from),
            message: event.message.map(Cow::from),
            text: shortened(event.failure.to_string()),
            is_panic: event.failure.is_panic(),
            restarted: None,
        }
    }
}

/// The last failures of a system's actors, the oldest first.
#[derive(Default)]
pub(super) struct FailureLog {
    records: Mutex<VecDeque<FailureRecord>>,
    /// The number of the next record. Changes under the lock.
    next: AtomicU64,
    /// The number of records that do not say yet if the actor has started again: read at the end of each actor.
    undecided: AtomicUsize,
}

impl FailureLog {
    pub(super) fn add(&self, event: &FailureEvent) {
        let mut record = FailureRecord::new(event);
        let mut records = self.records.lock();
        record.number = self.next.fetch_add(1, Ordering::Relaxed);
        let oldest = if records.len() < MAX_KEPT {
            None
        } else {
            records.pop_front()
        };
        if oldest
            .as_ref()
            .is_none_or(|oldest| oldest.restarted.is_some())
        {
            self.undecided.fetch_add(1, Ordering::Relaxed);
        }
        records.push_back(record);
        drop(records);
        drop(oldest); // outside the lock
    }

    /// Notes that an actor has started again after its failures, or that it has ended.
    pub(super) fn decide(&self, name: &ActorName, restarted: bool) {
        if self.undecided.load(Ordering::Relaxed) == 0 {
            return; // the usual case
        }
        let urn = name.to_urn();
        let mut records = self.records.lock();
        for record in records.iter_mut().filter(|record| record.urn == urn) {
            if record.restarted.is_none() {
                record.restarted = Some(restarted);
                self.undecided.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn all(&self) -> Vec<FailureRecord> {
        self.records.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    fn event(urn: &str, text: &str) -> FailureEvent {
        FailureEvent {
            urn: Urn::unchecked(urn),
            actor_type: "Worker",
            phase: Phase::Running,
            handler: Some("work"),
            message: Some("Work"),
            failure: Failure::msg(text),
            is_supervised: true,
        }
    }

    fn name(urn: &str) -> ActorName {
        ActorName::Given(Urn::unchecked(urn))
    }

    #[test]
    fn newest_failures_are_kept() {
        let log = FailureLog::default();
        for number in 0..300 {
            log.add(&event("worker", &number.to_string()));
        }
        let all = log.all();
        assert_eq!(all.len(), MAX_KEPT);
        assert_eq!((&*all[0].text, &*all[255].text), ("44", "299"));
        assert_eq!(log.undecided.load(Ordering::Relaxed), MAX_KEPT);
        log.decide(&name("worker"), true);
        assert_eq!(log.undecided.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn decision_is_noted_once_for_the_failures_before_it() {
        let log = FailureLog::default();
        log.add(&event("a", "1"));
        log.add(&event("b", "2"));
        log.decide(&name("a"), true);
        log.add(&event("a", "3"));
        log.decide(&name("a"), false);
        let restarted: Vec<_> = log
            .all()
            .into_iter()
            .map(|record| record.restarted)
            .collect();
        assert_eq!(restarted, [Some(true), None, Some(false)]);
    }

    #[test]
    fn long_texts_are_cut() {
        let log = FailureLog::default();
        log.add(&event("a", &"ü".repeat(300)));
        assert_eq!(log.all()[0].text.len(), 512);
    }
}
