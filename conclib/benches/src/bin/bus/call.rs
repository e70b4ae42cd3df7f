//! The process that asks: `bus call <peer> <port> <callers> <payload> <seconds>`.
//!
//! Behind them may follow the seconds of the warm-up and the process ids of responder and server,
//! whose processor time is looked at as well. It prints one line of JSON.

use std::future::Future;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use conclib_benches::process::{cpu_seconds, resident_bytes};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::Problem;
use crate::load::{self, Ask, Load, Request};
use crate::peers::{Peer, conclib, naive, nats, raw};
use crate::plan::Spans;
use crate::words::Words;

/// The results of one measurement.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Replies in the time that counts.
    pub(crate) asks: u64,
    /// The measured time.
    pub(crate) seconds: f64,
    /// Half of the replies took no longer than this, in microseconds.
    pub(crate) p50: f64,
    /// 99 of 100 replies took no longer than this, in microseconds.
    pub(crate) p99: f64,
    /// Requests without a reply, also in the warm-up.
    pub(crate) lost: u64,
    /// Replies to other requests, also in the warm-up.
    pub(crate) wrong: u64,
    /// The error of the first lost request.
    pub(crate) problem: Option<String>,
    /// The usage of this process.
    pub(crate) client: Use,
    /// The usage of the responder.
    pub(crate) responder: Use,
    /// The usage of Redis or NATS.
    pub(crate) server: Use,
}

/// The resources that a process used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Use {
    /// Processor time while it was measured, in seconds.
    pub(crate) cpu: Option<f64>,
    /// Bytes in RAM at the end.
    pub(crate) resident: Option<u64>,
}

impl Sample {
    /// Processor time of all three processes, in seconds.
    pub(crate) fn all_cpu(&self) -> Option<f64> {
        Some(self.client.cpu? + self.responder.cpu? + self.server.cpu?)
    }
}

/// The task of a calling process.
struct Order {
    /// Tasks that ask.
    callers: usize,
    /// Bytes of a request.
    size: usize,
    spans: Spans,
    /// Client, responder, server: as far as they are known.
    watched: [Option<u32>; 3],
}

pub(crate) fn main(words: &[String]) -> Result<(), Problem> {
    let mut words = Words::new(words);
    let peer: Peer = words.take("peer")?;
    let port: u16 = words.take("port")?;
    let callers = words.take("number of callers")?;
    let size = words.take("size of a payload")?;
    let measured = Duration::try_from_secs_f64(words.take("number of seconds")?)?;
    let warm_up = match words.next() {
        None => Duration::from_millis(400),
        Some(word) => Duration::try_from_secs_f64(word.parse()?)?,
    };
    let mut pid = || words.next().map(str::parse::<u32>).transpose();
    let order = Order {
        callers,
        size,
        spans: Spans { warm_up, measured },
        watched: [Some(std::process::id()), pid()?, pid()?],
    };
    let sample = measure(peer, port, &order)?;
    println!("{}", serde_json::to_string(&sample)?);
    Ok(())
}

fn measure(peer: Peer, port: u16, order: &Order) -> Result<Sample, Problem> {
    match peer {
        Peer::Conclib => together(order, conclib::Caller::connect(port)),
        Peer::Nats => together(order, nats::Caller::connect(port)),
        Peer::NaiveLoop => together(order, naive::Caller::connect(port)),
        Peer::RawSockets => alone(order, raw::Caller::connect(port)?),
    }
}

/// Many callers share a client. This thread only looks at the clock.
fn together<A: Ask>(
    order: &Order,
    connect: impl Future<Output = Result<A, Problem>>,
) -> Result<Sample, Problem> {
    let runtime = Runtime::new()?;
    let asker = runtime.block_on(connect)?;
    let load = Load::new();
    let tasks = {
        let _inside = runtime.enter();
        load::start(&load, &asker, order.callers, order.size)
    };
    let passed = watch(&load, order);
    runtime.block_on(load::finish(&load, tasks));
    Ok(sample(&load, passed))
}

/// One blocking caller.
fn alone(order: &Order, mut asker: raw::Caller) -> Result<Sample, Problem> {
    if order.callers != 1 {
        return Err("raw sockets have one caller".into());
    }
    let load = Load::new();
    let shared: Arc<Load> = load.clone();
    let mut request = Request::first(0, order.size);
    let caller = std::thread::spawn(move || {
        while shared.goes_on() {
            let payload = request.payload();
            let began = Instant::now();
            let outcome = asker.ask(&payload);
            if !shared.judge(&request, began.elapsed(), outcome) {
                return;
            }
            request.turn += 1;
        }
    });
    let passed = watch(&load, order);
    caller.join().map_err(|_| "the caller has panicked")?;
    Ok(sample(&load, passed))
}

/// The measured time, and the usage of each process during it.
fn watch(load: &Load, order: &Order) -> (Duration, [Use; 3]) {
    let look = || order.watched.map(|pid| pid.and_then(cpu_seconds));
    let (took, [before, after]) = load.pass(order.spans, look);
    let used = [0, 1, 2].map(|process| Use {
        cpu: after[process]
            .zip(before[process])
            .map(|(after, before)| after - before),
        resident: order.watched[process].and_then(resident_bytes),
    });
    (took, used)
}

fn sample(load: &Load, (took, used): (Duration, [Use; 3])) -> Sample {
    let [client, responder, server] = used;
    Sample {
        asks: load.times.total(),
        seconds: took.as_secs_f64(),
        p50: load.times.percentile(0.5),
        p99: load.times.percentile(0.99),
        lost: load.lost.load(Relaxed),
        wrong: load.wrong.load(Relaxed),
        problem: load
            .problem
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone(),
        client,
        responder,
        server,
    }
}
