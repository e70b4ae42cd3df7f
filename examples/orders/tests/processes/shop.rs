//! Redis, a web process and workers of one test.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::PathBuf;

use conclib::daemon::RedisDaemon;
use conclib::prelude::*;
use orders::worker::store::Store;
use rusqlite::Connection;
use tokio::process::Command;

use crate::customers::Outcome;
use crate::program::Program;

/// Notes each order that is written again without a change.
const NOTE_REPETITIONS: &str = "
    CREATE TABLE repeated (id TEXT);
    CREATE TRIGGER note AFTER UPDATE ON orders WHEN NEW.status = OLD.status
    BEGIN INSERT INTO repeated VALUES (NEW.id); END";

/// A Redis, a web process and a database; workers come and go.
pub(crate) struct Shop {
    pub(crate) config: Config,
    /// The address of the web process.
    pub(crate) url: String,
    _web: Program,
    _redis: RedisDaemon,
    directory: PathBuf,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::open_at(&Config::new("redis://127.0.0.1:0").unwrap()).await
    }

    /// Opens a shop with the Redis of this config, which is started.
    pub(crate) async fn open_at(config: &Config) -> Self {
        let redis = start_redis(config).await.unwrap();
        let config = redis.config().clone();
        let (web, url) = web(&config).await;
        let name = format!("orders-{}-{}", std::process::id(), config.port().unwrap());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let shop = Self {
            config,
            url,
            _web: web,
            _redis: redis,
            directory,
        };
        drop(Store::open(&shop.database()).unwrap());
        shop.connection().execute_batch(NOTE_REPETITIONS).unwrap();
        shop
    }

    /// Starts a worker; an empty instance is none.
    pub(crate) fn worker(&self, instance: &str) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orders-worker"));
        command.envs(self.config.variables());
        command.env("ORDERS_DATABASE", self.database());
        command.env("RUST_LOG", "conclib=info");
        if !instance.is_empty() {
            command.env("CONCLIB_INSTANCE", instance);
        }
        Program::start(command)
    }

    /// Checks that the database has the orders that were placed, and has written each of them once.
    pub(crate) fn assert_stored_once(&self, outcomes: &[Outcome]) {
        let placed = outcomes.iter().filter(|outcome| outcome.places);
        let placed: BTreeSet<_> = placed.map(|outcome| outcome.key.clone()).collect();
        let database = self.connection();
        let read = |sql| {
            let mut statement = database.prepare(sql).unwrap();
            let ids = statement.query_map([], |row| row.get(0)).unwrap();
            ids.collect::<Result<Vec<String>, _>>().unwrap()
        };
        let stored = read("SELECT id FROM orders");
        assert_eq!(stored.len(), placed.len());
        assert_eq!(stored.into_iter().collect::<BTreeSet<_>>(), placed);
        assert_eq!(read("SELECT id FROM repeated"), [""; 0]);
    }

    fn database(&self) -> PathBuf {
        self.directory.join("orders.db")
    }

    fn connection(&self) -> Connection {
        Connection::open(self.database()).unwrap()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// Starts a web process; returns its address as well.
pub(crate) async fn web(config: &Config) -> (Program, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orders-web"));
    command.envs(config.variables());
    command.env("ORDERS_ADDRESS", "127.0.0.1:0");
    let mut web = Program::start(command);
    let url = web.line("serving at ").await;
    (web, format!("http://{url}"))
}

/// A port that no process listens on at this moment.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A number from the environment.
pub(crate) fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}
