//! Periodic actors.

use conclib::actor::Tick;
use conclib::schedule::Schedule;

use super::forms::Forms;
use super::*;

mod messages {
    use conclib::prelude::*;

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub(crate) struct Flush<T> {
        pub(crate) all: T,
    }

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(name = "heart.Wait")]
    pub(crate) struct Wait(pub(crate) u32);
}

#[derive(Actor, Default)]
#[actor(urn = "heart")]
#[periodic(tick = Beat, every = "500ms")]
#[periodic(tick = messages::Wait(3), every = "1m 30s", first = "after", missed = "burst")]
#[periodic(tick = messages::Flush::<bool> { all: true }, every = "2s", missed = "delay", jitter = "5s")]
struct Heart {
    beats: u32,
    waited: u32,
    flushed: bool,
}

#[derive(ActorMessage)]
#[message(local, response = (u32, u32, bool))]
struct Pulse;

#[handlers]
impl Heart {
    #[handler]
    fn beat(&mut self, _: Beat) {
        self.beats += 1;
    }

    #[handler]
    fn wait(&mut self, message: messages::Wait) {
        self.waited += message.0;
    }

    #[handler]
    async fn flush(&mut self, message: messages::Flush<bool>) {
        self.flushed |= message.all;
    }

    #[handler]
    fn pulse(&mut self, _: Pulse) -> (u32, u32, bool) {
        (self.beats, self.waited, self.flushed)
    }
}

#[test]
fn ticks_are_a_table() {
    let names: Vec<_> = Heart::TICKS.iter().map(Tick::name).collect();
    assert_eq!(names, ["Beat", "heart.Wait", "Flush"]);
    let [beat, wait, flush] = Heart::TICKS else {
        panic!("three ticks")
    };
    assert_eq!(
        *beat.schedule(),
        Schedule::every(Duration::from_millis(500))
    );
    let late = Schedule::every(Duration::from_secs(90));
    let late = late.first(First::After).missed(Missed::Burst);
    assert_eq!(*wait.schedule(), late);
    let shown = format!("{:?}", flush.schedule());
    assert!(shown.contains("missed: Delay, jitter: 5s"), "{shown}");

    let (message, _) = <Heart as Handler<messages::Wait>>::unwrap(wait.make()).expect("a Wait");
    assert_eq!(message.0, 3);
    assert_eq!(<Heart as Actor>::ticks().len(), 3);
    assert!(<Forms as Actor>::ticks().is_empty());
}

#[tokio::test(start_paused = true)]
async fn periodic_actor_ticks() -> TestResult {
    let system = ActorSystem::new();
    let heart = system.spawn(Heart::default()).await?;
    tokio::time::sleep(Duration::from_millis(2250)).await;
    let (beats, waited, _) = heart.ask(Pulse).await?;
    assert_eq!((beats, waited), (5, 0)); // at 0, 500, 1000, 1500, 2000 ms
    tokio::time::sleep(Duration::from_secs(89)).await;
    let (_, waited, flushed) = heart.ask(Pulse).await?;
    assert_eq!((waited, flushed), (3, true));
    Ok(())
}

#[derive(Actor)]
#[periodic(tick = Beat, every = "1s", first = "after")]
#[periodic(tick = messages::Flush::<bool> { all: true }, every = "1h", first = "after")]
struct Counter<T: Default> {
    count: T,
}

#[handlers]
impl<T: Default + std::ops::AddAssign + From<u8> + Copy + Into<u64> + Send + 'static> Counter<T> {
    #[handler]
    fn beat(&mut self, _: Beat) {
        self.count += T::from(1);
    }

    #[handler]
    fn flush(&mut self, _: messages::Flush<bool>) {
        self.count = T::default();
    }

    #[handler]
    fn len(&mut self, _: Len) -> usize {
        usize::try_from(self.count.into()).unwrap_or(usize::MAX)
    }
}

#[tokio::test(start_paused = true)]
async fn periodic_actor_may_be_generic() -> TestResult {
    let system = ActorSystem::new();
    let counter = system.spawn(Counter { count: 0_u64 }).await?;
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(counter.ask(Len).await?, 3);
    assert_eq!(Counter::<u32>::TICKS[0].name(), "Beat");
    Ok(())
}

#[derive(Actor)]
#[periodic(tick = Beat, cron = "0 0 3 * * *", missed = "burst", jitter = "5m")]
struct Nightly;

#[handlers]
impl Nightly {
    #[handler]
    fn beat(&mut self, _: Beat) {}
}

#[test]
fn tick_may_be_a_moment_of_the_calendar() -> TestResult {
    let expected = Schedule::cron("0 0 3 * * *")?
        .missed(Missed::Burst)
        .jitter(Duration::from_secs(300));
    assert_eq!(*Nightly::TICKS[0].schedule(), expected);
    Ok(())
}
