//! Faults injected into the bus in memory, reproducibly.
//!
//! Faults happen between the bus and the end that takes from it: for a request where the actor system
//! pops it, for a response where the client receives it. So the sender sees the replies of a bus
//! without faults, and delayed frames do not depend on an end that may be gone.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use parking_lot::{Mutex, MutexGuard};

use crate::bus::config::{Bus, Config, TransportLayer};
use crate::bus::transport::{
    ClientTransport, OperatorTransport, ReplySink, ServerTransport, TransportError,
};
use crate::reply::remote::ClientId;
use client::FaultyClient;
use operator::FaultyOperator;
use server::FaultyServer;

mod client;
mod delay_queue;
mod fleet;
mod operator;
mod server;
mod stream;

/// Faults of a [`Config::memory`](crate::Config::memory) bus: delay, loss, duplication, outages.
///
/// A **lost** request or response was accepted and never arrives: its asker ends with
/// [`Timeout`](crate::AskError::Timeout). A **duplicated** request arrives twice and is handled
/// once; a duplicated response counts once. A **delayed** frame stays in order behind the frames that
/// the same client sent, or was sent, before. Delays are in tokio's time, so they cost nothing while
/// that is paused. The end of a proxy delivers the frames that are still delayed.
///
/// The seed decides: the n-th request of the n-th client that connects, and the n-th response
/// that comes back to it, meet the same faults in each run. In a runtime with one thread and paused
/// time that makes the whole run the same.
///
/// Cheap to clone; [`cut`](Self::cut), [`calm`](Self::calm) and [`resume`](Self::resume) hold for
/// every clone, while the bus is in use.
///
/// ```
/// use conclib::prelude::*;
/// use conclib::test::Faults;
/// use std::time::Duration;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(response = u32)]
/// struct Double { n: u32 }
///
/// #[derive(Actor)]
/// #[actor(urn = "doubler")]
/// struct Doubler;
///
/// #[handlers]
/// impl Doubler {
///     #[handler]
///     async fn double(&mut self, message: Double) -> u32 { message.n * 2 }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ms = Duration::from_millis;
/// let faults = Faults::seeded(7).delay(ms(5)..ms(50)).lose(0.3).duplicate(0.05);
/// println!("{faults:?}"); // to repeat a run that failed
/// let config = Config::memory().faults(faults.clone());
///
/// let system = ActorSystem::new();
/// start_proxy(&system, &config).await?;
/// system.spawn(Doubler).await?;
/// let client = ProxyClient::connect(&config).await?;
///
/// let mut lost = 0;
/// for n in 0..100 {
///     match client.ask("doubler", Double { n }).await {
///         Ok(answer) => assert_eq!(answer, n * 2),
///         Err(error) => {
///             assert!(matches!(error, AskError::Timeout { .. }), "{error}");
///             lost += 1;
///         }
///     }
/// }
/// assert!(lost > 0);
///
/// faults.cut();
/// let away = client.ask("doubler", Double { n: 1 }).await;
/// assert!(matches!(away, Err(AskError::Unavailable { .. })));
/// faults.calm();
/// assert_eq!(client.ask("doubler", Double { n: 1 }).await, Ok(2));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Faults {
    seed: u64,
    /// From the shortest to the longest delay; both are zero if frames are not delayed.
    delay: Range<Duration>,
    /// The probability that a frame is lost.
    lose: f64,
    /// The probability that a frame arrives twice.
    duplicate: f64,
    state: Arc<Mutex<FaultState>>,
}

/// The state that the clones share.
struct FaultState {
    mode: FaultMode,
    /// Forks the generators of the next client.
    root: Rng,
    /// The generators of each client, in [`Direction`]'s order. They stay after it has disconnected.
    clients: HashMap<ClientId, [Rng; 2]>,
}

/// The faults that happen at the moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FaultMode {
    /// The configured ones.
    Faulty,
    /// None.
    Calm,
    /// Every operation fails.
    Cut,
}

/// The direction of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Request = 0,
    Response = 1,
}

