//! `start_redis`: a Redis as a helper process.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use conclib::Config;
use conclib::daemon::{StartRedisError, StopDaemonError, start_redis};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::{
    BOUND, capture_log, collect_logs, eventually, exchange, free_port, is_closed, logged,
};

#[tokio::test]
async fn redis_is_ready_until_its_shutdown() {
    let redis = start_redis(&any_port("")).await.unwrap();
    let port = redis.config().port().unwrap();
    assert_ne!(port, 0);
    assert!(commands(port, "PING").await.unwrap().contains("+PONG"));
    let saves = commands(port, "CONFIG GET save").await.unwrap();
    assert!(saves.contains("$0\r\n"), "{saves}");
    let directory = directory_of(port).await;
    assert!(Path::new(&directory).is_dir());

    redis.shutdown().await.unwrap();
    assert!(is_closed(port).await, "the port is free again at once");
    assert!(!Path::new(&directory).exists(), "{directory} is left");
}

#[tokio::test]
async fn redis_is_gone_once_dropped() {
    let redis = start_redis(&any_port("")).await.unwrap();
    let port = redis.config().port().unwrap();
    let directory = directory_of(port).await;
    drop(redis);
    assert!(is_closed(port).await);
    assert!(!Path::new(&directory).exists(), "{directory} is left");
}

#[tokio::test]
async fn redis_is_gone_if_dropped_outside_of_the_runtime() {
    let (redis, port) = std::thread::spawn(|| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let redis = runtime.block_on(start_redis(&any_port(""))).unwrap();
        let port = redis.config().port().unwrap();
        (redis, port)
    })
    .join()
    .unwrap();
    assert!(!is_closed(port).await);
    drop(redis);
    assert!(is_closed(port).await);
}

#[tokio::test]
async fn redis_is_gone_if_its_start_is_dropped() {
    for micros in [0, 300, 1_000, 3_000, 10_000] {
        let port = free_port();
        let config = Config::new(&format!("redis://localhost:{port}")).unwrap();
        let started = timeout(Duration::from_micros(micros), start_redis(&config)).await;
        drop(started);
        assert!(is_closed(port).await, "after {micros} µs");
    }
}

#[tokio::test]
async fn redis_is_gone_if_its_owner_is_killed() {
    let (mut owner, port) = own_redis("").await;
    let directory = directory_of(port).await;
    owner.kill().await.unwrap();
    eventually("the Redis is gone", || is_closed(port)).await;
    eventually("its directory is gone", async || {
        !Path::new(&directory).exists()
    })
    .await;
}

#[tokio::test]
async fn redis_is_gone_if_its_owner_is_interrupted() {
    let (mut owner, port) = own_redis("").await;
    signal("INT", owner.id().unwrap()).await;
    timeout(BOUND, owner.wait()).await.unwrap().unwrap();
    eventually("the Redis is gone", || is_closed(port)).await;
}

#[tokio::test]
async fn taken_port_is_named() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Config::new(&format!("redis://localhost:{port}")).unwrap();
    let error = start_redis(&config).await.unwrap_err();
    assert!(
        matches!(error, StartRedisError::PortTaken { .. }),
        "{error}"
    );
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}

#[tokio::test]
async fn foreign_redis_is_not_taken_for_the_daemon() {
    let redis = start_redis(&any_port("")).await.unwrap();
    let error = start_redis(redis.config()).await.unwrap_err();
    assert!(
        matches!(error, StartRedisError::PortTaken { .. }),
        "{error}"
    );
    redis.shutdown().await.unwrap();
}

#[tokio::test]
async fn many_find_a_port_at_the_same_time() {
    let config = any_port("");
    let starts: Vec<_> = (0..6).map(|_| tokio::spawn(start_redis(&config))).collect();
    let mut ports = Vec::new();
    let mut running = Vec::new();
    for start in starts {
        let redis = start.await.unwrap().unwrap();
        ports.push(redis.config().port());
        running.push(redis);
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 6);
}

#[tokio::test]
async fn password_of_the_config_is_needed() {
    let redis = start_redis(&any_port(":p%40ss%20w%22rd@")).await.unwrap();
    let port = redis.config().port().unwrap();
    assert!(commands(port, "PING").await.unwrap().contains("-NOAUTH"));
    let answer = commands(port, "AUTH \"p@ss w\\\"rd\"\r\nPING")
        .await
        .unwrap();
    assert!(answer.contains("+PONG"), "{answer}");
    redis.shutdown().await.unwrap();
}

