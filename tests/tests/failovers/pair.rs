//! Two Redis servers, and an address that leads to one of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use conclib::Config;
use conclib::daemon::{RedisDaemon, start_redis};
use conclib_tests::eventually;
use conclib_tests::relay::Relay;
use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::config::Config as FredConfig;
use fred::types::{Builder, ClusterHash, CustomCommand, Value};

/// A Redis, and a connection to it.
pub(crate) struct Server {
    daemon: RedisDaemon,
    client: Client,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let config = Config::new("redis://127.0.0.1:0").unwrap();
        let daemon = start_redis(&config).await.unwrap();
        let url = format!("redis://127.0.0.1:{}", daemon.config().port().unwrap());
        let client = Builder::from_config(FredConfig::from_url(&url).unwrap());
        let client = client.build().unwrap();
        client.init().await.unwrap();
        Self { daemon, client }
    }

    pub(crate) fn port(&self) -> u16 {
        self.daemon.config().port().unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// Runs a command; its reply as text.
    pub(crate) async fn command(&self, words: &[&str]) -> String {
        let command = CustomCommand::new(words[0], ClusterHash::FirstKey, false);
        let rest: Vec<String> = words[1..].iter().map(|&word| word.to_owned()).collect();
        let reply: Value = self.client.custom(command, rest).await.unwrap();
        reply.as_string().unwrap_or_default()
    }

    /// Makes this server a replica of the other one, and waits until it has the same data.
    pub(crate) async fn replicate(&self, primary: &Self) {
        let port = primary.port().to_string();
        self.command(&["REPLICAOF", "127.0.0.1", &port]).await;
        eventually("the replica has the data", async || {
            let info = self.command(&["INFO", "replication"]).await;
            info.contains("master_link_status:up")
        })
        .await;
    }

    /// Makes this server take writes.
    pub(crate) async fn promote(&self) {
        self.command(&["REPLICAOF", "NO", "ONE"]).await;
    }
}

/// A primary, its replica, and the address that leads to the primary.
pub(crate) struct Pair {
    pub(crate) first: Server,
    pub(crate) second: Server,
    pub(crate) relay: Relay,
}

impl Pair {
    pub(crate) async fn start() -> Self {
        let (first, second) = tokio::join!(Server::start(), Server::start());
        // A replica that has just begun is told of writes at once.
        first
            .command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"])
            .await;
        second.replicate(&first).await;
        let relay = Relay::start(first.address()).await.unwrap();
        Self {
            first,
            second,
            relay,
        }
    }

    /// The config of the address.
    pub(crate) fn config(&self) -> Config {
        let url = format!("redis://127.0.0.1:{}", self.relay.port());
        Config::new(&url).unwrap().timeout(Duration::from_secs(1))
    }

    /// Waits until the replica has what the primary has.
    pub(crate) async fn in_step(&self) {
        assert_eq!(self.first.command(&["WAIT", "1", "10000"]).await, "1");
    }

    /// Promotes the second server, and leads new connections there. Open ones stay.
    pub(crate) async fn fail_over(&self) {
        self.second.promote().await;
        self.relay.retarget(self.second.address());
    }
}
