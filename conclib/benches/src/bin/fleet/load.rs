//! Callers that ask one request after another, and what they see.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use conclib::ProxyClient;
use conclib_benches::histogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::actors::{WORKER, Work};

/// The numbers of members are below this.
const MAX_MEMBERS: usize = 1024;

/// Pause of a caller whose request has failed.
const PAUSE: Duration = Duration::from_millis(1);

/// Replies do not count yet.
const WARM_UP: u8 = 0;
/// Replies count.
const MEASURED: u8 = 1;
/// The callers stop.
const OVER: u8 = 2;

/// The state that all callers share. It costs a caller next to nothing per reply, since that is part of
/// what is measured.
#[derive(Debug)]
pub(crate) struct Load {
    /// One of the three above.
    phase: AtomicU8,
    /// From request to reply, while it is measured.
    pub(crate) times: Histogram,
    /// One for each number of a member.
    members: Vec<Answers>,
    /// Requests that failed since it was measured, by error.
    errors: Mutex<BTreeMap<String, u64>>,
}

/// The replies of a member.
#[derive(Debug, Default)]
struct Answers {
    /// There was one, also in the warm-up.
    has_come: AtomicBool,
    /// Replies while it was measured.
    measured: AtomicU64,
}

impl Load {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            phase: AtomicU8::new(WARM_UP),
            times: Histogram::default(),
            members: (0..MAX_MEMBERS).map(|_| Answers::default()).collect(),
            errors: Mutex::default(),
        })
    }

    /// Begins the measured time.
    pub(crate) fn measure(&self) {
        self.phase.store(MEASURED, Relaxed);
    }

    /// Ends the measured time: each caller stops after its request.
    pub(crate) fn end(&self) {
        self.phase.store(OVER, Relaxed);
    }

    /// The number of members that have answered so far.
    pub(crate) fn members(&self) -> usize {
        let members = self.members.iter();
        members
            .filter(|member| member.has_come.load(Relaxed))
            .count()
    }

    /// Replies while it was measured, by member.
    pub(crate) fn by_member(&self) -> BTreeMap<u32, u64> {
        let counts = self
            .members
            .iter()
            .map(|member| member.measured.load(Relaxed));
        (0..).zip(counts).filter(|(_, count)| *count > 0).collect()
    }

    /// Requests that failed since it was measured, by error.
    pub(crate) fn errors(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts callers, who ask for replies of so many bytes.
    pub(crate) fn start(
        self: &Arc<Self>,
        client: &ProxyClient,
        callers: usize,
        reply: usize,
    ) -> JoinSet<()> {
        let caller = |number| call(self.clone(), client.clone(), number, reply);
        (0..callers).map(caller).collect()
    }

    fn answered(&self, caller: usize, took: Duration, member: u32) {
        let Some(member) = self.members.get(member as usize) else {
            return self.failed("a member with a number that is too large".to_owned());
        };
        if self.phase.load(Relaxed) == MEASURED {
            self.times.count(caller, took);
            member.measured.fetch_add(1, Relaxed);
        } else {
            member.has_come.store(true, Relaxed);
        }
    }

    fn failed(&self, error: String) {
        if self.phase.load(Relaxed) != WARM_UP {
            *self.errors().entry(error).or_default() += 1;
        }
    }
}

/// One caller.
async fn call(load: Arc<Load>, client: ProxyClient, caller: usize, reply: usize) {
    let mut n = (caller as u64) << 32;
    while load.phase.load(Relaxed) != OVER {
        n += 1;
        let began = Instant::now();
        match client.ask(WORKER, Work { n, reply }).await {
            Ok(done) if done.n == n && done.payload.len() == reply => {
                load.answered(caller, began.elapsed(), done.member);
            }
            Ok(_) => load.failed("the reply to another request".to_owned()),
            Err(error) => {
                load.failed(error.to_string());
                sleep(PAUSE).await;
            }
        }
    }
}
