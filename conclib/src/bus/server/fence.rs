//! The fence: the moment until which requests may be executed. That is the time at which the last
//! renewal of the lease was sent, plus its duration, less a margin.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The part of a lease's duration before its end at which the fence closes: for clocks that run at
/// different speeds, and for the time that a handler takes to start. Half a second of 6 s.
const MARGIN: u32 = 12;

/// The moment until which requests may be executed. After it, no request begins until the renewer has
/// extended the lease or lost it.
pub(crate) struct Fence {
    state: watch::Sender<FenceState>,
    /// Time that the lease lasts after a renewal.
    length: Duration,
}

struct FenceState {
    end: Instant,
    lease: LeaseState,
    /// Present if the bus itself has said that the lease is not this system's.
    denied_by: Option<DeniedBy>,
}

/// The command by which the bus has said that a lease is not this system's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeniedBy {
    /// A renewal, or another one that changes the lease.
    Lease,
    /// A pop, on a connection of its own: the lease may stand all the same where it was taken.
    Pop,
}

/// The state of the lease.
enum LeaseState {
    Held,
    /// The lease is held, and clients know that no more requests are taken: those in front of the wake
    /// frame, which went into the inbox along with that, are executed, and none behind it.
    Closed,
    /// The lease was closed and then released: requests in front of the wake frame are executed, however
    /// long that takes.
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
            LeaseState::Held | LeaseState::Closed => (Instant::now() < self.end).then_some(true),
        }
    }

    /// True if requests are taken while the fence is open.
    fn is_serving(&self) -> bool {
        matches!(self.lease, LeaseState::Held)
    }

    fn is_held(&self) -> bool {
        matches!(self.lease, LeaseState::Held | LeaseState::Closed)
    }
}

impl Fence {
    /// A fence for a lease of this length whose acquisition was sent at that time.
    pub(super) fn new(sent: Instant, length: Duration) -> Self {
        let state = FenceState {
            end: sent + length - length / MARGIN,
            lease: LeaseState::Held,
            denied_by: None,
        };
        Self {
            state: watch::Sender::new(state),
            length,
        }
    }

    /// Moves the end after a renewal of the lease that was sent at that time; a lost lease stays lost.
    pub(super) fn renewed(&self, sent: Instant) {
        let end = sent + self.length - self.length / MARGIN;
        self.state.send_modify(|state| state.end = end);
    }

    /// Records that no more requests are taken, and clients know.
    pub(super) fn close(&self) {
        self.change(LeaseState::Closed, FenceState::is_serving);
    }

    /// Records that the lease was released after it was closed.
    pub(super) fn release(&self) {
        self.change(LeaseState::Released, |state| {
            matches!(state.lease, LeaseState::Closed)
        });
    }

    /// Records that the lease is lost, unless it was released.
    pub(super) fn lose(&self, why: &str) {
        self.change(LeaseState::Lost(why.to_owned()), FenceState::is_held);
    }

    /// Records that the lease is lost, as the bus itself has said: it is there, and an attempt to take the
    /// lease again learns at once which system has it.
    pub(super) fn deny(&self, why: &str) {
        self.lose_by(DeniedBy::Lease, why);
    }

    /// The same, as a pop has said.
    pub(super) fn contest(&self, why: &str) {
        self.lose_by(DeniedBy::Pop, why);
    }

    fn lose_by(&self, command: DeniedBy, why: &str) {
        self.state.send_if_modified(|state| {
            let is_first = state.is_held();
            if is_first {
                state.lease = LeaseState::Lost(why.to_owned());
                state.denied_by = Some(command);
            }
            is_first
        });
    }

    /// The command that has denied the lease, if one has.
    pub(super) fn denied_by(&self) -> Option<DeniedBy> {
        self.state.borrow().denied_by
    }

    /// The reason for which the lease is lost, if the bus has said so.
    pub(super) fn denial(&self) -> Option<String> {
        match &*self.state.borrow() {
            FenceState {
                lease: LeaseState::Lost(why),
                denied_by: Some(_),
                ..
            } => Some(why.clone()),
            _ => None,
        }
    }

    /// Changes the state of the lease, if it is still one from which that is possible.
    fn change(&self, lease: LeaseState, is_possible: impl Fn(&FenceState) -> bool) {
        self.state.send_if_modified(|state| {
            let changes = is_possible(state);
            if changes {
                state.lease = lease;
            }
            changes
        });
    }

    /// The time at which the lease expires if it is not renewed.
    pub(super) fn lease_end(&self) -> Instant {
        self.state.borrow().end + self.length / MARGIN
    }

