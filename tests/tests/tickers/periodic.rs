//! Periodic actors.

use conclib::prelude::*;
use conclib::schedule::{First, Schedule};
use conclib_tests::messages::{Beat, Fail, Pass};
use conclib_tests::{Log, MS, SECOND, TestResult, gate, within};
use tokio::time::sleep;

use super::{Clock, Flush};

#[derive(Actor)]
#[periodic(tick = Beat, every = "1s")]
#[periodic(tick = Flush(7), every = "2s", first = "after")]
struct Heart(Clock);

#[handlers]
impl Heart {
    async fn on_start(&mut self) {
        sleep(500 * MS).await;
    }

    #[handler]
    fn beat(&mut self, _: Beat) {
        self.0.mark();
    }

    #[handler]
    fn flush(&mut self, Flush(n): Flush) {
        self.0.log.add(format!("flush {n}"));
    }

    #[handler]
    async fn pass(&mut self, Pass(gate): Pass) {
        gate.pass().await;
    }

    #[handler]
    fn fail(&mut self, _: Fail) -> Result<(), Failure> {
        Err(Failure::msg("as asked"))
    }
}

#[tokio::test(start_paused = true)]
async fn ticks_start_after_on_start_each_at_its_own_interval() -> TestResult {
    let system = ActorSystem::new();
    let clock = Clock::new();
    let _heart = system.spawn(Heart(clock.clone())).await?;
    sleep(4200 * MS).await;
    let entries = clock.log.entries();
    assert_eq!(clock.marks(), [500, 1500, 2500, 3500, 4500]);
    assert_eq!(
        entries.iter().filter(|entry| *entry == "flush 7").count(),
        2
    );
    let flushed = entries.iter().position(|entry| entry == "flush 7");
    assert!(flushed > entries.iter().position(|entry| entry == "1500"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn ticks_end_with_the_actor() -> TestResult {
    for end in ["stop", "kill", "fail"] {
        let system = ActorSystem::new();
        let clock = Clock::new();
        let heart = system.spawn(Heart(clock.clone())).await?;
        sleep(1500 * MS).await;
        match end {
            "stop" => heart.stop(),
            "kill" => heart.kill(),
            _ => heart.tell(Fail).await?,
        }
        within(heart.stopped()).await;
        sleep(10 * SECOND).await;
        assert_eq!(clock.marks(), [500, 1500], "{end}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn slow_handler_leaves_no_stale_ticks() -> TestResult {
    let system = ActorSystem::new();
    let clock = Clock::new();
    let heart = system.spawn(Heart(clock.clone())).await?;
    let (gate, mut keeper) = gate();
    heart.tell(Pass(gate)).await?;
    keeper.reached().await;
    sleep(100 * SECOND + 200 * MS).await;
    let before = clock.marks().len();
    keeper.open();
    sleep(1500 * MS).await;
    let marks = clock.marks();
    // The pending tick, and then ticks at whole intervals.
    assert_eq!(marks[before..], [100_700, 101_500]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn stop_drops_pending_ticks_and_handles_messages() -> TestResult {
    let system = ActorSystem::new();
    let clock = Clock::new();
    let heart = system.spawn(Heart(clock.clone())).await?;
    let (gate, mut keeper) = gate();
    heart.tell(Pass(gate)).await?;
    keeper.reached().await;
    heart.tell(Flush(1)).await?;
    sleep(10 * SECOND).await;
    let before = clock.log.count();
    heart.stop();
    keeper.open();
    within(heart.stopped()).await;
    assert_eq!(clock.log.entries()[before..], ["flush 1"]);
    Ok(())
}

/// Each tick takes longer than its interval, so that one is always due.
#[derive(Actor)]
#[actor(mailbox = 1)]
#[periodic(tick = Beat, every = "1ms", missed = "burst")]
struct Busy(Log);

#[handlers]
impl Busy {
    #[handler]
    async fn beat(&mut self, _: Beat) {
        self.0.add("tick");
        sleep(5 * MS).await;
    }

    #[handler]
    fn flush(&mut self, _: Flush) {
        self.0.add("message");
    }
}

#[tokio::test(start_paused = true)]
async fn ticks_and_messages_alternate_under_load() -> TestResult {
    let system = ActorSystem::new();
    for mailbox in [1, 3, 64] {
        let log = Log::default();
        let busy = system.spawn(Busy(log.clone())).mailbox(mailbox).await?;
        let flood = tokio::spawn(async move { while busy.tell(Flush(0)).await.is_ok() {} });
        sleep(SECOND).await;
        flood.abort();
        let entries = log.entries();
        assert!(entries.len() > 100, "{}", entries.len());
        let alternate = entries[2..].windows(2).all(|pair| pair[0] != pair[1]);
        assert!(alternate, "{mailbox}: {entries:?}");
    }
    Ok(())
}

/// A periodic actor with a hand-written table of ticks.
#[derive(Actor)]
#[periodic(tick = Beat, every = "1s", first = "after", jitter = "500ms")]
struct Jittery(Clock);

#[handlers]
impl Jittery {
    #[handler]
    fn beat(&mut self, _: Beat) {
        self.0.mark();
    }
}

#[tokio::test(start_paused = true)]
async fn ticks_are_late_by_their_jitter_at_most() -> TestResult {
    let schedule = Schedule::every(SECOND);
    let expected = schedule.first(First::After).jitter(SECOND / 2);
    assert_eq!(*Jittery::TICKS[0].schedule(), expected);
    let system = ActorSystem::new();
    let clock = Clock::new();
    let _jittery = system.spawn(Jittery(clock.clone())).await?;
    sleep(100 * SECOND + 900 * MS).await;
    let late: Vec<u64> = clock
        .marks()
        .iter()
        .zip(1..)
        .map(|(at, n)| at - n * 1000)
        .collect();
    assert_eq!(late.len(), 100);
    assert!(late.iter().all(|late| *late <= 501), "{late:?}");
    assert!(late.iter().any(|late| *late > 0), "{late:?}");
    Ok(())
}