impl Faults {
    /// No faults yet; the seed decides on those that the other methods configure.
    pub fn seeded(seed: u64) -> Self {
        let state = FaultState {
            mode: FaultMode::Faulty,
            root: Rng::with_seed(seed),
            clients: HashMap::new(),
        };
        Self {
            seed,
            delay: Duration::ZERO..Duration::ZERO,
            lose: 0.0,
            duplicate: 0.0,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Delay of each request and each response, evenly spread over the range; `d..d` is exactly `d`.
    ///
    /// # Panics
    ///
    /// If the range ends before it starts.
    #[must_use]
    #[track_caller]
    pub fn delay(mut self, range: Range<Duration>) -> Self {
        assert!(
            range.start <= range.end,
            "a delay from {:?} to {:?} ends before it starts",
            range.start,
            range.end
        );
        self.delay = range;
        self
    }

    /// Probability that a request, or a response, never arrives: 0 never, 1 always.
    ///
    /// # Panics
    ///
    /// If it is not from 0 to 1.
    #[must_use]
    #[track_caller]
    pub fn lose(mut self, probability: f64) -> Self {
        check_probability(probability, "loss");
        self.lose = probability;
        self
    }

    /// Probability that a request, or a response, that arrives does so twice.
    ///
    /// # Panics
    ///
    /// If it is not from 0 to 1.
    #[must_use]
    #[track_caller]
    pub fn duplicate(mut self, probability: f64) -> Self {
        check_probability(probability, "duplication");
        self.duplicate = probability;
        self
    }

    /// The seed that reproduces the run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Cuts the bus, as an outage of Redis would: asks end with
    /// [`Unavailable`](crate::AskError::Unavailable), and a proxy that cannot renew its lease for
    /// 6 s loses it, and takes it again after the outage. A request on its way waits for the end of the
    /// outage; a response that would arrive meanwhile is lost.
    pub fn cut(&self) {
        self.state().mode = FaultMode::Cut;
    }

    /// Ends all faults; frames that are already delayed arrive when they were to.
    pub fn calm(&self) {
        self.state().mode = FaultMode::Calm;
    }

    /// Injects the configured faults again.
    pub fn resume(&self) {
        self.state().mode = FaultMode::Faulty;
    }

    fn is_cut(&self) -> bool {
        self.state().mode == FaultMode::Cut
    }

    /// Enters a client that connects: its place in the order decides on its faults.
    fn connect(&self, client: ClientId) {
        self.state().generator(client, Direction::Request);
    }

    /// The delays of the copies of the next frame: none, one or two. Draws the same numbers in every
    /// mode, so that a calm hour does not change the faults after it.
    fn decide(&self, client: ClientId, direction: Direction) -> Vec<Duration> {
        let mut state = self.state();
        let generator = state.generator(client, direction);
        let lost = generator.f64() < self.lose;
        let twice = generator.f64() < self.duplicate;
        let width = self.delay.end.saturating_sub(self.delay.start);
        let delays = [(); 2].map(|()| self.delay.start + width.mul_f64(generator.f64()));
        match state.mode {
            FaultMode::Faulty if lost => Vec::new(),
            FaultMode::Faulty if twice => delays.to_vec(),
            FaultMode::Faulty => vec![delays[0]],
            FaultMode::Calm | FaultMode::Cut => vec![Duration::ZERO],
        }
    }

    fn state(&self) -> MutexGuard<'_, FaultState> {
        self.state.lock()
    }
}

impl FaultState {
    fn generator(&mut self, client: ClientId, direction: Direction) -> &mut Rng {
        let root = &mut self.root;
        let generators = self.clients.entry(client);
        let both = generators.or_insert_with(|| [root.fork(), root.fork()]);
        &mut both[direction as usize]
    }
}

/// Fails while the bus is cut.
fn check(faults: &Faults) -> Result<(), TransportError> {
    if faults.is_cut() {
        return Err(TransportError::NotDone(
            "the bus is cut, on purpose".to_owned(),
        ));
    }
    Ok(())
}

impl TransportLayer for Faults {
    fn server(&self, inner: Arc<dyn ServerTransport>) -> Arc<dyn ServerTransport> {
        Arc::new(FaultyServer::new(inner, self))
    }

    fn client(
        &self,
        client: ClientId,
        replies: Arc<dyn ReplySink>,
        open: &dyn Fn(Arc<dyn ReplySink>) -> Arc<dyn ClientTransport>,
    ) -> Arc<dyn ClientTransport> {
        Arc::new(FaultyClient::new(open, self, client, replies))
    }

