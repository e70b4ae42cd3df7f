//! A fleet of one member beside an actor process without a fleet.

use conclib_benches::cpus::{share_one_cpu, use_cpus};
use conclib_benches::measure::{median, sorted};

use crate::Problem;
use crate::call::Sample;
use crate::options::Options;
use crate::section::{Section, verdict};
use crate::stage::{Setting, Stage};

/// The rows: their name, callers, and bytes of a reply.
const ROWS: [(&str, usize, usize); 4] = [
    ("1 caller", 1, 0),
    ("64 callers", 64, 0),
    ("64 callers, replies of 1 KiB", 64, 1024),
    ("64 callers, replies of 256 KiB", 64, 256 * 1024),
];

const ROUNDS: usize = 9;

/// A fleet of one does at least this part of what a process without a fleet does.
const LEAST_RATIO: f64 = 0.95;

/// A round: the sample without a fleet, and with one.
type Pair = [Sample; 2];

pub(crate) fn measure(options: &Options) -> Result<Section, Problem> {
    let heading = [
        "",
        "without a fleet",
        "fleet of one",
        "ratio",
        "range",
        "CPU ratio",
        "limit",
    ];
    let mut section = Section::new("A fleet of one, all processes on one processor", &heading);
    let before = share_one_cpu()?;
    let pairs = measure_pairs(&mut section, options);
    use_cpus(&before)?;
    for ((name, ..), pairs) in ROWS.into_iter().zip(&pairs?) {
        section.row(row(name, pairs));
    }
    section.note(format!(
        "Asks per second; medians of {} rounds, with ratios within a round. Each measurement has new \
         processes, and the two take turns at being first. The range leaves out the outermost rounds.",
        options.rounds(ROUNDS)
    ));
    Ok(section)
}

/// The pairs of each row, round after round.
fn measure_pairs(
    section: &mut Section,
    options: &Options,
) -> Result<[Vec<Pair>; ROWS.len()], Problem> {
    let mut all = ROWS.map(|_| Vec::new());
    for round in 0..options.rounds(ROUNDS) {
        for ((name, callers, reply), pairs) in ROWS.into_iter().zip(&mut all) {
            let pair = measure_pair(round, callers, reply, options)?;
            section.sample(&format!("round {}, {name}", round + 1), &pair);
            pairs.push(pair);
        }
    }
    Ok(all)
}

/// Measures both, in an order that changes from round to round.
fn measure_pair(
    round: usize,
    callers: usize,
    reply: usize,
    options: &Options,
) -> Result<Pair, Problem> {
    let measure = |is_plain| {
        let setting = Setting {
            pause: 0,
            reply,
            is_plain,
        };
        let mut stage = Stage::new()?;
        stage.grow(1, setting)?;
        stage.measure(callers, setting, options.measured())
    };
    if round.is_multiple_of(2) {
        let plain = measure(true)?;
        Ok([plain, measure(false)?])
    } else {
        let fleet = measure(false)?;
        Ok([measure(true)?, fleet])
    }
}

fn row(name: &str, pairs: &[Pair]) -> [String; 7] {
    let rates = |which: usize| {
        let rates = pairs.iter().map(|pair| pair[which].per_second());
        format!("{:.0}", median(&rates.collect::<Vec<_>>()))
    };
    let ratios = |figure: fn(&Sample) -> f64| {
        let ratios = pairs
            .iter()
            .map(|[plain, fleet]| figure(fleet) / figure(plain));
        sorted(&ratios.collect::<Vec<_>>())
    };
    let of_rates = ratios(Sample::per_second);
    let ratio = median(&of_rates);
    [
        name.to_owned(),
        rates(0),
        rates(1),
        format!("{ratio:.3}"),
        range(&of_rates),
        format!("{:.3}", median(&ratios(Sample::cpu_per_ask))),
        verdict(ratio >= LEAST_RATIO, "≥ 0.95"),
    ]
}

/// The span without the outermost values, if there are enough.
fn range(sorted: &[f64]) -> String {
    let inner = match sorted {
        [_, inner @ .., _] if inner.len() >= 3 => inner,
        all => all,
    };
    match inner {
        [] => String::new(),
        [only] => format!("{only:.3}"),
        [first, .., last] => format!("{first:.3} to {last:.3}"),
    }
}
