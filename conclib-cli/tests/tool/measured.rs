//! Measurements of the tool and of inspections: `cargo test --release -p conclib-cli --test tool -- --ignored --nocapture measured`.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use conclib::inspect::{ActorsQuery, Inspector, MetricsQuery, StatusQuery};
use conclib::prelude::*;
use conclib_tests::SECOND;
use conclib_tests::bus::BusFixture;
use conclib_tests::messages::Double;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::{Tool, fixture};
use crate::top::Terminal;

/// Never answers.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = ())]
struct Hang;

#[derive(Actor)]
#[actor(mailbox = 100)]
struct Busy;

#[handlers]
impl Busy {
    #[handler]
    fn double(&mut self, message: Double) -> u32 {
        message.n * 2
    }

    #[handler]
    async fn hang(&mut self, _: Hang) {
        std::future::pending::<()>().await;
    }
}

async fn many_actors(bus: &BusFixture) {
    for number in 0..10_000 {
        let name = format!("busy/{number}");
        bus.system.spawn(Busy).urn(name).await.unwrap();
    }
}

/// Processor time of a process so far, in seconds, on Linux; none elsewhere.
fn cpu_time(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().ok()? + fields[12].parse::<f64>().ok()?;
    Some(ticks / 100.0)
}

/// The process of the tool in a terminal.
fn tool_process(tool: &Tool) -> Option<u32> {
    let url = tool.shell_command("").split('\'').nth(1)?.to_owned();
    let listed = Command::new("pgrep")
        .args(["-x", "conclib"])
        .output()
        .ok()?;
    let listed = String::from_utf8(listed.stdout).ok()?;
    let mut processes = listed.lines().filter_map(|line| line.parse().ok());
    processes.find(|process: &u32| {
        let variables = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&variables).contains(&url)
    })
}

