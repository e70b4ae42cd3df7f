//! What goes wrong on the memory bus, on purpose and reproducibly. No I/O.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;

use crate::reply::remote::ClientId;

pub(crate) mod stream;
#[cfg(feature = "test-util")]
pub(crate) mod transport;

/// What goes wrong on a [`Config::memory`](crate::Config::memory) bus: delay, loss, duplication,
/// outages.
///
/// A request or response that is **lost** was accepted and never arrives: its asker ends with
/// [`Timeout`](crate::AskError::Timeout). A **duplicated** request arrives twice and is handled
/// once, and a duplicated response is heard once. What is **delayed** stays in order behind what the
/// same client sent, or is sent, before. Delays are in tokio's time, so they cost nothing while that is
/// paused. The end of a proxy delivers what is still delayed.
///
/// The seed decides: the n-th request of the n-th client that connects, and the n-th response
/// that comes back to it, have the same fate in each run. In a runtime with one thread and paused
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
    /// From the least to the most; both are zero if nothing is delayed.
    delay: Range<Duration>,
    /// The probability that one is lost.
    lose: f64,
    /// The probability that one arrives twice.
    duplicate: f64,
    state: Arc<Mutex<State>>,
}

/// What the clones share.
struct State {
    weather: Weather,
    /// Where the generators of the next client come from.
    root: Rng,
    /// The generators of each client, in [`Direction`]'s order. They stay when it leaves.
    clients: HashMap<ClientId, [Rng; 2]>,
}

/// What is the matter with the bus just now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// What is configured goes wrong.
    Faulty,
    /// Nothing does.
    Calm,
    /// The bus is away.
    Cut,
}

/// Which way a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Request = 0,
    Response = 1,
}

impl Faults {
    /// Nothing goes wrong yet; what will, is decided by the seed.
    pub fn seeded(seed: u64) -> Self {
        let state = State {
            weather: Weather::Faulty,
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

    /// How long each request and each response is under way, evenly spread over the range;
    /// `d..d` is exactly `d`.
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

    /// How probable it is that a request, or a response, never arrives: 0 never, 1 always.
    ///
    /// # Panics
    ///
    /// If it is no probability.
    #[must_use]
    #[track_caller]
    pub fn lose(mut self, probability: f64) -> Self {
        check(probability, "loss");
        self.lose = probability;
        self
    }

    /// How probable it is that a request, or a response, that arrives does so twice.
    ///
    /// # Panics
    ///
    /// If it is no probability.
    #[must_use]
    #[track_caller]
    pub fn duplicate(mut self, probability: f64) -> Self {
        check(probability, "duplication");
        self.duplicate = probability;
        self
    }

    /// The seed that reproduces the run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Cuts the bus, as an outage of Redis would: asks end with
    /// [`Unavailable`](crate::AskError::Unavailable), and a proxy that cannot renew its lease for
    /// 6 s loses it, and takes it again after the outage. A request on its way waits for the end of the outage; a response that would arrive
    /// meanwhile is lost.
    pub fn cut(&self) {
        self.state().weather = Weather::Cut;
    }

    /// From now on nothing goes wrong; what is delayed arrives when it was to.
    pub fn calm(&self) {
        self.state().weather = Weather::Calm;
    }

    /// What is configured goes wrong again.
    pub fn resume(&self) {
        self.state().weather = Weather::Faulty;
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.state().weather == Weather::Cut
    }

    /// A client connects: its place in the order decides what it will meet.
    pub(crate) fn meet(&self, client: ClientId) {
        self.state().generator(client, Direction::Request);
    }

    /// How long each copy of the next frame is under way: none, one or two of them. Draws the same
    /// whatever the weather, so that a calm hour does not change what comes after it.
    pub(crate) fn fate(&self, client: ClientId, direction: Direction) -> Vec<Duration> {
        let mut state = self.state();
        let generator = state.generator(client, direction);
        let lost = generator.f64() < self.lose;
        let twice = generator.f64() < self.duplicate;
        let width = self.delay.end.saturating_sub(self.delay.start);
        let delays = [(); 2].map(|()| self.delay.start + width.mul_f64(generator.f64()));
        match state.weather {
            Weather::Faulty if lost => Vec::new(),
            Weather::Faulty if twice => delays.to_vec(),
            Weather::Faulty => vec![delays[0]],
            Weather::Calm | Weather::Cut => vec![Duration::ZERO],
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn generator(&mut self, client: ClientId, direction: Direction) -> &mut Rng {
        let root = &mut self.root;
        let generators = self.clients.entry(client);
        let both = generators.or_insert_with(|| [root.fork(), root.fork()]);
        &mut both[direction as usize]
    }
}

#[track_caller]
fn check(probability: f64, what: &str) {
    assert!(
        (0.0..=1.0).contains(&probability),
        "the probability of {what} must be from 0 to 1, not {probability}"
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

    fn fates(faults: &Faults, client: ClientId, direction: Direction) -> Vec<Vec<Duration>> {
        (0..1000).map(|_| faults.fate(client, direction)).collect()
    }

    #[test]
    fn the_seed_and_the_order_of_clients_decide() {
        let (one, other) = (faults(7), faults(7));
        // Different ids, as in every run, and other frames in between.
        for (faults, first, second) in [(&one, 1, 2), (&other, 8, 9)] {
            faults.meet(id(first));
            faults.meet(id(second));
        }
        let interleaved: Vec<_> = (0..1000)
            .map(|_| {
                other.fate(id(9), Direction::Request);
                other.fate(id(8), Direction::Response);
                other.fate(id(8), Direction::Request)
            })
            .collect();
        let alone = fates(&one, id(1), Direction::Request);
        assert_eq!(alone, interleaved);
        assert_ne!(alone, fates(&one, id(2), Direction::Request));
        assert_ne!(alone, fates(&one, id(1), Direction::Response));
        assert_ne!(alone, fates(&faults(8), id(1), Direction::Request));
    }

    #[test]
    fn each_fault_is_as_frequent_as_it_was_set() {
        let fates = fates(&faults(1), id(1), Direction::Request);
        let count = |copies: usize| fates.iter().filter(|fate| fate.len() == copies).count();
        assert!((250..350).contains(&count(0)), "{} are lost", count(0));
        assert!((160..260).contains(&count(2)), "{} are doubled", count(2));
        let delays: Vec<_> = fates.iter().flatten().collect();
        assert!(
            delays
                .iter()
                .all(|delay| (5 * MS..50 * MS).contains(*delay))
        );
        assert!(delays.iter().any(|delay| **delay < 10 * MS));
        assert!(delays.iter().any(|delay| **delay > 45 * MS));
    }

    #[test]
    fn the_weather_changes_no_later_fate() {
        let (one, other) = (faults(7), faults(7));
        fates(&one, id(1), Direction::Request);
        other.calm();
        let calm = fates(&other, id(1), Direction::Request);
        assert!(calm.iter().all(|fate| *fate == [Duration::ZERO]));
        other.resume();
        let after = [&one, &other].map(|faults| fates(faults, id(1), Direction::Request));
        assert_eq!(after[0], after[1]);
    }

    #[test]
    fn nothing_goes_wrong_unless_it_is_set() {
        let fates = fates(&Faults::seeded(1), id(1), Direction::Request);
        assert!(fates.iter().all(|fate| *fate == [Duration::ZERO]));
    }
}
