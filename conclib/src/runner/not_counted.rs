//! Without the feature `metrics`, messages are neither counted by handler nor timed.

#![expect(
    clippy::unused_self,
    clippy::needless_pass_by_ref_mut,
    reason = "the same as with the feature"
)]

use tokio::time::Instant;

use crate::actor::type_counters::TypeNumber;

#[derive(Default)]
pub(super) struct HandledRun(());

impl HandledRun {
    pub(super) fn begin_request(&mut self, _: Option<Instant>, _: Instant, _: TypeNumber) {}

    pub(super) fn begin(&mut self, _: u16, _: TypeNumber) {}

    pub(super) fn handled(&mut self, _: TypeNumber) {}

    pub(super) fn end_timing(&mut self, _: TypeNumber) {}

    pub(super) fn count(&mut self, _: TypeNumber) {}
}