/// Percent of a processor.
fn percent(used: f64, during: Duration) -> f64 {
    100.0 * used / during.as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measured_processor_time_of_top() {
    let (bus, tool) = fixture().await;
    many_actors(&bus).await;
    let own = std::process::id();
    let (begun, before) = (Instant::now(), cpu_time(own).expect("Linux"));
    sleep(10 * SECOND).await;
    let alone = percent(cpu_time(own).unwrap() - before, begun.elapsed());
    for view in ["1", "2"] {
        let terminal = Terminal::start(&format!("measured{view}"), &tool, "top", ["120", "30"]);
        terminal.shows("members 1 (main)").await;
        terminal.press(&[view]);
        sleep(2 * SECOND).await;
        let process = tool_process(&tool).expect("the tool runs");
        let (begun, used) = (Instant::now(), cpu_time(process).unwrap());
        let before = cpu_time(own).unwrap();
        sleep(20 * SECOND).await;
        let top = percent(cpu_time(process).unwrap() - used, begun.elapsed());
        let member = percent(cpu_time(own).unwrap() - before, begun.elapsed());
        println!(
            "view {view} over 10,000 actors: top takes {top:.1} % of a processor, and the member \
             {member:.1} % instead of {alone:.1} %"
        );
    }
}

/// Asks per second of 64 callers for a while.
async fn asks_per_second(client: &ProxyClient, duration: Duration) -> u64 {
    let asked = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for n in 0..64 {
        let (client, asked, is_over) = (client.clone(), asked.clone(), is_over.clone());
        callers.spawn(async move {
            let urn = format!("busy/{n}");
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(client.ask(&urn, Double { n }).await, Ok(n * 2));
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    sleep(duration).await;
    is_over.store(true, Ordering::Relaxed);
    callers.join_all().await;
    asked.load(Ordering::Relaxed) * 1_000 / u64::try_from(duration.as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measured_throughput_beside_top() {
    let (bus, tool) = fixture().await;
    many_actors(&bus).await;
    let client = ProxyClient::connect(&bus.bus.config).await.unwrap();
    asks_per_second(&client, 2 * SECOND).await;
    let mut ratios = Vec::new();
    for round in 0..9 {
        let alone = asks_per_second(&client, 3 * SECOND).await;
        let terminal = Terminal::start(&format!("beside{round}"), &tool, "top", ["120", "30"]);
        terminal.shows("members 1 (main)").await;
        let beside = asks_per_second(&client, 3 * SECOND).await;
        drop(terminal);
        let permille = beside * 1_000 / alone.max(1);
        println!("{alone} asks/s alone, {beside} beside top: {permille} permille");
        ratios.push(permille);
    }
    ratios.sort_unstable();
    println!("median: {} permille", ratios[ratios.len() / 2]);
}

/// Observers that ask as fast as they are answered, until the set is dropped.
fn observers(inspector: &Inspector, node: &'static str, asked: &Arc<AtomicU64>) -> JoinSet<()> {
    let mut observers = JoinSet::new();
    for number in 0..64 {
        let (inspector, asked) = (inspector.clone(), asked.clone());
        observers.spawn(async move {
            loop {
                let answered = match number % 3 {
                    0 => inspector.ask(node, &StatusQuery::default()).await.is_ok(),
                    1 => inspector.ask(node, &ActorsQuery::new()).await.is_ok(),
                    _ => inspector.ask(node, &MetricsQuery::default()).await.is_ok(),
                };
                asked.fetch_add(u64::from(answered), Ordering::Relaxed);
            }
        });
    }
    observers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measured_throughput_under_observers() {
    let (bus, _tool) = fixture().await;
    for number in 0..64 {
        let name = format!("busy/{number}");
        bus.system.spawn(Busy).urn(name).await.unwrap();
    }
    let client = ProxyClient::connect(&bus.bus.config).await.unwrap();
    let inspector = Inspector::connect(&bus.bus.config).await.unwrap();
    asks_per_second(&client, 2 * SECOND).await;
    // The same work beside the requests, and not in their process' pops.
    let (other, config) = (ActorSystem::new(), bus.bus.config.clone());
    start_proxy(&other, &config.node("other")).await.unwrap();
    let mut ratios = [Vec::new(), Vec::new()];
    for _ in 0..9 {
        let alone = asks_per_second(&client, 2 * SECOND).await;
        for (ratios, node) in ratios.iter_mut().zip(["main", "other"]) {
            let asked = Arc::new(AtomicU64::new(0));
            let observers = observers(&inspector, node, &asked);
            let under = asks_per_second(&client, 2 * SECOND).await;
            drop(observers);
            let (permille, inspections) = (
                under * 1_000 / alone.max(1),
                asked.load(Ordering::Relaxed) / 2,
            );
            println!(
                "{alone} asks/s alone; {under} ({permille} permille) under {inspections} inspections/s of `{node}`"
            );
            ratios.push(permille);
        }
    }
    for (mut ratios, node) in ratios.into_iter().zip(["main", "other"]) {
        ratios.sort_unstable();
        println!(
            "median under observers of `{node}`: {} permille",
            ratios[ratios.len() / 2]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measured_top_once_with_full_mailboxes_and_inbox() {
    let (bus, tool) = fixture().await;
    many_actors(&bus).await;
    let client = ProxyClient::connect(&bus.bus.config).await.unwrap();
    for number in 0..100 {
        let urn = format!("busy/{number}");
        client.tell(&urn, Hang).await.unwrap();
        for _ in 0..200 {
            client.tell(&urn, Double { n: 1 }).await.unwrap();
        }
    }
    let epoch = bus.proxy.epoch().expect("it serves");
    let inbox = format!("conclib:{{n:main}}:inbox:{epoch}");
    let mut push = vec![&b"RPUSH"[..], inbox.as_bytes()];
    push.resize(100_002, b"no frame");
    for _ in 0..3 {
        let address = bus.bus.address();
        let pushed = conclib_tests::redis::send_command(address, &push).await;
        pushed.unwrap();
        let begun = Instant::now();
        tool.run(&["top", "--once", "--json"]).await.ok();
        println!(
            "100 full mailboxes, 100,000 frames in the inbox: {:?}",
            begun.elapsed()
        );
    }
}
