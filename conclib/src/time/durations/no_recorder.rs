//! Without the feature `metrics`, no duration is recorded and no clock is read.

#![expect(clippy::unused_self, reason = "the same as with the feature")]

use std::time::Duration;

use super::DurationHistogram;

#[derive(Default)]
pub(crate) struct DurationRecorder(());

impl DurationRecorder {
    pub(crate) fn record(&self, _: Duration) {}

    pub(crate) fn read(&self) -> DurationHistogram {
        DurationHistogram::default()
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stopwatch(());

impl Stopwatch {
    pub(crate) fn begin(&mut self) {}

    pub(crate) fn record(self, _: &DurationRecorder) {}
}
