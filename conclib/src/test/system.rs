//! A system that fails the test if one of its actors fails.

use std::fmt::{self, Write};
use std::ops::Deref;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::error::Failure;
use crate::system::{ActorSystem, ShutdownReport};
use crate::urn::Urn;

/// An [`ActorSystem`] that fails the test when an actor of it fails: when a handler or `on_start`
/// panics or returns a [`Failure`], or when `on_stop` or `on_failure` panics.
///
/// It may be used wherever a system is. [`finish`](Self::finish) shuts it down and panics with the
/// list of failures; merely dropping it panics as well, but sees only earlier failures: it does not
/// wait for an actor that fails later, or on another thread at this very moment.
///
/// ```
/// use conclib::prelude::*;
/// use conclib::test::TestSystem;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// struct Burn;
///
/// #[derive(Actor)]
/// #[actor(urn = "match/1")]
/// struct Match;
///
/// #[handlers]
/// impl Match {
///     #[handler]
///     fn burn(&mut self, _: Burn) -> Result<(), Failure> { Err(Failure::msg("it is wet")) }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let system = TestSystem::new();
/// let wet = system.spawn(Match).await?;
/// assert!(matches!(wet.ask(Burn).await, Err(AskError::Failed { .. })));
///
/// system.expect_failure("match/*"); // without this, the next line panics
/// system.finish().await;
/// # Ok(()) }
/// ```
///
/// # Panics
///
/// On drop, if an actor failed that was not [expected](Self::expect_failure) to, or did not fail that
/// was; but not while the thread panics already: then it prints the list.
pub struct TestSystem {
    system: ActorSystem,
    /// Shared with the observer of the system's failures.
    record: Arc<Mutex<FailureRecord>>,
    /// The problems have been reported.
    finished: bool,
}

/// Failures, and the expected ones.
#[derive(Default)]
struct FailureRecord {
    /// In the order in which they came.
    failures: Vec<(Urn, Failure)>,
    /// URNs, or patterns with `*`.
    expected: Vec<String>,
}

impl TestSystem {
    /// An empty system.
    pub fn new() -> Self {
        let system = ActorSystem::new();
        let record = Arc::<Mutex<FailureRecord>>::default();
        let observed = record.clone();
        system.on_failure(move |event| {
            let failure = (event.urn.clone(), event.failure.clone());
            lock(&observed).failures.push(failure);
        });
        Self {
            system,
            record,
            finished: false,
        }
    }

    /// Expects an actor to fail in this test, at least once: a URN, or a pattern in which `*` stands for
    /// any text, as in `user/*`. If no actor does, the test fails.
    ///
    /// It may be called before or after the failure.
    pub fn expect_failure(&self, urn: impl Into<String>) {
        lock(&self.record).expected.push(urn.into());
    }

    /// Shuts the system down (see [`ActorSystem::shutdown`]: actors that do not stop within 10 s are
    /// killed) and reports problems.
    ///
    /// # Panics
    ///
    /// With a list, if an actor failed that was not [expected](Self::expect_failure) to, did not
    /// fail that was, or did not stop in time.
    pub async fn finish(mut self) {
        let report = self.system.shutdown().await;
        self.finished = true;
        let problems = lock(&self.record).problems(&report);
        if let Some(problems) = problems {
            panic!("{problems}");
        }
    }
}

impl Deref for TestSystem {
    type Target = ActorSystem;

    fn deref(&self) -> &ActorSystem {
        &self.system
    }
}

impl Default for TestSystem {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TestSystem {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let problems = lock(&self.record).problems(&ShutdownReport::default());
        match problems {
            None => {}
            // The cause of the panic is often one of these.
            Some(problems) if std::thread::panicking() => eprintln!("{problems}"),
            Some(problems) => panic!("{problems}"),
        }
    }
}

impl fmt::Debug for TestSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = lock(&self.record);
        f.debug_struct("TestSystem")
            .field("system", &self.system)
            .field("failures", &record.failures)
            .field("expected", &record.expected)
            .finish_non_exhaustive()
    }
}

impl FailureRecord {
    /// The problems, one line each; `None` if there are none.
    fn problems(&self, report: &ShutdownReport) -> Option<String> {
        let mut problems = String::new();
        let mut list = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                let _ = write!(problems, "{title}:\n  {}\n", lines.join("\n  "));
            }
        };
        list("actors failed", self.unexpected());
        list("no actor failed, but was to", self.missed());
        list(
            "actors did not stop in time and were killed",
            name(&report.killed),
        );
        list("actors do not stop", name(&report.stuck));
        (!problems.is_empty()).then_some(problems)
    }

    fn unexpected(&self) -> Vec<String> {
        let failures = self.failures.iter().filter(|(urn, _)| {
            let expected = &mut self.expected.iter();
            !expected.any(|pattern| matches(pattern, urn.as_str()))
        });
        failures
            .map(|(urn, failure)| format!("`{urn}`: {failure}"))
            .collect()
    }

    fn missed(&self) -> Vec<String> {
        let missed = self.expected.iter().filter(|pattern| {
            let failures = &mut self.failures.iter();
            !failures.any(|(urn, _)| matches(pattern, urn.as_str()))
        });
        missed.map(|pattern| format!("`{pattern}`")).collect()
    }
}

fn name(urns: &[Urn]) -> Vec<String> {
    urns.iter().map(|urn| format!("`{urn}`")).collect()
}

/// True if the text matches the pattern, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    ends.any(|at| matches(rest, &text[at..]))
}

fn lock(record: &Mutex<FailureRecord>) -> MutexGuard<'_, FailureRecord> {
    record.lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_matches_any_text() {
        for (pattern, text) in [
            ("user/42", "user/42"),
            ("user/*", "user/42"),
            ("user/*", "user/"),
            ("*", "größe"),
            ("*/42", "user/42/42"),
            ("u*r/*2", "user/42"),
            ("*ß*", "größe"),
            ("**", ""),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("user", "user/42"),
            ("user/*", "users/42"),
            ("*/4", "user/42"),
            ("user/42*42", "user/42"),
            ("", "user"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn every_problem_is_named() {
        let urn = |text: &str| Urn::new(text).unwrap();
        let mut record = FailureRecord::default();
        let mut report = ShutdownReport::default();
        assert_eq!(record.problems(&report), None);

        let failure = Failure::msg("no disk");
        record.failures.push((urn("user/1"), failure.clone()));
        record.failures.push((urn("log"), failure));
        record.expected.push("user/*".to_owned());
        record.expected.push("web".to_owned());
        report.killed.push(urn("slow"));
        report.stuck.push(urn("mad"));
        let problems = "actors failed:\n  `log`: no disk\n\
                        no actor failed, but was to:\n  `web`\n\
                        actors did not stop in time and were killed:\n  `slow`\n\
                        actors do not stop:\n  `mad`\n";
        assert_eq!(record.problems(&report).as_deref(), Some(problems));
    }
}
