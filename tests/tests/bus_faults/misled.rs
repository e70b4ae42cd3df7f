//! A Redis that lacks commands, is no Redis, or does not answer.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;

use conclib::Config;
use conclib::bus::ConnectionState;
use conclib::error::Delivered;
use conclib::prelude::*;
use conclib_tests::actors::Worker;
use conclib_tests::bus::Bus;
use conclib_tests::messages::Double;
use conclib_tests::relay::{Direction, Mode, Relay};
use conclib_tests::{ASK_TIMEOUT, MS, SECOND, eventually, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// A Redis without some of its commands, as managed servers are.
struct Lacking {
    _process: Child,
    config: Config,
}

impl Lacking {
    async fn start(commands: &[&str]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut redis = Command::new("redis-server");
        redis.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ]);
        for command in commands {
            redis.args(["--rename-command", command, ""]);
        }
        redis.stdout(Stdio::null()).stderr(Stdio::null());
        let process = redis.kill_on_drop(true).spawn().unwrap();
        eventually("Redis listens", async || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .is_ok()
        })
        .await;
        let config = Config::new(&format!("redis://127.0.0.1:{port}")).unwrap();
        Self {
            _process: process,
            config: config.timeout(ASK_TIMEOUT),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_append_puts_no_answer_out_of_step() {
    let redis = Lacking::start(&["XADD"]).await;
    let system = ActorSystem::new();
    system.spawn(Worker::default()).await.unwrap();
    start_proxy(&system, &redis.config).await.unwrap();
    let client = ProxyClient::connect(&redis.config).await.unwrap();
    for n in 0..20 {
        // The error repeats the frame, which is no UTF-8.
        let durable = client.ask("worker", Double { n }).durable();
        let refused = durable.timeout(50 * MS).await;
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(client.ask("worker", Double { n }).await, Ok(2 * n));
    }
    assert!(system.shutdown().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_command_is_named_at_the_start() {
    let redis = Lacking::start(&["PUBLISH"]).await;
    let error = start_proxy(&ActorSystem::new(), &redis.config).await;
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("replies cannot be published: ERR unknown command"),
        "{text}"
    );
    assert!(text.contains("it was renamed"), "{text}");
    drop(ProxyClient::connect(&redis.config).await.unwrap());

    let redis = Lacking::start(&["RPUSH"]).await;
    let error = ProxyClient::connect(&redis.config).await;
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("requests cannot be sent: ERR unknown command"),
        "{text}"
    );

    let redis = Lacking::start(&["BLMPOP"]).await; // as before Redis 7
    let system = ActorSystem::new();
    system.spawn(Worker::default()).await.unwrap();
    start_proxy(&system, &redis.config).await.unwrap();
    let client = ProxyClient::connect(&redis.config).await.unwrap();
    for n in 0..100 {
        assert_eq!(client.ask("worker", Double { n }).await, Ok(2 * n));
    }
}

/// Answers the first bytes of each connection with a text, and closes it.
async fn speaks(text: &'static [u8]) -> Config {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(text).await;
        }
    });
    Config::new(&format!("redis://127.0.0.1:{port}")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_is_no_redis_is_named() {
    for (text, hint) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            "this is no Redis: it sent `HTTP/1.1 400",
        ),
        (b"\x15\x03\x03\x00\x02\x02\x46", "it speaks TLS"),
        (b"", "closed the connection at once"),
        // One line, and the connection is closed: so does Redis too.
        (
            b"-NOAUTH Authentication required.\r\n",
            "name user and password",
        ),
        (
            b"-DENIED Redis is running in protected mode\r\n",
            "give it a password",
        ),
        (
            b"-ERR max number of clients reached\r\n",
            "max number of clients reached",
        ),
    ] {
        let config = speaks(text).await;
        let error = within(ProxyClient::connect(&config)).await.unwrap_err();
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_shows_in_the_state_before_the_connection_is_given_up() {
    let bus = Bus::redis().await;
    let redis = (Ipv4Addr::LOCALHOST, bus.config.port().unwrap());
    let relay = Relay::start(redis.into()).await.unwrap();
    let url = format!("redis://127.0.0.1:{}", relay.port());
    let client = ProxyClient::connect(&Config::new(&url).unwrap())
        .await
        .unwrap();
    let mut state = client.connection_state();
    assert_eq!(
        relay.set("commands", Direction::FromRedis, Mode::Swallowing),
        1
    );
    let asked = client.ask("worker", Double { n: 1 }).timeout(10 * SECOND);
    let asked = tokio::spawn(asked.into_future());
    let is_silent = |state: &ConnectionState| matches!(state, ConnectionState::Unresponsive { .. });
    let silent = within(state.wait_for(is_silent)).await.unwrap().to_string();
    assert!(
        silent.contains("commands: Redis has not answered"),
        "{silent}"
    );
    let is_lost = |state: &ConnectionState| matches!(state, ConnectionState::Reconnecting { .. });
    drop(within(state.wait_for(is_lost)).await.unwrap());
    drop(
        within(state.wait_for(ConnectionState::is_connected))
            .await
            .unwrap(),
    );
    let refused = within(asked).await.unwrap().unwrap_err();
    assert_eq!(refused.delivered(), Delivered::No, "{refused:?}");
}
