//! Until when requests may be executed.

use tokio::sync::watch;
use tokio::time::Instant;

/// Until when requests may be executed. Between its end and the keeper's verdict, nothing is.
pub(crate) struct Fence {
    state: watch::Sender<State>,
}

struct State {
    end: Instant,
    verdict: Verdict,
}

/// What has become of the lease.
enum Verdict {
    Held,
    /// It was given back: what comes before the wake is executed, however long that takes, and
    /// nothing that comes after.
    Released,
    /// It is lost for good, and why.
    Lost(String),
}

impl State {
    /// Whether requests may be executed; `None` if that is not decided.
    fn is_open(&self) -> Option<bool> {
        match self.verdict {
            Verdict::Released => Some(true),
            Verdict::Lost(_) => Some(false),
            Verdict::Held => (Instant::now() < self.end).then_some(true),
        }
    }

    fn is_held(&self) -> bool {
        matches!(self.verdict, Verdict::Held)
    }
}

impl Fence {
    pub(super) fn new(end: Instant) -> Self {
        let verdict = Verdict::Held;
        Self {
            state: watch::Sender::new(State { end, verdict }),
        }
    }

    /// Moves the end, which may have come already; what is lost stays lost.
    pub(super) fn extend(&self, end: Instant) {
        self.state.send_modify(|state| state.end = end);
    }

    /// The lease was given back.
    pub(super) fn release(&self) {
        self.decide(Verdict::Released);
    }

    /// The lease is lost.
    pub(super) fn lose(&self, why: &str) {
        self.decide(Verdict::Lost(why.to_owned()));
    }

    /// The first verdict counts.
    fn decide(&self, verdict: Verdict) {
        self.state.send_if_modified(|state| {
            let counts = state.is_held();
            if counts {
                state.verdict = verdict;
            }
            counts
        });
    }

    pub(super) fn end(&self) -> Instant {
        self.state.borrow().end
    }

    /// True while requests may be executed.
    pub(crate) fn is_open(&self) -> bool {
        self.state.borrow().is_open() == Some(true)
    }

    /// Waits until it is open; false if it will never be.
    pub(super) async fn opens(&self) -> bool {
        if let Some(is_open) = self.state.borrow().is_open() {
            return is_open;
        }
        let mut changes = self.state.subscribe();
        let settled = changes.wait_for(|state| state.is_open().is_some()).await;
        settled.is_ok_and(|state| state.is_open() == Some(true))
    }

    /// Waits for the verdict; true if the lease was given back.
    pub(super) async fn is_released(&self) -> bool {
        let mut changes = self.state.subscribe();
        let settled = changes.wait_for(|state| !state.is_held()).await;
        settled.is_ok_and(|state| matches!(state.verdict, Verdict::Released))
    }

    /// Waits until it is lost, and says why.
    pub(super) async fn lost(&self) -> String {
        let mut changes = self.state.subscribe();
        let lost = changes.wait_for(|state| matches!(state.verdict, Verdict::Lost(_)));
        // The sender lives as long as this.
        match lost.await.as_deref() {
            Ok(State {
                verdict: Verdict::Lost(why),
                ..
            }) => why.clone(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fence_closes_by_itself_and_opens_again_unless_it_is_lost() {
        const SECOND: Duration = Duration::from_secs(1);
        let start = Instant::now();
        let fence = Fence::new(start + SECOND);
        assert!(fence.opens().await);
        sleep(SECOND).await;
        let verdict = async {
            sleep(SECOND).await;
            fence.extend(start + 3 * SECOND);
        };
        assert_eq!(tokio::join!(fence.opens(), verdict), (true, ()));
        assert_eq!(start.elapsed(), 2 * SECOND);

        let verdict = async {
            sleep(2 * SECOND).await;
            fence.lose("taken");
        };
        assert!(fence.opens().await);
        tokio::join!(fence.lost(), verdict);
        assert!(!fence.opens().await);
        fence.extend(Instant::now() + SECOND);
        assert!(!fence.opens().await);
    }
}
