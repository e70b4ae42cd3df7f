//! A walk through all listed names, to free those of members that were removed. No I/O.

use crate::bus::transport::fleet::{MapVersion, SHARDS};

/// The walk, and its position.
#[derive(Clone, Copy)]
pub(super) struct Sweep {
    /// The version of the map up to which removed members are covered.
    pub(super) unswept_since: MapVersion,
    pub(super) shard: u8,
    /// The position within the shard.
    pub(super) position: u64,
}

impl Sweep {
    pub(super) fn of(unswept_since: MapVersion) -> Self {
        Self {
            unswept_since,
            shard: 0,
            position: 0,
        }
    }

    /// The rest of the walk after a step that has led to that position; `None` at its end.
    pub(super) fn after(self, position: u64) -> Option<Self> {
        let next = self.shard + 1;
        if position > 0 {
            Some(Self { position, ..self })
        } else if next < SHARDS {
            let shard = next;
            Some(Self {
                shard,
                position,
                ..self
            })
        } else {
            None
        }
    }
}
