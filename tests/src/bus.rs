//! A bus, an actor system on it, and a client.

use std::time::Duration;

use conclib::{ActorSystem, Config, Proxy, ProxyClient, RedisDaemon, start_proxy, start_redis};

use crate::actors::{Keeper, Raw, Worker};

/// More than anything here takes, even on a busy machine.
pub const BOUND: Duration = Duration::from_secs(50);

/// Longer than any ask here takes that is answered.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Makes tests of cases, each on the bus in memory and on a Redis. The file that has the cases in modules
/// says in `run` how one is run.
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

/// A bus of one's own.
#[derive(Debug)]
pub struct Bus {
    /// How to reach it.
    pub config: Config,
    /// What runs for it.
    pub redis: Option<RedisDaemon>,
}

impl Bus {
    /// The one in memory.
    pub fn memory() -> Self {
        Self {
            config: Config::memory().timeout(PATIENCE),
            redis: None,
        }
    }

    /// A Redis.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn redis() -> Self {
        let config = Config::new("redis://127.0.0.1:0").expect("a valid URL");
        let redis = start_redis(&config.timeout(PATIENCE)).await;
        let redis = redis.expect("a Redis starts");
        Self {
            config: redis.config().clone(),
            redis: Some(redis),
        }
    }

    /// A client.
    ///
    /// # Panics
    ///
    /// If it does not connect.
    pub async fn client(&self) -> ProxyClient {
        ProxyClient::connect(&self.config)
            .await
            .expect("a client connects")
    }

    /// An actor system that serves, without actors.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn system(&self) -> (ActorSystem, Proxy) {
        let system = ActorSystem::new();
        let proxy = start_proxy(&system, &self.config).await;
        (system, proxy.expect("the proxy starts"))
    }

    /// An actor system with the actors `worker`, `keeper` and `raw`, and a client.
    ///
    /// # Panics
    ///
    /// If they do not start.
    pub async fn stage(self) -> Stage {
        let (system, proxy) = self.system().await;
        let started = tokio::join!(
            system.spawn(Worker::default()),
            system.spawn(Keeper::default()),
            system.spawn(Raw),
        );
        assert!(started.0.is_ok() && started.1.is_ok() && started.2.is_ok());
        let client = self.client().await;
        Stage {
            system,
            proxy,
            client,
            bus: self,
        }
    }
}

/// All that a test of the bus needs.
#[derive(Debug)]
pub struct Stage {
    /// Where the actors live.
    pub system: ActorSystem,
    /// Its end of the bus.
    pub proxy: Proxy,
    /// The other end.
    pub client: ProxyClient,
    /// What is between them; it ends last.
    pub bus: Bus,
}

/// Waits until something is so.
///
/// # Panics
///
/// If it is not so in time.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "never: {what}");
}
