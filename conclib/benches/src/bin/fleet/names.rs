//! Very many listed names.

use std::time::{Duration, Instant};

use conclib::ProxyClient;
use conclib_benches::measure::{median, sorted};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

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

/// The number of names that each caller of a client asks, one after another.
const NAMES_OF_CALLER: u64 = 50;

/// The callers of one client that ask for many names.
const CALLERS: [u64; 2] = [1, 64];

/// The figures of a run.
#[derive(Debug, Serialize)]
struct Sample {
    taken: NamesTaken,
    bytes_per_name: f64,
    /// Milliseconds of each client.
    connects: Vec<f64>,
    first_asks: Vec<f64>,
    second_asks: Vec<f64>,
    /// Asks per second of names that are new to the client, and of the same names once more.
    many: Vec<[f64; 2]>,
}

pub(crate) fn measure(options: &Options) -> Result<Section, Problem> {
    let (count, words) = options.or_quick((100_000, "100,000"), (2_000, "2,000"));
    let title = format!("{words} listed names of twenty letters");
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
    for (callers, [new, known]) in CALLERS.into_iter().zip(&sample.many) {
        let plural = if callers == 1 { "" } else { "s" };
        let name = format!("{callers} caller{plural} of one client, names that are new to it");
        section.row([name, format!("{new:.0} asks/s"), String::new()]);
        let name = format!("{callers} caller{plural}, the same names once more");
        section.row([name, format!("{known:.0} asks/s"), String::new()]);
    }
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
        many: Vec::new(),
    };
    let runtime = Runtime::new()?;
    for client in 0..CLIENTS {
        let name = customer(client * (count / CLIENTS));
        runtime.block_on(ask(port, &name, &mut sample))?;
    }
    for callers in CALLERS {
        let rates = runtime.block_on(ask_many(port, callers, count))?;
        sample.many.push(rates);
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
        client.ask(name, Work::new(1)).await?;
        times.push(millis(began.elapsed()));
    }
    client.shutdown().await;
    Ok(())
}

/// Asks per second of a client whose callers ask for names of their own, for the first and the second time.
async fn ask_many(port: u16, callers: u64, count: u64) -> Result<[f64; 2], Problem> {
    let client = ProxyClient::connect(&config(port, false)?).await?;
    let mut rates = [0.0; 2];
    for rate in &mut rates {
        let began = Instant::now();
        let caller = |number| ask_in_turn(client.clone(), number, count);
        let mut asking: JoinSet<_> = (0..callers).map(caller).collect();
        while let Some(asked) = asking.join_next().await {
            asked??;
        }
        *rate = float(callers * NAMES_OF_CALLER) / began.elapsed().as_secs_f64();
    }
    client.shutdown().await;
    Ok(rates)
}

/// One caller, which has names of its own.
async fn ask_in_turn(client: ProxyClient, caller: u64, count: u64) -> Result<(), Problem> {
    let first = caller * NAMES_OF_CALLER;
    for number in first..first + NAMES_OF_CALLER {
        client
            .ask(customer(number % count), Work::new(number))
            .await?;
    }
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn spread(times: &[f64]) -> String {
    let longest = sorted(times).pop().unwrap_or(f64::NAN);
    format!("{:.2} ms ({longest:.2} ms)", median(times))
}