    /// True while requests may be executed.
    pub(crate) fn is_open(&self) -> bool {
        self.state.borrow().is_open() == Some(true)
    }

    /// True while the lease is held, and requests may be executed.
    pub(crate) fn is_held(&self) -> bool {
        let state = self.state.borrow();
        state.is_held() && state.is_open() == Some(true)
    }

    /// True while the lease is held, and requests are taken.
    pub(crate) fn is_serving(&self) -> bool {
        let state = self.state.borrow();
        state.is_serving() && state.is_open() == Some(true)
    }

    /// True if the lease was closed, and is held.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state.borrow().lease, LeaseState::Closed)
    }

    /// Waits until requests may be executed; false if they never may again.
    pub(super) async fn wait_open(&self) -> bool {
        if let Some(is_open) = self.state.borrow().is_open() {
            return is_open;
        }
        let mut changes = self.state.subscribe();
        let settled = changes.wait_for(|state| state.is_open().is_some()).await;
        settled.is_ok_and(|state| state.is_open() == Some(true))
    }

    /// Waits until no more requests are taken: the lease is closed or lost.
    pub(super) async fn ended(&self) {
        self.closed().await;
    }

    /// Waits until no more requests are taken; true if clients know that, by the closed lease.
    pub(super) async fn closed(&self) -> bool {
        let mut changes = self.state.subscribe();
        let settled = changes.wait_for(|state| !state.is_serving()).await;
        settled.is_ok_and(|state| matches!(state.lease, LeaseState::Closed | LeaseState::Released))
    }

    /// Waits until the lease is not held any more.
    pub(super) async fn left(&self) {
        let mut changes = self.state.subscribe();
        drop(changes.wait_for(|state| !state.is_held()).await);
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
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fence_closes_at_its_end_and_opens_again_unless_the_lease_is_lost() {
        const SECOND: Duration = Duration::from_secs(1);
        const OPEN: Duration = Duration::from_millis(5_500);
        let start = Instant::now();
        let fence = Fence::new(start, 6 * SECOND);
        assert!(fence.wait_open().await);
        sleep(OPEN.saturating_sub(Duration::from_millis(1))).await;
        assert!(fence.is_open());
        sleep(Duration::from_millis(1)).await;
        assert!(!fence.is_open());
        let change = async {
            sleep(SECOND).await;
            fence.renewed(start + 3 * SECOND);
        };
        assert_eq!(tokio::join!(fence.wait_open(), change), (true, ()));
        assert_eq!(start.elapsed(), OPEN + SECOND);

        let change = async {
            sleep(2 * SECOND).await;
            fence.lose("taken");
        };
        assert!(fence.wait_open().await);
        tokio::join!(fence.lost(), change);
        assert!(!fence.wait_open().await);
        fence.renewed(Instant::now());
        assert!(!fence.wait_open().await);
        fence.close();
        assert!(!fence.closed().await);
    }

    #[tokio::test(start_paused = true)]
    async fn closed_lease_is_held_until_it_is_released_or_lost() {
        const LENGTH: Duration = Duration::from_secs(6);
        let closed = || {
            let fence = Fence::new(Instant::now(), LENGTH);
            fence.release();
            assert!(fence.is_serving(), "it was not closed before");
            fence.close();
            fence
        };
        let (one, other) = (closed(), closed());
        assert!(one.closed().await && one.is_closed() && one.is_held() && !one.is_serving());
        sleep(LENGTH).await;
        assert!(!one.is_open() && !one.is_held(), "it was not renewed");
        one.renewed(Instant::now());
        assert!(one.is_open());
        one.release();
        one.lose("late");
        sleep(LENGTH).await;
        assert!(one.is_open() && one.closed().await && !one.is_held() && !one.is_closed());
        other.lose("taken");
        assert!(!other.closed().await && !other.wait_open().await && !other.is_held());
    }

    #[tokio::test]
    async fn first_end_says_whether_the_bus_has_denied_the_lease() {
        let (denied, lost) = (
            Fence::new(Instant::now(), Duration::from_secs(6)),
            Fence::new(Instant::now(), Duration::from_secs(6)),
        );
        assert_eq!(denied.denial(), None);
        denied.deny("taken");
        denied.lose("late");
        assert_eq!(denied.denial().as_deref(), Some("taken"));
        assert_eq!(denied.denied_by(), Some(DeniedBy::Lease));
        assert_eq!(denied.lost().await, "taken");
        lost.lose("run out");
        lost.contest("taken");
        assert_eq!((lost.denial(), lost.denied_by()), (None, None));
        assert_eq!(lost.lost().await, "run out");
    }
}
