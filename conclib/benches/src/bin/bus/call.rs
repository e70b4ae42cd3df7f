//! The process that asks: `bus call <peer> <port> <callers> <payload> <seconds>`.
//!
//! Behind them may follow the seconds of the warm-up and the process ids of responder and server,
//! whose processor time is looked at as well. It prints one line of JSON.

use std::future::Future;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use conclib_benches::process::{allocated_bytes, cpu_seconds, resident_bytes};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::Problem;
use crate::load::{self, Ask, Load, Request};
use crate::options::seconds;
use crate::peers::traces::Traces;
use crate::peers::{Peer, conclib, naive, nats, raw};
use crate::plan::Spans;

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
    /// The same without the program; unknown in builds of other commits.
    #[serde(default)]
    pub(crate) allocated: Option<u64>,
}

impl Sample {
    /// Processor time of all three processes, in seconds.
    pub(crate) fn all_cpu(&self) -> Option<f64> {
        Some(self.client.cpu? + self.responder.cpu? + self.server.cpu?)
    }
}

/// The task of a calling process.
#[derive(Debug, Args)]
pub(crate) struct Order {
    /// The way in which requests are carried.
    pub(crate) peer: Peer,
    /// Leads to the server.
    port: u16,
    /// Tasks that ask.
    pub(crate) callers: usize,
    /// Bytes of a request.
    payload: usize,
    /// Seconds of asking that counts.
    #[arg(value_parser = seconds)]
    measured: Duration,
    /// Seconds of asking before anything counts.
    #[arg(value_parser = seconds, default_value = "0.4")]
    pub(crate) warm_up: Duration,
    /// The process id of the responder.
    responder: Option<u32>,
    /// The process id of the server.
    pub(crate) server: Option<u32>,
}

impl Order {
    fn spans(&self) -> Spans {
        Spans {
            warm_up: self.warm_up,
            measured: self.measured,
        }
    }

    /// Client, responder, server: as far as they are known.
    fn watched(&self) -> [Option<u32>; 3] {
        [Some(std::process::id()), self.responder, self.server]
    }
}

pub(crate) fn main(order: &Order) -> Result<(), Problem> {
    println!("{}", serde_json::to_string(&measure(order)?)?);
    Ok(())
}

fn measure(order: &Order) -> Result<Sample, Problem> {
    match order.peer {
        Peer::Conclib => together(order, conclib::Caller::connect(order.port, Traces::Off)),
        Peer::ConclibTraced => {
            together(order, conclib::Caller::connect(order.port, Traces::Sampled))
        }
        Peer::Nats => together(order, nats::Caller::connect(order.port)),
        Peer::NaiveLoop => together(order, naive::Caller::connect(order.port)),
        Peer::RawSockets => alone(order, raw::Caller::connect(order.port)?),
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
        load::start(&load, &asker, order.callers, order.payload)
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
    let mut request = Request::first(0, order.payload);
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
    let watched = order.watched();
    let look = || watched.map(|pid| pid.and_then(cpu_seconds));
    let (took, [before, after]) = load.pass(order.spans(), look);
    let used = [0, 1, 2].map(|process| Use {
        cpu: after[process]
            .zip(before[process])
            .map(|(after, before)| after - before),
        resident: watched[process].and_then(resident_bytes),
        allocated: watched[process].and_then(allocated_bytes),
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
