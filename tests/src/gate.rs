//! Gates: points at which a handler waits until the test lets it continue.

use tokio::sync::oneshot;

use crate::wait::within;

/// The handler's side of a gate.
#[derive(Debug)]
pub struct Gate {
    /// Tells the test that the handler has reached the gate.
    reached: oneshot::Sender<()>,
    /// Ends when the gate is opened, or its handle dropped.
    opened: oneshot::Receiver<()>,
}

/// The test's side of a [`Gate`]; dropping it opens the gate.
#[derive(Debug)]
pub struct GateHandle {
    reached: oneshot::Receiver<()>,
    open: oneshot::Sender<()>,
}

/// A closed gate and its handle.
pub fn gate() -> (Gate, GateHandle) {
    let (reached, is_reached) = oneshot::channel();
    let (open, opened) = oneshot::channel();
    let handle = GateHandle {
        reached: is_reached,
        open,
    };
    (Gate { reached, opened }, handle)
}

impl Gate {
    /// Waits until the gate is open.
    pub async fn pass(self) {
        let _ = self.reached.send(()); // the test need not wait for that
        drop(self.opened.await);
    }
}

impl GateHandle {
    /// Waits until a handler has reached the gate.
    ///
    /// # Panics
    ///
    /// If the gate is dropped first, or it takes too long.
    pub async fn reached(&mut self) {
        let reached = within(&mut self.reached).await;
        reached.expect("a handler reaches the gate");
    }

    /// Opens the gate.
    pub fn open(self) {
        let _ = self.open.send(());
    }
}
