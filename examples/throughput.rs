//! Measures the bus on this machine: starts a Redis and an actor process, and asks it from 64 callers
//! of this process, 100,000 times. Every answer is checked.
//!
//! ```text
//! cargo run --release --example throughput [asks] [callers]
//! ```

use std::time::{Duration, Instant};

use conclib::prelude::*;
use messages::{Double, Doubled};
use tokio::process::Command;

#[derive(Actor)]
#[actor(urn = "doubler", mailbox = 65_536)]
struct Doubler;

#[handlers]
impl Doubler {
    #[handler]
    fn double(&mut self, message: Double) -> Doubled {
        Doubled {
            n: u64::from(message.n) * 2,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::var_os("THROUGHPUT_ACTORS").is_some() {
        return serve().await;
    }
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let asks = numbers.next().transpose()?.unwrap_or(100_000);
    let callers = numbers.next().transpose()?.unwrap_or(64);

    let redis = start_redis(&Config::new("redis://127.0.0.1:0")?).await?;
    let mut actors = Command::new(std::env::current_exe()?);
    actors.env("THROUGHPUT_ACTORS", "1");
    actors.envs(redis.config().variables());
    let mut actors = actors.kill_on_drop(true).spawn()?;
    let client = ProxyClient::connect(redis.config()).await?;
    while client.ask("doubler", Double { n: 0 }).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let began = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            tokio::spawn(call(
                client.clone(),
                (caller..asks).step_by(callers as usize),
            ))
        })
        .collect();
    let (mut lost, mut wrong, mut times) = (0_u32, 0_u32, Vec::new());
    for task in tasks {
        let (lost_here, wrong_here, times_here) = task.await?;
        lost += lost_here;
        wrong += wrong_here;
        times.extend(times_here);
    }
    let took = began.elapsed();
    times.sort_unstable();
    let percentile = |part: usize| {
        times
            .get(times.len() * part / 100)
            .copied()
            .unwrap_or_default()
    };
    println!("{asks} asks from {callers} callers in {took:.2?}: {lost} lost, {wrong} wrong");
    println!(
        "{:.0} asks/s, p50 {:.0?}, p99 {:.0?}",
        f64::from(asks) / took.as_secs_f64(),
        percentile(50),
        percentile(99)
    );

    actors.kill().await?;
    redis.shutdown().await?;
    Ok(())
}

/// One caller: asks one number after another.
async fn call(
    client: ProxyClient,
    numbers: impl Iterator<Item = u32>,
) -> (u32, u32, Vec<Duration>) {
    let (mut lost, mut wrong, mut times) = (0, 0, Vec::new());
    for n in numbers {
        let began = Instant::now();
        match client.ask("doubler", Double { n }).await {
            Ok(answer) if answer.n == u64::from(n) * 2 => times.push(began.elapsed()),
            Ok(_) => wrong += 1,
            Err(_) => lost += 1,
        }
    }
    (lost, wrong, times)
}

/// The actor process.
async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let system = ActorSystem::new();
    system.spawn(Doubler).await?;
    let proxy = start_proxy(&system, &Config::from_env()?).await?;
    proxy.stopped().await;
    Ok(())
}
