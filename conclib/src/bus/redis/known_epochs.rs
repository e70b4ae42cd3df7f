//! Epochs whose inboxes a server may have to delete. No I/O.

use parking_lot::Mutex;

use crate::bus::transport::Epoch;

/// Number of epochs that are remembered.
const CAPACITY: usize = 9;

/// The last epochs that this server has seen, the newest first: its own, and those of other owners of
/// the lease. A bus that lost its data knows of none.
#[derive(Default)]
pub(super) struct KnownEpochs(Mutex<Vec<Epoch>>);

impl KnownEpochs {
    /// Adds newer epochs, the newest first.
    pub(super) fn add(&self, newer: Vec<Epoch>) {
        let mut all = self.0.lock();
        all.retain(|epoch| !newer.contains(epoch));
        all.splice(..0, newer);
        all.truncate(CAPACITY);
    }

    /// Every known epoch except `current`.
    pub(super) fn former(&self, current: Epoch) -> Vec<Epoch> {
        let all = self.0.lock();
        all.iter()
            .copied()
            .filter(|known| *known != current)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_epochs_are_remembered() {
        let known = KnownEpochs::default();
        (0..20).for_each(|number| known.add(vec![Epoch(number)]));
        known.add(vec![Epoch(19), Epoch(18)]);
        let former = known.former(Epoch(19));
        assert_eq!(former.len(), CAPACITY - 1);
        assert_eq!(former[0], Epoch(18));
    }
}
