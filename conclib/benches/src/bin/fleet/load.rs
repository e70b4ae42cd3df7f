//! Callers that ask one request after another, and what they see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use conclib::ProxyClient;
use conclib_benches::histogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::actors::{Done, WORKER, Work};

/// Pause of a caller whose request has failed.
const PAUSE: Duration = Duration::from_millis(1);

/// Replies do not count yet.
const WARM_UP: u8 = 0;
/// Replies count.
const MEASURED: u8 = 1;
/// The callers stop.
const OVER: u8 = 2;

/// The state that all callers share.
#[derive(Debug)]
pub(crate) struct Load {
    /// One of the three above.
    phase: AtomicU8,
    /// From request to reply, while it is measured.
    pub(crate) times: Histogram,
    /// The members that have answered so far.
    members: Mutex<BTreeSet<u32>>,
}

/// The results of one caller, and of all.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Replies while it was measured, by member.
    pub(crate) by_member: BTreeMap<u32, u64>,
    /// Requests that failed since it was measured, by error.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Members that this caller has told of.
    known: BTreeSet<u32>,
}

impl Load {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            phase: AtomicU8::new(WARM_UP),
            times: Histogram::default(),
            members: Mutex::default(),
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
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.len()
    }

    /// Starts the callers.
    pub(crate) fn start(self: &Arc<Self>, client: &ProxyClient, callers: usize) -> JoinSet<Tally> {
        let caller = |number| call(self.clone(), client.clone(), number);
        (0..callers).map(caller).collect()
    }

    fn answered(&self, caller: usize, took: Duration, member: u32, tally: &mut Tally) {
        if tally.known.insert(member) {
            let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
            members.insert(member);
        }
        if self.phase.load(Relaxed) == MEASURED {
            self.times.count(caller, took);
            *tally.by_member.entry(member).or_default() += 1;
        }
    }

    fn failed(&self, error: String, tally: &mut Tally) {
        if self.phase.load(Relaxed) != WARM_UP {
            *tally.errors.entry(error).or_default() += 1;
        }
    }
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        for (member, replies) in other.by_member {
            *self.by_member.entry(member).or_default() += replies;
        }
        for (error, requests) in other.errors {
            *self.errors.entry(error).or_default() += requests;
        }
    }
}

/// One caller.
async fn call(load: Arc<Load>, client: ProxyClient, caller: usize) -> Tally {
    let mut tally = Tally::default();
    let mut n = (caller as u64) << 32;
    while load.phase.load(Relaxed) != OVER {
        n += 1;
        let began = Instant::now();
        match client.ask(WORKER, Work { n }).await {
            Ok(Done { n: same, member }) if same == n => {
                load.answered(caller, began.elapsed(), member, &mut tally);
            }
            Ok(_) => load.failed("the reply to another request".to_owned(), &mut tally),
            Err(error) => {
                load.failed(error.to_string(), &mut tally);
                sleep(PAUSE).await;
            }
        }
    }
    tally
}
