use super::*;
use crate::time::schedule::{Due, TickDecision};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A moment in UTC.
fn wall(text: &str) -> SystemTime {
    let moment: DateTime<Utc> = text.parse().expect("a moment");
    let seconds = moment.timestamp().try_into().expect("after 1970");
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn cron(expression: &str) -> Schedule {
    Schedule::cron(expression).expect("a cron expression")
}

/// A schedule with two simulated clocks.
struct World {
    schedule: Schedule,
    now: WallInstant,
    due: Due,
}

impl World {
    fn new(schedule: Schedule, start: &str) -> Self {
        let now = WallInstant {
            instant: Instant::now(),
            wall: wall(start),
        };
        let due = schedule.start(now);
        Self { schedule, now, due }
    }

    /// Advances both clocks, without running due ticks.
    fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.wall += time;
    }

    /// Judges the due tick; true if it runs.
    fn judge(&mut self) -> bool {
        let TickDecision { runs, next } = self.schedule.decide(&self.due, self.now);
        self.due = next;
        runs
    }

    /// Advances both clocks and runs each tick when it is due; returns the times of the ticks.
    fn run(&mut self, time: Duration) -> Vec<SystemTime> {
        let end = self.now.instant + time;
        let mut ran = Vec::new();
        while self.due.at <= end {
            self.pass(self.due.at - self.now.instant);
            if self.judge() {
                ran.push(self.now.wall);
            }
        }
        self.pass(end - self.now.instant);
        ran
    }
}

fn walls(moments: &[&str]) -> Vec<SystemTime> {
    moments.iter().map(|moment| wall(moment)).collect()
}

#[test]
fn each_moment_comes_once_at_its_time() {
    let mut world = World::new(cron("*/20 * * * * *"), "2026-03-01T00:00:05.5Z");
    let expected: Vec<_> = (1..=30)
        .map(|n| wall("2026-03-01T00:00:00Z") + 20 * SECOND * n)
        .collect();
    assert_eq!(world.run(10 * MINUTE), expected);
}

#[test]
fn first_moment_is_in_the_future() {
    // Three o'clock has begun.
    let mut world = World::new(cron("0 0 3 * * *"), "2026-03-01T03:00:00Z");
    assert_eq!(world.run(DAY), walls(&["2026-03-02T03:00:00Z"]));
}

#[test]
fn moments_are_those_of_the_calendar_in_utc() {
    let mut leap_days = World::new(cron("0 0 12 29 2 *"), "2026-03-01T00:00:00Z");
    let seen = leap_days.run(366 * 6 * DAY);
    assert_eq!(
        seen,
        walls(&["2028-02-29T12:00:00Z", "2032-02-29T12:00:00Z"])
    );
    let mut last_days = World::new(cron("0 0 L * *"), "2026-01-15T00:00:00Z");
    let seen = last_days.run(50 * DAY);
    assert_eq!(
        seen,
        walls(&["2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"])
    );
}

#[test]
fn clock_is_read_at_least_every_minute() {
    let mut world = World::new(cron("0 0 3 * * *"), "2026-03-01T00:00:00Z");
    for _ in 0..3 * 60 - 1 {
        assert_eq!(world.due.at, world.now.instant + MINUTE);
        world.pass(MINUTE);
        assert!(!world.judge());
    }
    assert_eq!(world.run(MINUTE), walls(&["2026-03-01T03:00:00Z"]));
}

#[test]
fn tick_waits_for_a_slow_clock() {
    let mut world = World::new(cron("0 * * * * *"), "2026-03-01T00:00:00Z");
    world.pass(MINUTE);
    world.now.wall -= SECOND / 100;
    assert!(!world.judge());
    assert_eq!(world.due.at, world.now.instant + SECOND / 100);
    world.pass(SECOND / 100);
    assert!(world.judge());
}

#[test]
fn clock_set_forward_makes_the_tick_due() {
    let mut world = World::new(cron("0 0 * * * *"), "2026-03-01T00:00:00Z");
    world.now.wall = wall("2026-03-01T02:30:00Z");
    world.pass(MINUTE);
    assert!(world.judge()); // once for both skipped moments
    let seen = world.run(HOUR);
    assert_eq!(seen, walls(&["2026-03-01T03:00:00Z"]));
}

#[test]
fn no_moment_comes_twice_when_the_clock_is_set_back() {
    let mut world = World::new(cron("0 */30 * * * *"), "2026-03-01T00:00:00Z");
    let seen = world.run(65 * MINUTE);
    assert_eq!(
        seen,
        walls(&["2026-03-01T00:30:00Z", "2026-03-01T01:00:00Z"])
    );
    world.now.wall -= 2 * HOUR;
    let seen = world.run(3 * HOUR);
    assert_eq!(
        seen,
        walls(&["2026-03-01T01:30:00Z", "2026-03-01T02:00:00Z"])
    );
}

