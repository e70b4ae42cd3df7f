//! The members and clients of a simulation, and the events that happen to them.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// The members, the bus, and the records.
pub(super) struct World {
    config: Config,
    random: Rng,
    members: Vec<Member>,
    clients: Vec<Faults>,
    map: Arc<dyn FleetMap>,
    pub(super) records: Arc<Mutex<Records>>,
    numbers: Arc<AtomicU64>,
}

struct Member {
    node: String,
    system: ActorSystem,
    faults: Faults,
}

/// A client that asks while events happen.
pub(super) struct Caller {
    id: u8,
    client: ProxyClient,
    records: Arc<Mutex<Records>>,
    numbers: Arc<AtomicU64>,
}

impl World {
    /// Starts the members.
    pub(super) async fn begin(seed: u64) -> Self {
        let config = Config::memory().fleet();
        let mut world = Self {
            random: Rng::with_seed(seed),
            members: Vec::new(),
            clients: Vec::new(),
            map: map(&config).await,
            config,
            records: Arc::default(),
            numbers: Arc::default(),
        };
        let count = world.random.usize(2..=4);
        for number in 0..count {
            let node = format!("m{number}");
            world.start(node).await;
        }
        world
    }

    fn faults(&mut self) -> Faults {
        let longest = self.random.u32(1..30);
        Faults::seeded(self.random.u64(..)).delay(Duration::ZERO..longest * MS)
    }

    async fn start(&mut self, node: String) {
        let system = ActorSystem::new();
        let faults = self.faults();
        let executor = |urn| Executor {
            urn,
            pace: 2 * MS,
            records: self.records.clone(),
        };
        let shared = system.spawn(executor(SHARED)).urn(SHARED).shared();
        shared.await.unwrap();
        for urn in LISTED {
            system.spawn(executor(urn)).urn(urn).await.unwrap();
        }
        let config = self.config.clone().instance(&node).faults(faults.clone());
        start_proxy(&system, &config).await.unwrap();
        self.members.push(Member {
            node,
            system,
            faults,
        });
    }

    /// Connects the clients.
    pub(super) async fn clients(&mut self) -> Vec<Caller> {
        let mut callers = Vec::new();
        for id in 0..2 {
            let faults = self.faults();
            let config = self.config.clone().faults(faults.clone());
            self.clients.push(faults);
            callers.push(Caller {
                id,
                client: ProxyClient::connect(&config).await.unwrap(),
                records: self.records.clone(),
                numbers: self.numbers.clone(),
            });
        }
        callers
    }

    /// Has events happen until that time.
    pub(super) async fn happen(&mut self, scenario: Scenario, end: Instant) {
        loop {
            let pause = self.random.u32(100..3_000) * MS;
            if Instant::now() + pause > end {
                return;
            }
            sleep(pause).await;
            match scenario {
                Scenario::Deploys => self.deploy().await,
                Scenario::Kills => self.kill().await,
                Scenario::Partitions => self.partition().await,
                Scenario::Everything => match self.random.u8(..6) {
                    0 | 1 => self.deploy().await,
                    2 => self.kill().await,
                    3 | 4 => self.partition().await,
                    _ => self.lose_the_map().await,
                },
            }
        }
    }

    fn take_member(&mut self) -> Member {
        let index = self.random.usize(..self.members.len());
        self.members.remove(index)
    }

    /// The node of a process that starts after another one.
    fn next_node(&mut self, former: String) -> String {
        if self.random.bool() {
            former
        } else {
            format!("n{}", self.random.u32(..))
        }
    }

    /// Stops a member in good order, and starts it again.
    async fn deploy(&mut self) {
        let member = self.take_member();
        drop(member.system.shutdown().await);
        sleep(self.random.u32(..2_000) * MS).await;
        let node = self.next_node(member.node);
        self.start(node).await;
    }

    /// Ends a member without a word, and starts another one.
    async fn kill(&mut self) {
        let member = self.take_member();
        member.faults.cut();
        for actor in [SHARED, LISTED[0], LISTED[1]] {
            if let Ok(actor) = member.system.actor::<Executor>(actor) {
                actor.kill();
            }
        }
        let ending = async move { drop(member.system.shutdown().timeout(SECOND).await) };
        drop(tokio::spawn(ending));
        sleep(self.random.u32(..4_000) * MS).await;
        let node = self.next_node(member.node);
        self.start(node).await;
    }

    /// Cuts a member, or a client, off the bus for a while.
    async fn partition(&mut self) {
        let ends = self.members.iter().map(|member| &member.faults);
        let ends: Vec<_> = ends.chain(&self.clients).cloned().collect();
        let faults = ends[self.random.usize(..ends.len())].clone();
        faults.cut();
        sleep(self.random.u32(100..9_000) * MS).await;
        faults.resume();
    }

    /// Has the map lose all of its members, or some of its names.
    async fn lose_the_map(&mut self) {
        let members = self.map.counters().await.unwrap().heartbeats;
        let loses_members = self.random.bool();
        for (id, heartbeats) in members {
            if loses_members {
                drop(self.map.remove(id, heartbeats).await);
            } else {
                drop(self.map.unlist(id, &LISTED.map(urn)).await);
            }
        }
    }

    /// Ends all faults.
    pub(super) fn heal(&self) {
        let ends = self.members.iter().map(|member| &member.faults);
        ends.chain(&self.clients).for_each(Faults::resume);
    }

    /// Entries of the map that are of no living member, a while after the last event.
    pub(super) async fn left_behind(&self) -> Option<String> {
        sleep(90 * SECOND).await;
        let counters = self.map.counters().await.unwrap();
        let members = counters.heartbeats.len();
        let is_clean = members == self.members.len() && counters.unswept_since.0 == 0;
        (!is_clean).then(|| {
            let living = self.members.len();
            format!(
                "the map has {members} members, and {living} live; {}",
                counters.unswept_since.0
            )
        })
    }
}

impl Caller {
    /// Asks all names again and again, without waiting for the answers.
    pub(super) async fn ask_until(&self, end: Instant) {
        let mut asked = tokio::task::JoinSet::new();
        while Instant::now() < end {
            for urn in [SHARED, LISTED[0], LISTED[1]] {
                let timeout = fastrand::u32(1..6) * SECOND;
                asked.spawn(self.ask(urn, timeout, false));
            }
            sleep(fastrand::u32(1..90) * MS).await;
        }
        asked.join_all().await;
    }

    /// Asks each name once, while nothing happens.
    pub(super) async fn ask_each_name(&self) {
        for urn in [SHARED, LISTED[0], LISTED[1]] {
            self.ask(urn, 2 * SECOND, true).await;
        }
    }

    /// One request, which is sent at once.
    fn ask(
        &self,
        urn: &'static str,
        timeout: Duration,
        is_calm: bool,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (client, records) = (self.id, self.records.clone());
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let start = Instant::now();
        let ask = self.client.ask(urn, Execute { client, number });
        let asking = ask.timeout(timeout).into_future();
        async move {
            let outcome = super::checks::Outcome {
                urn,
                answer: asking.await,
                elapsed: start.elapsed(),
                timeout,
                is_calm,
            };
            records.lock().ended(number, outcome);
        }
    }
}
