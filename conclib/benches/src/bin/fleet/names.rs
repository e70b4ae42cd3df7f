//! Very many listed names.

use std::time::{Duration, Instant};

use conclib::ProxyClient;
use conclib_benches::measure::{median, sorted};
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::actors::{Work, config, customer};
use crate::member::NamesTaken;
use crate::options::Options;
use crate::redis_info::Info;
use crate::section::{Section, verdict};
use crate::stage::{Setting, Stage};
use crate::{Problem, float};

/// The most bytes of Redis' memory per name.
const MOST_BYTES: f64 = 150.0;

/// The number of clients that ask for the first time.
const CLIENTS: u64 = 20;

/// The figures of a run.
#[derive(Debug, Serialize)]
struct Sample {
    taken: NamesTaken,
    bytes_per_name: f64,
    /// Milliseconds of each client.
    connects: Vec<f64>,
    first_asks: Vec<f64>,
    second_asks: Vec<f64>,
}

pub(crate) fn measure(options: &Options) -> Result<Section, Problem> {
    let count = options.or_quick(100_000, 2_000);
    let title = format!("{count} listed names of twenty letters");
    let mut section = Section::new(&title, &["", "figure", "limit"]);
    let sample = take(count)?;
    section.sample("names", &sample);
    let (taken, bytes) = (&sample.taken, sample.bytes_per_name);
    let seconds = |time: f64| format!("{time:.2} s");
    let holds = verdict(bytes <= MOST_BYTES, "≤ 150 B");
    let mut row = |name: &str, figure: String, limit: &str| section.row([name, &figure, limit]);
    row("until all actors were spawned", seconds(taken.spawned), "");
    row("until all names were listed", seconds(taken.listed), "");
    row("Redis' memory per name", format!("{bytes:.0} B"), &holds);
    row("a new client connects", spread(&sample.connects), "");
    row(
        "its first ask of a listed name",
        spread(&sample.first_asks),
        "",
    );
    row(
        "its second ask of that name",
        spread(&sample.second_asks),
        "",
    );
    section.note(format!(
        "Two members are up, of which one has the names. Times of clients: the median of {CLIENTS}, and the \
         longest in brackets."
    ));
    Ok(section)
}

fn take(count: u64) -> Result<Sample, Problem> {
    let mut stage = Stage::new()?;
    stage.grow(1, Setting::default())?;
    let options = [format!("--names={count}"), "--instance=owner".to_owned()];
    let mut owner = stage.start("member", &["1".to_owned()], &options)?;
    let port = stage.redis.port;
    let before = Info::read(port)?.number("used_memory")?;
    owner.tell("go")?;
    let taken = serde_json::from_str(&owner.line()?)?;
    let after = Info::read(port)?.number("used_memory")?;
    let mut sample = Sample {
        taken,
        bytes_per_name: (after - before) / float(count),
        connects: Vec::new(),
        first_asks: Vec::new(),
        second_asks: Vec::new(),
    };
    let runtime = Runtime::new()?;
    for client in 0..CLIENTS {
        let name = customer(client * (count / CLIENTS));
        runtime.block_on(ask(port, &name, &mut sample))?;
    }
    Ok(sample)
}

/// Connects a client, and asks for a name twice.
async fn ask(port: u16, name: &str, sample: &mut Sample) -> Result<(), Problem> {
    let config = config(port, false)?;
    let began = Instant::now();
    let client = ProxyClient::connect(&config).await?;
    sample.connects.push(millis(began.elapsed()));
    for times in [&mut sample.first_asks, &mut sample.second_asks] {
        let began = Instant::now();
        client.ask(name, Work { n: 1 }).await?;
        times.push(millis(began.elapsed()));
    }
    client.shutdown().await;
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn spread(times: &[f64]) -> String {
    let longest = sorted(times).pop().unwrap_or(f64::NAN);
    format!("{:.2} ms ({longest:.2} ms)", median(times))
}
