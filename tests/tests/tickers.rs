//! Regular work: tickers, and periodic actors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use conclib::prelude::*;
use conclib::{First, Missed, Schedule, Ticker};
use conclib_tests::messages::{Beat, Fail, Pass};
use conclib_tests::{Log, LogsDrop, MS, SECOND, TestResult, gate, within};
use tokio::time::{Instant, sleep};

/// A log of times in milliseconds since the start of the test.
#[derive(Clone)]
struct Clock {
    log: Log,
    began: Instant,
}

impl Clock {
    fn new() -> Self {
        Self {
            log: Log::default(),
            began: Instant::now(),
        }
    }

    fn mark(&self) {
        self.log.add(self.began.elapsed().as_millis().to_string());
    }

    fn marks(&self) -> Vec<u64> {
        let entries = self.log.entries();
        entries
            .iter()
            .filter_map(|entry| entry.parse().ok())
            .collect()
    }
}

/// The start times of a ticker's calls, the second of which takes 3.5 intervals.
async fn calls_with_a_slow_one(missed: Missed) -> Vec<u64> {
    let clock = Clock::new();
    let called = clock.clone();
    let ticker = Ticker::every(SECOND).missed(missed).start(move || {
        let called = called.clone();
        async move {
            called.mark();
            if called.log.count() == 2 {
                sleep(3500 * MS).await;
            }
        }
    });
    sleep(6900 * MS).await;
    ticker.stop().await;
    clock.marks()
}

#[tokio::test(start_paused = true)]
async fn missed_calls_are_skipped_caught_up_or_delayed() {
    let skip = calls_with_a_slow_one(Missed::Skip).await;
    assert_eq!(skip, [0, 1000, 4500, 5000, 6000]);
    let burst = calls_with_a_slow_one(Missed::Burst).await;
    assert_eq!(burst, [0, 1000, 4500, 4500, 4500, 5000, 6000]);
    let delay = calls_with_a_slow_one(Missed::Delay).await;
    assert_eq!(delay, [0, 1000, 4500, 5500, 6500]);
}

#[tokio::test(start_paused = true)]
async fn ticker_does_not_drift() {
    let clock = Clock::new();
    let called = clock.clone();
    let ticker = Ticker::every(SECOND).first(First::After).start(move || {
        let called = called.clone();
        async move {
            called.mark();
            sleep(300 * MS).await;
        }
    });
    sleep(100 * SECOND + 500 * MS).await;
    ticker.stop().await;
    let on_time: Vec<u64> = (1..=100).map(|n| n * 1000).collect();
    assert_eq!(clock.marks(), on_time);
}

