//! The frame of a lease.

use std::time::Duration;

use serde::de::IgnoredAny;

use crate::bus::protocol::{Prefix, Problem, VERSION, cut, unpack};
use crate::bus::transport::{Epoch, LeaseHolder, LeaseRecord};
use crate::error::AskError;

/// The duration of a lease that does not say its own, in ms.
const DEFAULT_LENGTH: u64 = 6_000;

impl LeaseRecord {
    /// Decodes a lease. The transports encode leases, Redis in part by a script.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a bus in memory needs none")
    )]
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Problem> {
        type Elements = (u64, Prefix<(u8, u8)>, Prefix<(u64,)>);
        type Whole = (u64, Prefix<(u8, u8)>, Prefix<(u64,)>, u64, bool);
        let whole = unpack::<Whole>(bytes).or_else(|_| {
            // Another version may have other elements there.
            let (epoch, versions, limits) = unpack::<Elements>(bytes)?;
            Ok((epoch, versions, limits, DEFAULT_LENGTH, true))
        });
        let (epoch, Prefix(versions), Prefix((max_frame,)), length, serves) = whole?;
        Ok(Self {
            epoch: Epoch(epoch),
            versions,
            max_frame,
            length: Duration::from_millis(length),
            serves,
        })
    }

    /// The same lease if its owner takes requests: for clients others are as good as none.
    pub(crate) fn serving(self) -> Option<Self> {
        self.serves.then_some(self)
    }

    /// The error for a client that speaks none of the owner's versions.
    pub(crate) fn check_version(&self) -> Result<(), AskError> {
        let (lowest, highest) = self.versions;
        if (lowest..=highest).contains(&VERSION) {
            return Ok(());
        }
        Err(AskError::Incompatible {
            reason: format!("the actor system speaks {lowest} to {highest}, this client {VERSION}"),
        })
    }
}

impl LeaseHolder {
    /// Decodes a lease, and the instance of its owner: "" if it does not say one, as owners of earlier versions.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a bus in memory needs none")
    )]
    pub(crate) fn decode(bytes: &[u8]) -> Result<(LeaseRecord, String), Problem> {
        type Elements = (
            IgnoredAny,
            IgnoredAny,
            IgnoredAny,
            IgnoredAny,
            IgnoredAny,
            String,
        );
        let lease = LeaseRecord::decode(bytes)?;
        let instance = unpack::<Elements>(bytes).map(|(_, _, _, _, _, instance)| instance);
        Ok((lease, cut(&instance.unwrap_or_default()).to_owned()))
    }
}
