//! The log during outages of Redis. The only test of its process, since the log is the process's.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use conclib::{ActorSystem, AskError, Proxy, ProxyClient, start_proxy};
use conclib_tests::durable::{Order, open_shop};
use conclib_tests::redis::PersistentRedis;
use conclib_tests::{Log, eventually};
use tokio::time::sleep;
use tracing_subscriber::filter::LevelFilter;

/// The log of the process.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logged {
    /// Begins to capture the log.
    fn begin() -> Self {
        let logged = Self::default();
        let writer = logged.clone();
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::INFO)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .init();
        logged
    }

    /// Counts the lines with this beginning, without their varying parts, and forgets
    /// them.
    fn take(&self, levels: &[&str]) -> BTreeMap<String, usize> {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8(std::mem::take(&mut *logged)).unwrap();
        let mut counts = BTreeMap::new();
        for line in text.lines().map(str::trim) {
            if levels.iter().any(|level| line.starts_with(level)) {
                // The fields follow, except for the name of a connection.
                let (text, fields) = line.split_once('=').unwrap_or((line, ""));
                let (text, _) = text.rsplit_once(' ').unwrap_or((text, ""));
                let name = fields
                    .split(' ')
                    .next()
                    .filter(|_| line.contains("connection="));
                let line = format!("{text} {}", name.unwrap_or_default());
                *counts.entry(line.trim().to_owned()).or_default() += 1;
            }
        }
        counts
    }
}

/// Asks and tells without end.
async fn keep_asking(client: ProxyClient) {
    let timeout = Duration::from_millis(100);
    for n in 0.. {
        drop(client.ask("shop", Order { n }).timeout(timeout).await);
        drop(client.tell("shop", Order { n }).timeout(timeout).await);
        sleep(timeout / 5).await;
    }
}

async fn is_well(proxy: &Proxy, client: &ProxyClient) {
    eventually("it is used again", async || {
        let asked = client.ask("shop", Order { n: 1 }).await;
        let is_well = [proxy.connection_state(), client.connection_state()];
        let is_well = is_well.iter().all(|state| state.borrow().is_connected());
        is_well && !matches!(asked, Err(AskError::NoResponder))
    })
    .await;
    // The line about the end comes with the next renewal.
    sleep(Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_subject_is_logged_once_per_outage() {
    let logged = Logged::begin();
    let mut redis = PersistentRedis::start().await;
    let config = redis.config();
    let system = ActorSystem::new();
    let _watch = open_shop(&system, "shop", &Log::default()).await;
    let proxy = start_proxy(&system, &config).await.unwrap();
    let client = ProxyClient::connect(&config).await.unwrap();
    let asking = tokio::spawn(keep_asking(client.clone()));
    is_well(&proxy, &client).await;
    logged.take(&[]);
    // Twice shorter than the lease, and then longer.
    for seconds in [3, 3, 8] {
        redis.kill().await;
        sleep(Duration::from_secs(seconds)).await;
        redis.start_again().await;
        is_well(&proxy, &client).await;
        let lines = logged.take(&["ERROR", "WARN", "INFO"]);
        println!("{seconds} s: {lines:#?}");
        let library = |line: &str| line.contains(" fred::");
        let own = lines.iter().filter(|(line, _)| !library(line));
        for (line, count) in own {
            // Proxy and client have a connection of this name each.
            let shared = [":commands", ":durable"];
            let most = if shared.iter().any(|name| line.contains(name)) {
                2
            } else {
                1
            };
            assert!(*count <= most, "{count} times {line}");
        }
        // Lines of the Redis library: its five connections end amid commands.
        let others = lines.iter().filter(|(line, _)| library(line));
        let others: usize = others.map(|(_, count)| count).sum();
        assert!(others <= 15, "{others}");
        let has = |text: &str| lines.keys().any(|line| line.contains(text));
        assert!(has("the lease cannot be renewed"));
        // On a busy machine the short outage may be a long one.
        let is_lost = has("the lease is lost");
        assert!(is_lost || seconds < 6);
        assert_ne!(has("the lease is renewed again"), is_lost);
        assert!(has("connected to Redis again"));
    }
    asking.abort();
    assert!(system.shutdown().await.is_clean());
}