#[tokio::test]
async fn only_the_user_of_the_config_may_log_in() {
    let redis = start_redis(&any_port("alice:secret@")).await.unwrap();
    let port = redis.config().port().unwrap();
    assert!(commands(port, "PING").await.unwrap().contains("-NOAUTH"));
    assert!(
        commands(port, "AUTH default secret")
            .await
            .unwrap()
            .contains("-WRONGPASS")
    );
    assert!(
        commands(port, "AUTH alice secret\r\nPING")
            .await
            .unwrap()
            .contains("+PONG")
    );
}

#[tokio::test]
async fn configs_that_cannot_be_served() {
    let error = start_redis(&Config::memory()).await.unwrap_err();
    assert!(matches!(error, StartRedisError::MemoryBus), "{error}");
    let elsewhere = Config::new("redis://10.1.2.3:0").unwrap();
    let error = start_redis(&elsewhere).await.unwrap_err();
    assert!(
        matches!(error, StartRedisError::NotLoopback { .. }),
        "{error}"
    );
    let wrong = any_port("").namespace("no spaces");
    let error = start_redis(&wrong).await.unwrap_err();
    assert!(matches!(error, StartRedisError::Config(_)), "{error}");
}

#[tokio::test]
async fn missing_server_is_explained() {
    let mut command = redis_owner("redis://localhost:0");
    let (_owner, line) = first_line(command.env("PATH", "/nonexistent")).await;
    for word in [
        "`redis-server`",
        "`valkey-server`",
        "apt-get",
        "dnf",
        "apk",
        "pacman",
        "brew",
    ] {
        assert!(line.contains(word), "{word} in {line}");
    }
    let mut command = redis_owner("redis://localhost:0");
    let (_owner, line) = first_line(command.env("CONCLIB_REDIS_SERVER", "no-such-server")).await;
    assert!(
        line.contains("CONCLIB_REDIS_SERVER names `no-such-server`"),
        "{line}"
    );
}

#[tokio::test]
async fn program_that_is_no_redis_is_explained() {
    let mut command = redis_owner("redis://localhost:0");
    let (_owner, line) = first_line(command.env("CONCLIB_REDIS_SERVER", "false")).await;
    assert!(line.contains("ended at once (exit status: 1)"), "{line}");
}

#[tokio::test]
async fn log_of_a_redis_arrives() {
    capture_log();
    let redis = start_redis(&any_port(":hidden-password@")).await.unwrap();
    redis.shutdown().await.unwrap();
    let log = logged();
    assert!(
        log.contains("conclib::redis: Ready to accept connections"),
        "{log}"
    );
    assert!(
        log.contains("ready to exit"),
        "shutdown waits for the last line: {log}"
    );
    assert!(!log.contains("hidden-password"), "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test]
async fn redis_that_ends_by_itself_is_reported() {
    capture_log();
    let redis = start_redis(&any_port("")).await.unwrap();
    // SHUTDOWN closes the connection without an answer.
    let _ = commands(redis.config().port().unwrap(), "SHUTDOWN NOSAVE").await;
    eventually("the log says so", async || {
        logged().contains("ended by itself")
    })
    .await;
    let error = redis.shutdown().await.unwrap_err();
    assert!(
        matches!(error, StopDaemonError::EndedEarlier { .. }),
        "{error}"
    );
}

/// A Redis on a free port; `login` is `user:password@` or empty.
fn any_port(login: &str) -> Config {
    collect_logs();
    Config::new(&format!("redis://{login}localhost:0")).unwrap()
}

/// Another process that owns a Redis.
fn redis_owner(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redis_owner"));
    command.arg(url).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

async fn own_redis(login: &str) -> (Child, u16) {
    let (owner, line) = first_line(&mut redis_owner(&format!("redis://{login}localhost:0"))).await;
    let port = line
        .strip_prefix("ready ")
        .unwrap_or_else(|| panic!("{line}"));
    (owner, port.parse().unwrap())
}

async fn first_line(command: &mut Command) -> (Child, String) {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(BOUND, lines.next_line()).await.unwrap().unwrap();
    (child, line.unwrap())
}

async fn directory_of(port: u16) -> String {
    let answer = commands(port, "CONFIG GET dir").await.unwrap();
    answer
        .lines()
        .find(|line| line.starts_with('/'))
        .unwrap()
        .to_owned()
}

/// The reply of a Redis to commands, one per line.
async fn commands(port: u16, commands: &str) -> io::Result<String> {
    exchange(port, &format!("{commands}\r\nQUIT\r\n")).await
}

async fn signal(name: &str, process: u32) {
    conclib_tests::process::signal(name, &process.to_string()).await;
}
