//! The cost of a hundred members at rest: heartbeats, checks of names, and leases.

use std::thread::sleep;
use std::time::{Duration, Instant};

use conclib_benches::process::cpu_seconds;
use serde::Serialize;

use crate::Problem;
use crate::options::Options;
use crate::redis_info::{CommandUse, Info};
use crate::section::{Section, verdict};
use crate::stage::{STOP, Setting, Stage};

/// The most of a core that Redis may take.
const MOST_CPU: f64 = 0.05;

/// The commands that are named.
const NAMED: usize = 6;

/// The figures of a while at rest.
#[derive(Debug, Serialize)]
struct Sample {
    /// Parts of a core.
    redis: f64,
    members: f64,
    commands_per_second: f64,
    sent_bytes_per_second: f64,
    /// The addition of a member that joins and leaves, in Redis: seconds of processor time, and sent bytes.
    visit: Option<(f64, f64)>,
    /// The commands that take most time: their name, calls per second, and part of a core.
    commands: Vec<(String, f64, f64)>,
}

/// The state at one moment.
struct Moment {
    at: Instant,
    info: Info,
    members: f64,
}

pub(crate) fn measure(options: &Options) -> Result<Section, Problem> {
    let (members, names, words) = options.or_quick((100, 1000, "1,000"), (5, 20, "20"));
    let title = format!("{members} members with {words} listed names each, at rest");
    let heading = [
        "",
        "Redis' CPU",
        "all members' CPU",
        "commands/s",
        "sent by Redis",
        "limit",
    ];
    let mut section = Section::new(&title, &heading);
    for (name, is_plain) in [("a fleet", false), ("nodes without a fleet", true)] {
        let sample = observe(members, names, is_plain, options)?;
        section.sample(name, &sample);
        section.row(row(name, &sample, is_plain));
        section.note(format!("{name}: {}", most_used(&sample)));
        if let Some((cpu, sent)) = sample.visit {
            section.note(format!(
                "A member that joins and leaves adds {:.0} ms of Redis' CPU, and {:.0} KiB that it sends.",
                cpu * 1e3,
                sent / 1024.0
            ));
        }
    }
    section.note(
        "All members are actor systems of one process. CPU is a part of one core; that of commands is as \
         Redis measures it.",
    );
    Ok(section)
}

fn observe(members: u64, names: u64, is_plain: bool, options: &Options) -> Result<Sample, Problem> {
    let stage = Stage::new()?;
    let option = is_plain.then(|| "--plain".to_owned());
    let numbers = [members, names].map(|number| number.to_string());
    let crowd = stage.start("crowd", &numbers, option.as_slice())?;
    let (settle, watch) = options.or_quick((10, 20), (1, 2));
    let look = || {
        Ok::<_, Problem>(Moment {
            at: Instant::now(),
            info: Info::read(stage.redis.port)?,
            members: cpu_seconds(crowd.pid()).unwrap_or(f64::NAN),
        })
    };
    sleep(Duration::from_secs(settle));
    let before = look()?;
    sleep(Duration::from_secs(watch));
    let mut sample = between(&before, &look()?)?;
    if !is_plain {
        let before = look()?;
        visit(&stage, Duration::from_secs(settle) / 2)?;
        let after = look()?;
        sample.visit = Some(beyond_rest(&sample, &before, &after)?);
    }
    Ok(sample)
}

/// One more member joins, and leaves after a while.
fn visit(stage: &Stage, stay: Duration) -> Result<(), Problem> {
    let visitor = stage.member(0, "visitor", Setting::default())?;
    sleep(stay);
    visitor.stop(STOP)?;
    sleep(stay);
    Ok(())
}

/// The work of Redis between two moments, beyond that at rest.
fn beyond_rest(rest: &Sample, before: &Moment, after: &Moment) -> Result<(f64, f64), Problem> {
    let seconds = after.at.duration_since(before.at).as_secs_f64();
    let now = between(before, after)?;
    let cpu = now.redis - rest.redis;
    let sent = now.sent_bytes_per_second - rest.sent_bytes_per_second;
    Ok((cpu * seconds, sent * seconds))
}

fn between(before: &Moment, after: &Moment) -> Result<Sample, Problem> {
    let seconds = after.at.duration_since(before.at).as_secs_f64();
    let rate = |field| {
        Ok::<_, Problem>((after.info.number(field)? - before.info.number(field)?) / seconds)
    };
    Ok(Sample {
        redis: (after.info.cpu()? - before.info.cpu()?) / seconds,
        members: (after.members - before.members) / seconds,
        commands_per_second: rate("total_commands_processed")?,
        sent_bytes_per_second: rate("total_net_output_bytes")?,
        visit: None,
        commands: commands(before, after, seconds),
    })
}

/// The commands that take most time.
fn commands(before: &Moment, after: &Moment, seconds: f64) -> Vec<(String, f64, f64)> {
    let earlier = before.info.commands();
    let since = |CommandUse {
                     name,
                     calls,
                     micros,
                 }| {
        let was = earlier.iter().find(|command| command.name == name);
        let (old_calls, old_micros) = was.map_or((0.0, 0.0), |was| (was.calls, was.micros));
        let part = (micros - old_micros) / 1e6 / seconds;
        (name, (calls - old_calls) / seconds, part)
    };
    let mut commands: Vec<_> = after.info.commands().into_iter().map(since).collect();
    commands.sort_by(|a, b| b.2.total_cmp(&a.2));
    commands.truncate(NAMED);
    commands
}

fn row(name: &str, sample: &Sample, is_plain: bool) -> [String; 6] {
    let limit = verdict(sample.redis < MOST_CPU, "< 5 %");
    [
        name.to_owned(),
        percent(sample.redis),
        percent(sample.members),
        format!("{:.0}", sample.commands_per_second),
        format!("{:.0} KiB/s", sample.sent_bytes_per_second / 1024.0),
        if is_plain { String::new() } else { limit },
    ]
}

fn most_used(sample: &Sample) -> String {
    let commands = sample.commands.iter();
    let named = commands.map(|(name, calls, part)| {
        format!("{} {calls:.0}/s ({})", name.to_uppercase(), percent(*part))
    });
    named.collect::<Vec<_>>().join(", ") + "."
}

fn percent(part: f64) -> String {
    format!("{:.2} %", part * 100.0)
}
