//! A bus fixture: a bus of the test's own, an actor system on it, and a client.

use std::net::{Ipv4Addr, SocketAddr};

use conclib::daemon::{RedisDaemon, start_redis};
use conclib::{ActorSystem, Config, Proxy, ProxyClient, start_proxy};

use crate::ASK_TIMEOUT;
use crate::actors::{Raw, ReplyHolder, Worker};
use crate::redis::send_command;

/// Makes two tests of each case, on the bus in memory and on a Redis. The function `run` of the file
/// whose modules have the cases runs one.
#[macro_export]
macro_rules! for_each_bus {
    ($($area:ident { $($case:ident)* })*) => {
        mod on_memory {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::run($crate::bus::Bus::memory(), super::$area::$case).await;
            })*)*
        }

        mod on_redis {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::run($crate::bus::Bus::redis().await, super::$area::$case).await;
            })*)*
        }
    };
}

/// A bus of the test's own.
#[derive(Debug)]
pub struct Bus {
    /// The config of its clients.
    pub config: Config,
    /// Its Redis, unless it is in memory.
    pub redis: Option<RedisDaemon>,
}

impl Bus {
    /// The bus in memory.
    pub fn memory() -> Self {
        Self {
            config: Config::memory().timeout(ASK_TIMEOUT),
            redis: None,
        }
    }

    /// A new Redis.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn redis() -> Self {
        let config = Config::new("redis://127.0.0.1:0").expect("a valid URL");
        let redis = start_redis(&config.timeout(ASK_TIMEOUT)).await;
        let redis = redis.expect("a Redis starts");
        Self {
            config: redis.config().clone(),
            redis: Some(redis),
        }
    }

    /// The URL of the Redis.
    ///
    /// # Panics
    ///
    /// On the bus in memory.
    pub fn url(&self) -> String {
        let port = self.config.port().expect("a Redis has a port");
        format!("redis://127.0.0.1:{port}")
    }

    /// The address of the Redis.
    ///
    /// # Panics
    ///
    /// On the bus in memory.
    pub fn address(&self) -> SocketAddr {
        let port = self.config.port().expect("a Redis has a port");
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// Sends a command to the Redis; its reply as text, an array as lines.
    ///
    /// # Panics
    ///
    /// On the bus in memory, and if the command fails.
    pub async fn command(&self, words: &[&str]) -> String {
        let bytes: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        let reply = send_command(self.address(), &bytes).await;
        reply.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Connects a client.
    ///
    /// # Panics
    ///
    /// If it does not connect.
    pub async fn client(&self) -> ProxyClient {
        ProxyClient::connect(&self.config)
            .await
            .expect("a client connects")
    }

    /// Starts an actor system without actors, and its proxy.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn system(&self) -> (ActorSystem, Proxy) {
        let system = ActorSystem::new();
        let proxy = start_proxy(&system, &self.config).await;
        (system, proxy.expect("the proxy starts"))
    }

    /// Starts an actor system with the actors `worker`, `holder` and `raw`, and a client.
    ///
    /// # Panics
    ///
    /// If they do not start.
    pub async fn fixture(self) -> BusFixture {
        let (system, proxy) = self.system().await;
        let started = tokio::join!(
            system.spawn(Worker::default()),
            system.spawn(ReplyHolder::default()),
            system.spawn(Raw),
        );
        assert!(started.0.is_ok() && started.1.is_ok() && started.2.is_ok());
        let client = self.client().await;
        BusFixture {
            system,
            proxy,
            client,
            bus: self,
        }
    }
}

/// Both ends of a bus.
#[derive(Debug)]
pub struct BusFixture {
    /// The system of the actors.
    pub system: ActorSystem,
    /// The system's end of the bus.
    pub proxy: Proxy,
    /// The asking end.
    pub client: ProxyClient,
    /// The bus between them; dropped last.
    pub bus: Bus,
}