#[tokio::test(start_paused = true)]
async fn jitter_delays_within_its_bounds() {
    let clock = Clock::new();
    let called = clock.clone();
    let ticker = Ticker::every(SECOND).jitter(SECOND / 2).start(move || {
        called.mark();
        async {}
    });
    sleep(99 * SECOND + 900 * MS).await;
    ticker.stop().await;
    let late: Vec<u64> = clock
        .marks()
        .iter()
        .zip(0..)
        .map(|(at, n)| at - n * 1000)
        .collect();
    assert_eq!(late.len(), 100);
    assert!(late.iter().all(|late| *late <= 501), "{late:?}"); // timers are exact to 1 ms
    assert!(late.iter().any(|late| *late > 0), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn stop_waits_for_the_call_under_way() {
    let log = Log::default();
    let called = log.clone();
    let ticker = Ticker::every(SECOND).named("slow").start(move || {
        let called = called.clone();
        async move {
            called.add("began");
            sleep(10 * SECOND).await;
            called.add("ended");
        }
    });
    assert_eq!(ticker.name(), "slow");
    sleep(SECOND).await;
    assert!(!ticker.is_stopped());
    within(ticker.stop()).await;
    sleep(20 * SECOND).await;
    assert_eq!(log.entries(), ["began", "ended"]);
}

#[tokio::test(start_paused = true)]
async fn stop_ends_a_ticker_that_cannot_keep_up() {
    let ticker = Ticker::every(MS)
        .missed(Missed::Burst)
        .start(|| sleep(SECOND));
    sleep(5 * SECOND).await;
    within(ticker.stop()).await;
}

#[tokio::test(start_paused = true)]
async fn drop_ends_the_call_under_way_at_its_next_await() {
    let log = Log::default();
    let called = log.clone();
    let ticker = Ticker::every(SECOND).start(move || {
        let held = LogsDrop(called.clone(), "dropped");
        async move {
            held.0.add("began");
            sleep(10 * SECOND).await;
            held.0.add("ended");
        }
    });
    sleep(SECOND).await;
    drop(ticker);
    sleep(20 * SECOND).await;
    assert_eq!(log.entries(), ["began", "dropped"]);
}

#[tokio::test(start_paused = true)]
async fn no_call_begins_after_a_stop_or_a_drop() {
    for dropped in [true, false] {
        let clock = Clock::new();
        let called = clock.clone();
        let ticker = Ticker::every(SECOND).first(First::After).start(move || {
            called.mark();
            async {}
        });
        sleep(SECOND).await; // now a call is due
        let before = clock.log.count();
        if dropped {
            drop(ticker);
        } else {
            within(ticker.stop()).await;
        }
        sleep(SECOND).await;
        assert_eq!(clock.log.count(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn panicking_call_does_not_end_the_ticker() {
    let calls = Arc::new(AtomicU32::new(0));
    let counter = calls.clone();
    let ticker = Ticker::every(SECOND).start(move || {
        let n = counter.fetch_add(1, Ordering::SeqCst);
        assert!(n != 1, "before there is a future");
        async move {
            tokio::task::yield_now().await;
            assert!(n != 3, "in the future");
        }
    });
    sleep(5500 * MS).await;
    assert!(!ticker.is_stopped());
    ticker.stop().await;
    assert_eq!(calls.load(Ordering::SeqCst), 6);
}

#[test]
#[should_panic(expected = "longer than 0")]
fn zero_interval_panics() {
    drop(Ticker::every(Duration::ZERO));
}

// ---- periodic actors

#[derive(ActorMessage, Serialize, Deserialize)]
struct Flush(u32);

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
        within(heart.wait_stopped()).await;
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
    within(heart.wait_stopped()).await;
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
    let expected = Schedule {
        first: First::After,
        jitter: SECOND / 2,
        ..schedule
    };
    assert_eq!(Jittery::TICKS[0].schedule, expected);
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

// ---- moments of the calendar

/// Seconds since 1970 at the start of a test. From then on, the system's clock moves as
/// tokio's paused clock does.
fn calendar() -> Result<f64, Box<dyn std::error::Error>> {
    let paused_for = Instant::now().into_std().elapsed();
    let since = (SystemTime::now() - paused_for).duration_since(UNIX_EPOCH)?;
    Ok(since.as_secs_f64())
}

/// The marks of a clock that began at `began`, as multiples of `step` seconds.
fn multiples(clock: &Clock, began: f64, step: u32) -> Vec<i64> {
    let step = f64::from(step);
    let marks = clock.log.entries();
    let marks = marks.iter().filter_map(|mark| mark.parse::<f64>().ok());
    marks
        .map(|mark| {
            let at = began + mark / 1000.0;
            let nearest = (at / step).round();
            assert!((nearest * step - at).abs() < 2.0, "{at} is beside {step}");
            whole(nearest)
        })
        .collect()
}

#[allow(clippy::cast_possible_truncation, reason = "seconds since 1970")]
fn whole(number: f64) -> i64 {
    number as i64
}

/// Rings every ten seconds and every six hours.
#[derive(Actor)]
#[periodic(tick = Beat, cron = "*/10 * * * * *")]
#[periodic(tick = Flush(6), cron = "0 0 */6 * * *")]
struct Bell {
    often: Clock,
    seldom: Clock,
}

#[handlers]
impl Bell {
    #[handler]
    fn beat(&mut self, _: Beat) {
        self.often.mark();
    }

    #[handler]
    fn flush(&mut self, _: Flush) {
        self.seldom.mark();
    }
}

#[tokio::test(start_paused = true)]
async fn ticks_of_the_calendar_come_at_their_moments() -> TestResult {
    let began = calendar()?;
    let (often, seldom) = (Clock::new(), Clock::new());
    let system = ActorSystem::new();
    let bell = Bell {
        often: often.clone(),
        seldom: seldom.clone(),
    };
    let _bell = system.spawn(bell).await?;
    sleep(24 * 3600 * SECOND).await;
    for (clock, step) in [(often, 10), (seldom, 6 * 3600)] {
        let seen = multiples(&clock, began, step);
        // The tick at the very end may still come, if the day ends with one.
        let of_a_day = 24 * 3600 / i64::from(step);
        assert!((of_a_day - 1..=of_a_day).contains(&seen.len().try_into()?));
        let first = whole((began / f64::from(step)).floor()) + 1;
        let expected: Vec<i64> = (first..).take(seen.len()).collect();
        assert_eq!(seen, expected);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn ticker_skips_moments_of_the_calendar_that_pass_during_a_call() -> TestResult {
    let clock = Clock::new();
    let called = clock.clone();
    let schedule = Schedule::cron("* * * * *")?;
    let ticker = Ticker::every(schedule).named("clock").start(move || {
        let called = called.clone();
        async move {
            called.mark();
            if called.log.count() == 1 {
                sleep(150 * SECOND).await;
            }
        }
    });
    sleep(350 * SECOND).await;
    ticker.stop().await;
    let marks = clock.marks();
    let gaps: Vec<u64> = marks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // One late call, and then calls at whole minutes.
    for (gap, expected) in gaps[..3].iter().zip([150_000, 30_000, 60_000]) {
        assert!(gap.abs_diff(expected) < 2000, "{marks:?}");
    }
    Ok(())
}
