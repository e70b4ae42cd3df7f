//! The search for entries of earlier processes of the same instance: one after another, until none is
//! left to such a process. No I/O.

use std::time::Duration;

use tokio::time::Instant;

use crate::bus::transport::stream::{EntryId, ForeignPage};

/// A search for entries that are to be claimed.
#[derive(Default)]
pub(crate) struct DueScan {
    /// The entry after which the search continues.
    pub(crate) cursor: EntryId,
    /// There are more entries, which are not to wait for the next search.
    pub(crate) has_more: bool,
}

/// The pause before a search begins again that was interrupted.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The search for entries of earlier processes of the same instance.
#[derive(Default)]
pub(crate) struct Inheritance {
    scan: DueScan,
    /// Entries were left to a process that has stopped in good order, and may still handle them.
    has_alive: bool,
    /// The time of the next search.
    again: Option<Instant>,
    /// The time until which a process that was replaced may read more entries.
    until: Option<Instant>,
}

impl Inheritance {
    /// Begins the first search. A process that was replaced may read more entries `until` then.
    pub(crate) fn begin(until: Instant) -> Self {
        Self {
            scan: DueScan::from_start(),
            has_alive: false,
            again: None,
            until: Some(until),
        }
    }

    /// Begins the next search if its time has come.
    pub(crate) fn repeat_if_due(&mut self, now: Instant) {
        if self.again.is_some_and(|again| again <= now) {
            self.again = None;
            self.has_alive = false;
            self.scan = DueScan::from_start();
        }
    }

    /// True during a search.
    pub(crate) fn is_under_way(&self) -> bool {
        self.scan.has_more
    }

    /// The entry after which the search continues.
    pub(crate) fn cursor(&self) -> EntryId {
        self.scan.cursor
    }

    /// Continues behind a page.
    pub(crate) fn proceed(&mut self, page: &ForeignPage) {
        self.has_alive |= page.has_alive;
        self.scan = DueScan {
            cursor: page.next.unwrap_or_default(),
            has_more: page.next.is_some(),
        };
    }

    /// Interrupts a search, which begins anew later.
    pub(crate) fn interrupt(&mut self, now: Instant) {
        self.scan = DueScan::default();
        self.again = Some(now + RETRY_PAUSE);
    }

    /// Ends a search. `pause` is that before the next one, if entries were left to another process.
    pub(crate) fn end(&mut self, now: Instant, pause: Duration) {
        self.again = if self.has_alive {
            Some(now + pause)
        } else {
            self.until.filter(|until| now < *until)
        };
    }

    /// The time at which there is something to search.
    pub(crate) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        self.scan.has_more.then_some(now).or(self.again)
    }
}

impl DueScan {
    fn from_start() -> Self {
        Self {
            has_more: true,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_go_on_while_entries_are_left_to_another_process() {
        const SECOND: Duration = Duration::from_secs(1);
        let now = Instant::now();
        let page = |next, has_alive| ForeignPage {
            has_alive,
            next,
            ..ForeignPage::default()
        };
        let mut search = Inheritance::begin(now + 6 * SECOND);
        search.proceed(&page(Some(EntryId(7, 0)), true));
        assert_eq!(
            (search.is_under_way(), search.cursor()),
            (true, EntryId(7, 0))
        );
        assert_eq!(search.wakes_at(now), Some(now));
        search.proceed(&page(None, false));
        assert!(!search.is_under_way());
        search.end(now, 2 * SECOND);
        assert_eq!(search.wakes_at(now), Some(now + 2 * SECOND));
        search.repeat_if_due(now + SECOND);
        assert!(!search.is_under_way());

        let now = now + 2 * SECOND;
        search.repeat_if_due(now);
        assert_eq!(
            (search.is_under_way(), search.cursor()),
            (true, EntryId::default())
        );
        search.interrupt(now);
        assert_eq!(search.wakes_at(now), Some(now + RETRY_PAUSE));
        search.repeat_if_due(now + RETRY_PAUSE);
        search.proceed(&page(None, false));
        // The last one is for a process that was replaced.
        search.end(now, 2 * SECOND);
        assert_eq!(search.wakes_at(now), Some(now + 4 * SECOND));
        search.repeat_if_due(now + 4 * SECOND);
        search.proceed(&page(None, false));
        search.end(now + 4 * SECOND, 2 * SECOND);
        assert_eq!(search.wakes_at(now), None);
    }
}
