//! The links of a client to nodes other than that of its config.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::bus::client::node_link::NodeLink;

/// The links of a client by the names of their nodes. A link is kept while it is used, and for a while
/// after that.
#[derive(Default)]
pub(super) struct Links {
    by_node: Mutex<HashMap<String, Arc<NodeLink>>>,
}

impl Links {
    /// The link to a node; a new one is made by `make`, and given to `begin`.
    pub(super) fn get(
        &self,
        node: &str,
        make: impl FnOnce() -> NodeLink,
        begin: impl FnOnce(Arc<NodeLink>),
    ) -> Arc<NodeLink> {
        let mut links = self.by_node.lock();
        match links.entry(node.to_owned()) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => {
                let link = place.insert(Arc::new(make())).clone();
                begin(link.clone());
                link
            }
        }
    }

    /// Forgets a link that only this table and its driver refer to; false if it is used.
    pub(super) fn forget_unused(&self, link: &Arc<NodeLink>) -> bool {
        let mut links = self.by_node.lock();
        // A user takes its reference from the table, under its lock, or from one that it has.
        let is_unused = Arc::strong_count(link) <= 2 && link.queue.is_empty();
        if is_unused {
            links.retain(|_, known| !Arc::ptr_eq(known, link));
        }
        is_unused
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_node.lock().len()
    }
}
