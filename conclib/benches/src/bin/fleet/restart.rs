//! Rolling restarts of five members under load.

use std::thread::sleep;
use std::time::Duration;

use conclib_benches::measure::median;
use serde::Serialize;

use crate::call::Sample;
use crate::options::Options;
use crate::section::{Section, verdict};
use crate::stage::{STOP, Setting, Stage};
use crate::{Problem, float};

const MEMBERS: usize = 5;

const CALLERS: usize = 64;

/// Asking after the last restart, which still counts.
const AFTER: Duration = Duration::from_millis(500);

/// Milliseconds that a request takes: with work to wait for, and with as many requests as there can be.
const PAUSES: [u64; 2] = [2, 0];

/// The order of a stop and a start.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// A new member starts, then an old one stops: a `Deployment`.
    StartFirst,
    /// A member stops, then one of its name starts: a `StatefulSet`, a unit of systemd.
    StopFirst,
}

impl Way {
    const ALL: [Self; 2] = [Self::StartFirst, Self::StopFirst];

    fn name(self) -> &'static str {
        match self {
            Self::StartFirst => "start a new member, then stop an old one",
            Self::StopFirst => "stop a member, then start it again",
        }
    }
}

/// The samples of one run.
#[derive(Debug, Serialize)]
struct Run {
    calm: Sample,
    restart: Sample,
}

pub(crate) fn measure(options: &Options) -> Result<Section, Problem> {
    let heading = [
        "", "asks", "errors", "asks/s", "p50", "p99", "longest", "limit",
    ];
    let mut section = Section::new("Rolling restart of five members", &heading);
    for pause in PAUSES {
        measure_setting(pause, options, &mut section)?;
    }
    section.note(format!(
        "{CALLERS} callers of a shared name. Medians of {} restarts of each kind, of all five members one \
         after another; asks and errors are those of all of them, and so is the longest time.",
        options.restarts()
    ));
    Ok(section)
}

fn measure_setting(pause: u64, options: &Options, section: &mut Section) -> Result<(), Problem> {
    let setting = Setting {
        pause,
        ..Setting::default()
    };
    let mut ways = Vec::new();
    for way in Way::ALL {
        ways.push((way, measure_way(way, setting, options, section)?));
    }
    let handlers = format!("handlers of {pause} ms");
    let calm = ways.iter().flat_map(|(_, runs)| runs).map(|run| &run.calm);
    section.row(row(
        format!("{handlers}: no restart"),
        &calm.collect::<Vec<_>>(),
    ));
    for (way, runs) in &ways {
        let restarts: Vec<_> = runs.iter().map(|run| &run.restart).collect();
        section.row(row(format!("{handlers}: {}", way.name()), &restarts));
    }
    Ok(())
}

fn measure_way(
    way: Way,
    setting: Setting,
    options: &Options,
    section: &mut Section,
) -> Result<Vec<Run>, Problem> {
    let mut stage = Stage::new()?;
    stage.grow(MEMBERS, setting)?;
    let mut runs = Vec::new();
    for number in 0..options.restarts() {
        let calling = stage.callers(CALLERS, setting)?;
        sleep(options.measured());
        let calm = calling.end()?;
        let calling = stage.callers(CALLERS, setting)?;
        restart(&mut stage, way, setting, number)?;
        sleep(AFTER);
        let restart = calling.end()?;
        let run = Run { calm, restart };
        let pause = setting.pause;
        section.sample(&format!("{way:?}, {pause} ms, run {}", number + 1), &run);
        runs.push(run);
    }
    Ok(runs)
}

/// Replaces all members, one after another.
fn restart(stage: &mut Stage, way: Way, setting: Setting, run: usize) -> Result<(), Problem> {
    for place in 0..MEMBERS {
        let number = (run + 1) * MEMBERS + place;
        match way {
            Way::StartFirst => {
                let next = stage.member(number, &format!("member-{number}"), setting)?;
                std::mem::replace(&mut stage.members[place], next).stop(STOP)?;
            }
            Way::StopFirst => {
                stage.members.remove(place).stop(STOP)?;
                let next = stage.member(number, &format!("member-{place}"), setting)?;
                stage.members.insert(place, next);
            }
        }
    }
    Ok(())
}

fn row(name: String, samples: &[&Sample]) -> [String; 8] {
    let of = |figure: fn(&Sample) -> f64| -> Vec<f64> {
        samples.iter().map(|sample| figure(sample)).collect()
    };
    let millis = |figure| format!("{:.1} ms", median(&of(figure)) / 1e3);
    let errors: f64 = of(|sample| float(sample.failed())).iter().sum();
    let asks: f64 = of(|sample| float(sample.asks())).iter().sum();
    let longest = of(|sample| sample.max).into_iter().fold(0.0, f64::max);
    [
        name,
        format!("{asks:.0}"),
        format!("{errors:.0}"),
        format!("{:.0}", median(&of(Sample::per_second))),
        millis(|sample| sample.p50),
        millis(|sample| sample.p99),
        format!("{:.0} ms", longest / 1e3),
        verdict(errors == 0.0, "no error"),
    ]
}
