//! The address leads to another Redis, and the old connections stay open: a changed DNS entry, or a
//! virtual address that has moved.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use conclib::bus::ConnectionState;
use conclib::error::Delivered;
use conclib::prelude::*;
use conclib_tests::messages::{Double, Record};
use conclib_tests::{MS, SECOND, eventually};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::pair::Pair;
use crate::{answered, rounds};

/// The numbers that were recorded, in the order in which they were.
type Executed = Arc<Mutex<Vec<u32>>>;

/// Answers `Double`, and records numbers where the test sees them, whichever system it belongs to.
#[derive(Actor, Debug)]
#[actor(urn = "worker")]
struct Recorder(Executed);

#[handlers]
impl Recorder {
    #[handler]
    fn double(&mut self, message: Double) -> u32 {
        2 * message.n
    }

    #[handler]
    fn record(&mut self, message: Record) {
        self.0.lock().unwrap().push(message.n);
    }
}

/// An actor system and a client over the address of a pair, and asks without end.
struct Service {
    pair: Pair,
    system: ActorSystem,
    client: ProxyClient,
    executed: Executed,
    asking: Asking,
}

/// Asks to record numbers, until it is told to stop.
struct Asking {
    stop: CancellationToken,
    tasks: Vec<AbortOnDropHandle<Told>>,
}

/// The numbers by what the asker was told.
#[derive(Default)]
struct Told {
    recorded: Vec<u32>,
    /// `Delivered::No`: certainly not recorded.
    absent: Vec<u32>,
}

impl Asking {
    /// Number of askers.
    const ASKERS: u32 = 8;

    fn begin(client: &ProxyClient) -> Self {
        let stop = CancellationToken::new();
        let ask = |first| ask_on(client.clone(), stop.clone(), first);
        let tasks = (0..Self::ASKERS).map(|first| AbortOnDropHandle::new(tokio::spawn(ask(first))));
        Self {
            tasks: tasks.collect(),
            stop,
        }
    }

    async fn end(self) -> Told {
        self.stop.cancel();
        let mut all = Told::default();
        for task in self.tasks {
            let told = task.await.unwrap();
            all.recorded.extend(told.recorded);
            all.absent.extend(told.absent);
        }
        all
    }
}

async fn ask_on(client: ProxyClient, stop: CancellationToken, first: u32) -> Told {
    let mut told = Told::default();
    for n in (first..).step_by(Asking::ASKERS as usize) {
        if stop.is_cancelled() {
            break;
        }
        match client.ask("worker", Record { n }).await {
            Ok(()) => told.recorded.push(n),
            Err(error) if error.delivered() == Delivered::No => told.absent.push(n),
            Err(_) => {}
        }
        sleep(MS).await;
    }
    told
}

impl Service {
    async fn start() -> Self {
        let pair = Pair::start().await;
        let executed = Executed::default();
        let system = serve(&pair, &executed).await;
        let client = ProxyClient::connect(&pair.config()).await.unwrap();
        answered(&client, Instant::now()).await;
        Self {
            asking: Asking::begin(&client),
            pair,
            system,
            client,
            executed,
        }
    }

    /// Waits until plain and durable asks are answered, in time after that moment.
    async fn answers(&self, since: Instant) {
        answered(&self.client, since).await;
    }

    /// Compares what the askers were told with what was executed.
    async fn end(self) {
        let told = self.asking.end().await;
        self.system.shutdown().await;
        let executed = self.executed.lock().unwrap();
        let mut distinct = executed.clone();
        distinct.sort_unstable();
        assert!(
            distinct.is_sorted_by(|a, b| a < b),
            "one was executed twice"
        );
        let is_executed = |n: &u32| distinct.binary_search(n).is_ok();
        assert!(!told.absent.iter().any(is_executed), "told `Delivered::No`");
        assert!(told.recorded.iter().all(is_executed));
        println!(
            "{} recorded, {} refused",
            told.recorded.len(),
            told.absent.len()
        );
    }
}

/// A system with the recorder, over the address of the pair.
async fn serve(pair: &Pair, executed: &Executed) -> ActorSystem {
    let system = ActorSystem::new();
    system.spawn(Recorder(executed.clone())).await.unwrap();
    start_proxy(&system, &pair.config()).await.unwrap();
    system
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_is_demoted_at_once_is_left() {
    for _ in 0..rounds(1) {
        let service = Service::start().await;
        let mut state = service.client.connection_state();
        state.mark_unchanged();
        service.pair.in_step().await;
        service.pair.fail_over().await;
        service.pair.first.replicate(&service.pair.second).await;
        service.answers(Instant::now()).await;
        // The state has said so meanwhile.
        assert!(state.has_changed().unwrap());
        assert_eq!(*state.borrow(), ConnectionState::Connected);
        service.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_hear_no_error_follow_the_others() {
    let service = Service::start().await;
    service.pair.in_step().await;
    service.pair.fail_over().await;
    // Connections that write are lost one by one, and made again at the new server.
    for kind in ["commands", "pops", "durable"] {
        service.pair.relay.cut(kind);
    }
    service.pair.first.replicate(&service.pair.second).await;
    eventually("no connection is left at the former server", async || {
        let list = service.pair.first.command(&["CLIENT", "LIST"]).await;
        !list.contains("name=conclib:")
    })
    .await;
    service.answers(Instant::now()).await;
    service.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_has_lost_writes_and_is_demoted_later_is_left() {
    for _ in 0..rounds(1) {
        let service = Service::start().await;
        // The replica does not know of what comes now: not even of the lease, soon.
        service.pair.second.promote().await;
        service.answers(Instant::now()).await;
        service.pair.fail_over().await;
        sleep(5 * SECOND).await;
        // Both take writes, and both ends still use the first.
        service.answers(Instant::now()).await;
        service.pair.first.replicate(&service.pair.second).await;
        service.answers(Instant::now()).await;
        service.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_is_never_demoted_is_left_by_clients_without_an_actor_system() {
    for _ in 0..rounds(1) {
        let mut service = Service::start().await;
        service.pair.in_step().await;
        service.pair.fail_over().await;
        // The process of the actors is started again: on the new server.
        service.system.shutdown().await;
        service.system = serve(&service.pair, &service.executed).await;
        let absent = service.client.ask("worker", Double { n: 1 }).await;
        assert_eq!(absent, Err(AskError::NoResponder));
        let known = Instant::now() + 10 * SECOND;
        eventually("the client finds the new server", async || {
            service.client.ask("worker", Double { n: 1 }).await == Ok(2)
        })
        .await;
        service.answers(known).await;
        service.end().await;
    }
}
