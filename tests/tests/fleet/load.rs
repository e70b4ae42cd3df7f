//! Callers of a name, and their records.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use conclib::error::Delivered;
use conclib::{AskError, ProxyClient};
use conclib_tests::fleet::Visit;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::fixture::Fleet;

/// The pause of a caller between two requests: the processes of several tests share the processors.
const PAUSE: Duration = Duration::from_millis(5);

/// Callers that make one request after another.
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    callers: JoinSet<Vec<Request>>,
}

/// A caller's record of a request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) number: u64,
    pub(crate) start: Instant,
    pub(crate) took: Duration,
    /// The member that has answered, or the error.
    pub(crate) end: Result<String, AskError>,
}

/// The records of all callers.
pub(crate) struct Requests(pub(crate) Vec<Request>);

/// A caller.
#[derive(Clone)]
struct Caller {
    client: ProxyClient,
    urn: &'static str,
    timeout: Duration,
    nap: u64,
    numbers: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Load {
    /// Starts that many callers of a name; its handler takes 1 ms.
    pub(crate) fn start(
        fleet: &Fleet,
        urn: &'static str,
        callers: usize,
        timeout: Duration,
    ) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let caller = Caller {
            client: fleet.client.clone(),
            urn,
            timeout,
            nap: 1,
            numbers: fleet.numbers(),
            is_over: is_over.clone(),
        };
        let callers = (0..callers).map(|_| caller.clone().call()).collect();
        Self { is_over, callers }
    }

    /// Has the callers stop after their requests.
    pub(crate) async fn stop(self) -> Requests {
        self.is_over.store(true, Ordering::Relaxed);
        let records = self.callers.join_all().await;
        Requests(records.into_iter().flatten().collect())
    }
}

impl Caller {
    async fn call(self) -> Vec<Request> {
        let mut requests = Vec::new();
        while !self.is_over.load(Ordering::Relaxed) {
            requests.push(self.request().await);
            sleep(PAUSE).await;
        }
        requests
    }

    async fn request(&self) -> Request {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (start, nap) = (Instant::now(), self.nap);
        let ask = self.client.ask(self.urn, Visit { number, nap });
        let end = ask.timeout(self.timeout).await;
        Request {
            number,
            start,
            took: start.elapsed(),
            end,
        }
    }
}

impl Requests {
    /// The requests that ended with an error.
    pub(crate) fn failures(&self) -> Vec<&Request> {
        self.0
            .iter()
            .filter(|request| request.end.is_err())
            .collect()
    }

    /// Answers by the member that has given them.
    pub(crate) fn by_member(&self) -> HashMap<&str, usize> {
        let mut answers = HashMap::new();
        for member in self.0.iter().flat_map(|request| &request.end) {
            *answers.entry(&**member).or_default() += 1;
        }
        answers
    }

    /// Checks that each answered request was executed once, each undelivered one never, and none twice.
    pub(crate) fn assert_executed_at_most_once(&self, fleet: &Fleet) {
        let executions = fleet.executions();
        for request in &self.0 {
            let times = executions.get(&request.number).map_or(0, Vec::len);
            let expected = match &request.end {
                Ok(_) => 1..=1,
                Err(error) if error.delivered() == Delivered::No => 0..=0,
                Err(_) => 0..=1,
            };
            assert!(
                expected.contains(&times),
                "{times} executions of {request:?}"
            );
        }
    }

    /// Counts of errors.
    fn errors(&self) -> BTreeMap<String, usize> {
        let mut errors = BTreeMap::new();
        for request in self.failures() {
            let error = format!("{:?}", request.end);
            *errors.entry(error).or_default() += 1;
        }
        errors
    }

    fn percentile(&self, percent: usize) -> Duration {
        let mut times: Vec<_> = self.0.iter().map(|request| request.took).collect();
        times.sort_unstable();
        let last = times.len().saturating_sub(1);
        times.get(last * percent / 100).copied().unwrap_or_default()
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, longest] = [50, 99, 100].map(|percent| self.percentile(percent));
        write!(
            f,
            "{} requests, p50 {p50:.1?}, p99 {p99:.1?}, longest {longest:.1?}, errors {:?}, by member {:?}",
            self.0.len(),
            self.errors(),
            self.by_member(),
        )
    }
}