#[test]
fn corrected_clock_starts_the_series_anew() {
    let mut ahead = World::new(cron("0 0 * * * *"), "2036-01-01T00:30:00Z");
    assert_eq!(ahead.run(HOUR), walls(&["2036-01-01T01:00:00Z"]));
    ahead.now.wall = wall("2026-03-01T00:30:00Z");
    assert_eq!(ahead.run(HOUR), walls(&["2026-03-01T01:00:00Z"]));

    // A series that catches up as well: it has not missed fifty years.
    let schedule = cron("0 0 * * * *").missed(Missed::Burst);
    let mut behind = World::new(schedule, "1970-01-01T00:30:00Z");
    behind.now.wall = wall("2026-03-01T00:30:00Z");
    let seen = behind.run(HOUR);
    assert_eq!(seen[1..], walls(&["2026-03-01T01:00:00Z"]));
}

#[test]
fn missed_moments_are_skipped_or_caught_up() {
    let after_a_slow_run = |missed| {
        let schedule = cron("0 * * * * *").missed(missed);
        let mut world = World::new(schedule, "2026-03-01T00:00:00Z");
        world.pass(3 * MINUTE + 30 * SECOND);
        world.run(MINUTE)
    };
    let late = "2026-03-01T00:03:30Z";
    let fourth = "2026-03-01T00:04:00Z";
    assert_eq!(after_a_slow_run(Missed::Skip), walls(&[late, fourth]));
    assert_eq!(after_a_slow_run(Missed::Delay), walls(&[late, fourth]));
    assert_eq!(
        after_a_slow_run(Missed::Burst),
        walls(&[late, late, late, fourth])
    );
}

#[test]
fn jitter_delays_but_does_not_accumulate() {
    let schedule = cron("0 0 * * * *").jitter(10 * MINUTE);
    let mut world = World::new(schedule, "2026-03-01T00:00:00Z");
    let seen = world.run(100 * HOUR + 30 * MINUTE);
    let late: Vec<_> = (1..)
        .zip(&seen)
        .map(|(n, seen)| seen.duration_since(wall("2026-03-01T00:00:00Z") + HOUR * n))
        .collect();
    assert_eq!(late.len(), 100);
    assert!(
        late.iter()
            .all(|late| matches!(late, Ok(late) if *late <= 10 * MINUTE))
    );
    assert!(
        late.iter()
            .any(|late| matches!(late, Ok(late) if *late > MINUTE))
    );
}

#[test]
fn ended_series_stays_ended() {
    let last_year = cron("0 0 0 1 1 * 2025");
    let mut world = World::new(last_year, "2026-03-01T00:00:00Z");
    assert_eq!(world.run(1000 * DAY), []);

    let mut world = World::new(cron("0 0 0 1 1 * 2027"), "2026-03-01T00:00:00Z");
    assert_eq!(world.run(1000 * DAY), walls(&["2027-01-01T00:00:00Z"]));
    assert!(!world.judge());
}

#[test]
fn wrong_constant_never_comes() {
    for wrong in ["often", "0 0 0 30 2 *"] {
        let schedule = Schedule::calendar(Cron::from_static(wrong));
        let mut world = World::new(schedule, "2026-03-01T00:00:00Z");
        assert_eq!(world.run(1000 * DAY), [], "{wrong}");
    }
}

#[test]
fn constant_equals_parsed_text() {
    const EXPRESSION: &str = "0 0 3 * * MON-FRI";
    let constant = Schedule::calendar(Cron::from_static(EXPRESSION));
    assert_eq!(constant, cron(EXPRESSION));
    let mut world = World::new(constant, "2026-03-01T00:00:00Z"); // a Sunday
    assert_eq!(world.run(2 * DAY), walls(&["2026-03-02T03:00:00Z"]));
    assert_eq!(format!("{}", Cron::from_static(EXPRESSION)), EXPRESSION);
    assert_eq!(
        format!("{:?}", cron(EXPRESSION).when),
        "Cron(\"0 0 3 * * MON-FRI\")"
    );
}

#[test]
fn errors_name_the_problem() {
    let problem = |text| Schedule::cron(text).expect_err(text).to_string();
    assert_eq!(
        problem("0 61 * * * *"),
        "`0 61 * * * *` is no cron schedule: Component error: Number out of bounds; \
         write for example \"0 */5 * * * *\""
    );
    assert!(problem("0 0 0 30 2 *").contains("no such moment ever comes"));
    for wrong in [
        "",
        "often",
        "* * * *",
        "5m",
        "0 0 0 * * FOO",
        "\u{17f} * * * *",
    ] {
        assert!(!problem(wrong).is_empty());
    }
}