    fn operator(&self, inner: Arc<dyn OperatorTransport>) -> Arc<dyn OperatorTransport> {
        let faults = self.clone();
        Arc::new(FaultyOperator { inner, faults })
    }
}

impl Config {
    /// Injects faults into the bus in memory, for tests of programs that must bear them. Needs the
    /// feature `test-util`.
    ///
    /// On a Redis it is a wrong setting, reported by the first use of the config. The actor process
    /// and its clients use the same config: requests meet their faults where the actor process takes
    /// them, responses where the client does.
    ///
    /// ```
    /// use conclib::Config;
    /// use conclib::test::Faults;
    ///
    /// let config = Config::memory().faults(Faults::seeded(7).lose(0.1));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        if let Bus::Redis(_) = self.bus {
            self.reject("the bus", "faults need the one in memory, not a Redis");
        }
        self.faults = Some(Arc::new(faults));
        self
    }
}

#[track_caller]
fn check_probability(probability: f64, fault: &str) {
    assert!(
        (0.0..=1.0).contains(&probability),
        "the probability of {fault} must be from 0 to 1, not {probability}"
    );
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("seed", &self.seed)
            .field("delay", &self.delay)
            .field("lose", &self.lose)
            .field("duplicate", &self.duplicate)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn faults(seed: u64) -> Faults {
        Faults::seeded(seed)
            .delay(5 * MS..50 * MS)
            .lose(0.3)
            .duplicate(0.3)
    }

    fn id(number: u8) -> ClientId {
        ClientId([number; 16])
    }

    fn decisions(faults: &Faults, client: ClientId, direction: Direction) -> Vec<Vec<Duration>> {
        (0..1000)
            .map(|_| faults.decide(client, direction))
            .collect()
    }

    #[test]
    fn seed_and_order_of_clients_decide() {
        let (one, other) = (faults(7), faults(7));
        // Different ids, as in every run, and other frames in between.
        for (faults, first, second) in [(&one, 1, 2), (&other, 8, 9)] {
            faults.connect(id(first));
            faults.connect(id(second));
        }
        let interleaved: Vec<_> = (0..1000)
            .map(|_| {
                other.decide(id(9), Direction::Request);
                other.decide(id(8), Direction::Response);
                other.decide(id(8), Direction::Request)
            })
            .collect();
        let alone = decisions(&one, id(1), Direction::Request);
        assert_eq!(alone, interleaved);
        assert_ne!(alone, decisions(&one, id(2), Direction::Request));
        assert_ne!(alone, decisions(&one, id(1), Direction::Response));
        assert_ne!(alone, decisions(&faults(8), id(1), Direction::Request));
    }

    #[test]
    fn faults_have_their_configured_frequency() {
        let decisions = decisions(&faults(1), id(1), Direction::Request);
        let count = |copies: usize| {
            decisions
                .iter()
                .filter(|delays| delays.len() == copies)
                .count()
        };
        assert!((250..350).contains(&count(0)), "{} are lost", count(0));
        assert!((160..260).contains(&count(2)), "{} are doubled", count(2));
        let delays: Vec<_> = decisions.iter().flatten().collect();
        assert!(
            delays
                .iter()
                .all(|delay| (5 * MS..50 * MS).contains(*delay))
        );
        assert!(delays.iter().any(|delay| **delay < 10 * MS));
        assert!(delays.iter().any(|delay| **delay > 45 * MS));
    }

    #[test]
    fn mode_does_not_change_later_decisions() {
        let (one, other) = (faults(7), faults(7));
        decisions(&one, id(1), Direction::Request);
        other.calm();
        let calm = decisions(&other, id(1), Direction::Request);
        assert!(calm.iter().all(|delays| *delays == [Duration::ZERO]));
        other.resume();
        let after = [&one, &other].map(|faults| decisions(faults, id(1), Direction::Request));
        assert_eq!(after[0], after[1]);
    }

    #[test]
    fn no_fault_happens_unless_configured() {
        let decisions = decisions(&Faults::seeded(1), id(1), Direction::Request);
        assert!(decisions.iter().all(|delays| *delays == [Duration::ZERO]));
    }
}
