//! One measurement: a responder and a caller of their own.

use std::path::Path;

use crate::Problem;
use crate::call::Sample;
use crate::children;
use crate::peers::Peer;
use crate::plan::{Row, Spans};

/// A measurement of one peer in one row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measurement<'a> {
    /// The build of this benchmark that responds and calls: both, since their protocol
    /// may differ from build to build.
    pub(crate) program: &'a Path,
    pub(crate) peer: Peer,
    /// Leads to the server.
    pub(crate) port: u16,
    /// The process of the server.
    pub(crate) server: u32,
    pub(crate) row: &'a Row,
    pub(crate) spans: Spans,
}

impl Measurement<'_> {
    /// Starts the two processes, and returns the caller's results.
    ///
    /// # Errors
    ///
    /// A process does not start or does not end well, or a request had no reply or a wrong one.
    pub(crate) fn take(&self) -> Result<Sample, Problem> {
        let responder = children::responder(self)?;
        check(children::call(self, responder.pid())?)
    }
}

/// A measurement in which one request had no reply, or a wrong one, does not count.
fn check(sample: Sample) -> Result<Sample, Problem> {
    let Sample {
        asks, lost, wrong, ..
    } = sample;
    if lost + wrong > 0 {
        let why = sample.problem.unwrap_or_default();
        return Err(format!("{asks} replies, {lost} LOST, {wrong} WRONG {why}").into());
    }
    match asks {
        0 => Err("no reply came in time".into()),
        _ => Ok(sample),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurement_with_a_lost_or_wrong_reply_fails() {
        let good = Sample {
            asks: 5,
            seconds: 1.0,
            ..Sample::default()
        };
        assert!(check(good.clone()).is_ok());
        let lost = Sample {
            lost: 1,
            problem: Some("gone".to_owned()),
            ..good.clone()
        };
        let text = check(lost).map_err(|problem| problem.to_string());
        assert_eq!(text, Err("5 replies, 1 LOST, 0 WRONG gone".to_owned()));
        assert!(check(Sample { wrong: 1, ..good }).is_err());
        assert!(check(Sample::default()).is_err(), "no reply at all");
    }
}
