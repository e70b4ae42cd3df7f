//! Pages on what no single item describes.
//!
//! They are part of this documentation only, and no program can name this module. The repository has more of
//! them.

#[doc = include_str!("../docs/reliability.md")]
pub mod reliability {}

#[doc = include_str!("../docs/security.md")]
pub mod security {}

#[doc = include_str!("../docs/fleet.md")]
pub mod fleet {}

#[doc = include_str!("../docs/logging.md")]
pub mod logging {}

#[doc = include_str!("../docs/changing-a-message.md")]
pub mod changing_a_message {}

#[doc = include_str!("../docs/metrics.md")]
pub mod metrics {}

#[doc = include_str!("../docs/tracing.md")]
pub mod tracing {}

#[doc = include_str!("../docs/operation.md")]
pub mod operation {}

#[doc = include_str!("../docs/tool.md")]
pub mod tool {}
