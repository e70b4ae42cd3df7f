//! The fence: the moment until which requests may be executed.

use tokio::sync::watch;
use tokio::time::Instant;

/// The moment until which requests may be executed. Between that moment and the renewer's decision on
/// the lease, no request is.
pub(crate) struct Fence {
    state: watch::Sender<FenceState>,
}

struct FenceState {
    end: Instant,
    lease: LeaseState,
}

/// The state of the lease.
enum LeaseState {
    Held,
    /// The lease was released: requests before the wake are executed, however long that takes, and
    /// none after it.
    Released,
    /// The lease is lost for good, with the reason.
    Lost(String),
}

impl FenceState {
    /// True if requests may be executed; `None` if that is not decided.
    fn is_open(&self) -> Option<bool> {
        match self.lease {
            LeaseState::Released => Some(true),
            LeaseState::Lost(_) => Some(false),
            LeaseState::Held => (Instant::now() < self.end).then_some(true),
        }
    }

    fn is_held(&self) -> bool {
        matches!(self.lease, LeaseState::Held)
    }
}

impl Fence {
    pub(super) fn new(end: Instant) -> Self {
        let lease = LeaseState::Held;
        Self {
            state: watch::Sender::new(FenceState { end, lease }),
        }
    }

    /// Moves the end, which may have passed already; a lost lease stays lost.
    pub(super) fn extend(&self, end: Instant) {
        self.state.send_modify(|state| state.end = end);
    }

    /// Records that the lease was released.
    pub(super) fn release(&self) {
        self.end_lease(LeaseState::Released);
    }

    /// Records that the lease is lost.
    pub(super) fn lose(&self, why: &str) {
        self.end_lease(LeaseState::Lost(why.to_owned()));
    }

    /// Records the first end of the lease; later ones change nothing.
    fn end_lease(&self, lease: LeaseState) {
        self.state.send_if_modified(|state| {
            let is_first = state.is_held();
            if is_first {
                state.lease = lease;
            }
            is_first
        });
    }

    pub(super) fn end(&self) -> Instant {
        self.state.borrow().end
    }

    /// True while requests may be executed.
    pub(crate) fn is_open(&self) -> bool {
        self.state.borrow().is_open() == Some(true)
    }

    /// Waits until requests may be executed; false if they never may again.
    pub(super) async fn opens(&self) -> bool {
        if let Some(is_open) = self.state.borrow().is_open() {
            return is_open;
        }
        let mut changes = self.state.subscribe();
        let settled = changes.wait_for(|state| state.is_open().is_some()).await;
        settled.is_ok_and(|state| state.is_open() == Some(true))
    }

    /// Waits until the lease has ended; true if it was released.
    pub(super) async fn is_released(&self) -> bool {
        let mut changes = self.state.subscribe();
        let settled = changes.wait_for(|state| !state.is_held()).await;
        settled.is_ok_and(|state| matches!(state.lease, LeaseState::Released))
    }

    /// Waits until the lease is lost; returns the reason.
    pub(super) async fn lost(&self) -> String {
        let mut changes = self.state.subscribe();
        let lost = changes.wait_for(|state| matches!(state.lease, LeaseState::Lost(_)));
        // The sender lives as long as `self`.
        match lost.await.as_deref() {
            Ok(FenceState {
                lease: LeaseState::Lost(why),
                ..
            }) => why.clone(),
            _ => unreachable!("waited for a lost lease"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fence_closes_at_its_end_and_opens_again_unless_the_lease_is_lost() {
        const SECOND: Duration = Duration::from_secs(1);
        let start = Instant::now();
        let fence = Fence::new(start + SECOND);
        assert!(fence.opens().await);
        sleep(SECOND).await;
        let change = async {
            sleep(SECOND).await;
            fence.extend(start + 3 * SECOND);
        };
        assert_eq!(tokio::join!(fence.opens(), change), (true, ()));
        assert_eq!(start.elapsed(), 2 * SECOND);

        let change = async {
            sleep(2 * SECOND).await;
            fence.lose("taken");
        };
        assert!(fence.opens().await);
        tokio::join!(fence.lost(), change);
        assert!(!fence.opens().await);
        fence.extend(Instant::now() + SECOND);
        assert!(!fence.opens().await);
    }
}
