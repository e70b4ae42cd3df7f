//! One, two and three members whose handlers wait.

use conclib_benches::measure::median;

use crate::Problem;
use crate::call::Sample;
use crate::options::Options;
use crate::section::{Section, verdict};
use crate::stage::{Setting, Stage};

const CALLERS: usize = 64;

const MEMBERS: usize = 3;

/// Three members do at least so many times as much as one.
const LEAST_FACTOR: f64 = 2.7;

/// The share of each member is as near to an even one.
const MOST_UNEVEN: f64 = 0.2;

pub(crate) fn measure(options: &Options) -> Result<Section, Problem> {
    let mut section = Section::new(
        "Members whose handlers wait 2 ms",
        &[
            "members",
            "asks/s",
            "factor",
            "p50",
            "p99",
            "farthest from an even share",
            "limit",
        ],
    );
    let mut rounds = Vec::new();
    for round in 0..options.rounds(5) {
        rounds.push(measure_round(round, options, &mut section)?);
    }
    for members in 1..=MEMBERS {
        section.row(row(&rounds, members));
    }
    section.note(format!(
        "{CALLERS} callers of a shared name; each member's actor handles one request at a time. Medians of \
         {} rounds, factors within a round; the share is the farthest of all rounds.",
        rounds.len()
    ));
    Ok(section)
}

/// The samples of one, two and three members.
fn measure_round(
    round: usize,
    options: &Options,
    section: &mut Section,
) -> Result<Vec<Sample>, Problem> {
    let setting = Setting {
        pause: 2,
        ..Setting::default()
    };
    let mut stage = Stage::new()?;
    let mut samples = Vec::new();
    for members in 1..=MEMBERS {
        stage.grow(members, setting)?;
        let sample = stage.measure(CALLERS, setting, options.measured())?;
        section.sample(&format!("round {}, {members} members", round + 1), &sample);
        samples.push(sample);
    }
    Ok(samples)
}

fn row(rounds: &[Vec<Sample>], members: usize) -> [String; 7] {
    let of = |figure: fn(&Sample) -> f64| -> Vec<f64> {
        rounds
            .iter()
            .map(|round| figure(&round[members - 1]))
            .collect()
    };
    let factors = rounds
        .iter()
        .map(|round| round[members - 1].per_second() / round[0].per_second());
    let factor = median(&factors.collect::<Vec<_>>());
    let uneven = of(Sample::unevenness).into_iter().fold(0.0, f64::max);
    [
        members.to_string(),
        format!("{:.0}", median(&of(Sample::per_second))),
        format!("{factor:.2}"),
        format!("{:.1} ms", median(&of(|sample| sample.p50)) / 1e3),
        format!("{:.1} ms", median(&of(|sample| sample.p99)) / 1e3),
        format!("{:.1} %", uneven * 100.0),
        limit(members, factor, uneven),
    ]
}

fn limit(members: usize, factor: f64, uneven: f64) -> String {
    let share = verdict(uneven <= MOST_UNEVEN, "within 20 %");
    match members {
        1 => String::new(),
        MEMBERS => {
            let factor = verdict(factor >= LEAST_FACTOR, "factor ≥ 2.7");
            format!("{factor}; {share}")
        }
        _ => share,
    }
}
