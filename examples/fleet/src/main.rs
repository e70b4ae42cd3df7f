//! Runs the fleet, a rolling restart and a kill under load, and prints a table of what callers saw.

use std::error::Error;
use std::time::Duration;

use conclib::Config;
use conclib::daemon::start_redis;
use fleet::load::Load;
use fleet::process::Programs;
use tokio::time::sleep;

const MEMBERS: [&str; 3] = ["eu-1", "eu-2", "eu-3"];

const CALLERS: usize = 32;

const CALM: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let redis = start_redis(&Config::new("redis://127.0.0.1:0")?).await?;
    let programs = Programs::beside(&std::env::current_exe()?, redis.config().clone().fleet());
    let web = programs.web().await?;
    let address = web.first_line.clone();
    let phase = |name: &'static str| (name, Load::start(&address, CALLERS));
    println!(
        "{:<16} {:>7} {:>9} {:>11} {:>11}   failures   answers by member",
        "", "answers", "rate", "p50", "p99"
    );

    let mut members = Vec::new();
    for (count, name) in (1..).zip(MEMBERS) {
        members.push(programs.member(name).await?);
        sleep(Duration::from_millis(500)).await; // it joins
        let (_, load) = phase("");
        sleep(CALM).await;
        println!("{:<16} {}", format!("{count} members"), load.stop().await);
    }

    let (name, load) = phase("rolling restart");
    for (member, name) in members.iter_mut().zip(MEMBERS) {
        let next = programs.member(&format!("{name}-next")).await?;
        std::mem::replace(member, next).stop().await?;
    }
    sleep(CALM).await;
    println!("{name:<16} {}", load.stop().await);

    let (name, load) = phase("a member killed");
    sleep(CALM / 4).await;
    if let Some(member) = members.pop() {
        member.kill().await?; // the requests that it has taken time out
    }
    sleep(2 * CALM).await;
    println!("{name:<16} {}", load.stop().await);

    web.stop().await?;
    for member in members {
        member.stop().await?;
    }
    redis.shutdown().await?;
    Ok(())
}
