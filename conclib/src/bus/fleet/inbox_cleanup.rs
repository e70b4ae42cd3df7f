//! Remembers the nodes of members that were removed, whose inboxes are to be deleted. No I/O.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Times after the removal at which a node is forgotten: clients take their requests back before the first,
/// and its lease, which may be as long as a minute, is over by the last.
const DELAYS: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(70)];

/// The number of nodes that are remembered.
const MAX_NODES: usize = 1_024;

/// The nodes of removed members whose inboxes are to be deleted.
#[derive(Default)]
pub(super) struct InboxCleanup {
    /// In the order of their removals.
    nodes: VecDeque<RemovedNode>,
}

struct RemovedNode {
    node: String,
    removed: Instant,
    /// The number of times that it was forgotten.
    attempts: usize,
}

impl InboxCleanup {
    pub(super) fn add(&mut self, node: &str, now: Instant) {
        if self.nodes.len() < MAX_NODES {
            self.nodes.push_back(RemovedNode {
                node: node.to_owned(),
                removed: now,
                attempts: 0,
            });
        }
    }

    /// The nodes that are to be forgotten now.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<String> {
        let mut due = Vec::new();
        for node in &mut self.nodes {
            let delay = DELAYS.get(node.attempts).copied();
            if delay.is_some_and(|delay| node.removed + delay <= now) {
                node.attempts += 1;
                due.push(node.node.clone());
            }
        }
        self.nodes.retain(|node| node.attempts < DELAYS.len());
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_is_forgotten_after_a_while_and_once_more() {
        let start = Instant::now();
        let mut nodes = InboxCleanup::default();
        nodes.add("a", start);
        let due: Vec<_> = (0..100)
            .filter(|second| {
                !nodes
                    .take_due(start + Duration::from_secs(*second))
                    .is_empty()
            })
            .collect();
        assert_eq!(due, [10, 70]);
    }
}
