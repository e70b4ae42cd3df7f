//! Callers that ask, and the results that they collect.

use std::future::Future;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Problem;
use crate::histogram::Histogram;
use crate::payload;
use crate::plan::Spans;

/// The longest wait for the last replies: longer than the timeout of every peer.
const LAST_REPLIES: Duration = Duration::from_secs(15);

/// The asking end of a peer: a clone for each caller.
pub(crate) trait Ask: Clone + Send + 'static {
    type Reply: AsRef<[u8]> + Send;

    /// Sends the payload to the responder, which sends it back.
    fn ask(&self, payload: Vec<u8>) -> impl Future<Output = Result<Self::Reply, Problem>> + Send;
}

/// Replies do not count yet.
const WARM_UP: u8 = 0;
/// Replies count.
const MEASURED: u8 = 1;
/// The callers stop.
const OVER: u8 = 2;

/// The state that all callers of a measurement share.
#[derive(Debug)]
pub(crate) struct Load {
    /// One of the three above.
    phase: AtomicU8,
    /// From request to reply, while it is measured.
    pub(crate) times: Histogram,
    /// Requests without a reply.
    pub(crate) lost: AtomicU64,
    /// Requests with a reply that is not theirs.
    pub(crate) wrong: AtomicU64,
    /// The error of the first lost request.
    pub(crate) problem: Mutex<Option<String>>,
}

impl Load {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            phase: AtomicU8::new(WARM_UP),
            times: Histogram::default(),
            lost: AtomicU64::new(0),
            wrong: AtomicU64::new(0),
            problem: Mutex::default(),
        })
    }

    /// True while the callers are to ask.
    pub(crate) fn goes_on(&self) -> bool {
        self.phase.load(Relaxed) != OVER
    }

    /// Waits for the warm-up and the measured time, and returns the latter. `look` reads
    /// the usage of the processes, at its beginning and at its end.
    pub(crate) fn pass<T>(&self, spans: Spans, look: impl Fn() -> T) -> (Duration, [T; 2]) {
        sleep(spans.warm_up);
        let before = look();
        let began = Instant::now();
        self.phase.store(MEASURED, Relaxed);
        sleep(spans.measured);
        self.phase.store(OVER, Relaxed);
        let took = began.elapsed();
        (took, [before, look()])
    }

    /// Counts the outcome of a request; false if it was lost.
    pub(crate) fn judge(
        &self,
        request: &Request,
        took: Duration,
        outcome: Result<impl AsRef<[u8]>, Problem>,
    ) -> bool {
        match outcome {
            Ok(reply) if !payload::is(reply.as_ref(), request.number(), request.size) => {
                self.wrong.fetch_add(1, Relaxed);
            }
            Ok(_) => {
                if self.phase.load(Relaxed) == MEASURED {
                    self.times.count(request.caller, took);
                }
            }
            Err(problem) => {
                self.lose(1, &problem.to_string());
                return false;
            }
        }
        true
    }

    fn lose(&self, number: u64, why: &str) {
        self.lost.fetch_add(number, Relaxed);
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        problem.get_or_insert_with(|| why.to_owned());
    }
}

/// One request of one caller.
pub(crate) struct Request {
    pub(crate) caller: usize,
    /// The number of earlier requests of the caller.
    pub(crate) turn: u32,
    /// Bytes of its payload.
    pub(crate) size: usize,
}

impl Request {
    /// The first request of a caller.
    pub(crate) fn first(caller: usize, size: usize) -> Self {
        Self {
            caller,
            turn: 0,
            size,
        }
    }

    pub(crate) fn payload(&self) -> Vec<u8> {
        payload::make(self.number(), self.size)
    }

    /// No two requests of a measurement have the same.
    fn number(&self) -> u64 {
        (self.caller as u64) << 32 | u64::from(self.turn)
    }
}

/// Starts the callers.
pub(crate) fn start(
    load: &Arc<Load>,
    asker: &impl Ask,
    callers: usize,
    size: usize,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        tasks.spawn(ask_on(
            load.clone(),
            asker.clone(),
            Request::first(caller, size),
        ));
    }
    tasks
}

/// One caller: asks one request after another. It ends when one is lost, since the measurement has
/// failed then.
async fn ask_on(load: Arc<Load>, asker: impl Ask, mut request: Request) {
    while load.goes_on() {
        let payload = request.payload();
        let began = Instant::now();
        let outcome = asker.ask(payload).await;
        if !load.judge(&request, began.elapsed(), outcome) {
            return;
        }
        request.turn += 1;
    }
}

/// Waits for the callers' last replies; missing ones are lost.
pub(crate) async fn finish(load: &Load, mut tasks: JoinSet<()>) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if timeout(LAST_REPLIES, all).await.is_err() {
        load.lose(tasks.len() as u64, "no reply, and no error either");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Echo;

    impl Ask for Echo {
        type Reply = Vec<u8>;

        async fn ask(&self, payload: Vec<u8>) -> Result<Vec<u8>, Problem> {
            tokio::task::yield_now().await;
            Ok(payload)
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_comes_back_in_time_counts() {
        let load = Load::new();
        let tasks = start(&load, &Echo, 3, 64);
        let spans = Spans {
            warm_up: Duration::from_millis(1),
            measured: Duration::from_millis(20),
        };
        let (took, _) = tokio::task::block_in_place(|| load.pass(spans, || ()));
        finish(&load, tasks).await;
        assert!(took >= spans.measured);
        assert!(load.times.total() > 0);
        assert_eq!(load.lost.load(Relaxed) + load.wrong.load(Relaxed), 0);
    }

    #[test]
    fn lost_and_wrong_replies_are_distinguished() {
        let load = Load::new();
        let request = Request::first(1, 64);
        assert!(load.judge(&request, Duration::ZERO, Ok(request.payload())));
        assert!(load.judge(&request, Duration::ZERO, Ok(payload::make(9, 64))));
        assert!(!load.judge(&request, Duration::ZERO, Err::<Vec<u8>, _>("gone".into())));
        assert_eq!(load.wrong.load(Relaxed), 1);
        assert_eq!(load.lost.load(Relaxed), 1);
        let problem = load.problem.lock().map(|problem| problem.clone());
        assert_eq!(problem.ok().flatten().as_deref(), Some("gone"));
    }
}
