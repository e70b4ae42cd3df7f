//! Costs that grow with the number of actors: two charts.

use std::path::Path;

use conclib_benches::chart::{Chart, Line};
use conclib_benches::measure::median;

use crate::child;
use crate::options::{Options, Pace};
use crate::rows::{BY_HAND, Kind};
use crate::work::{Scale, float};

/// The peers of the tells: conclib, by hand, and the framework with the most similar actors.
const TELLS: [&str; 3] = ["conclib", BY_HAND, "kameo"];

/// The numbers of living actors.
const LIVE: [u64; 4] = [1, 10, 1_000, 100_000];

/// The numbers of registered URNs.
const URNS: [u64; 6] = [1, 10, 100, 1_000, 10_000, 100_000];

/// Measures, and writes the charts into the folder.
///
/// # Errors
///
/// A measurement fails, or a chart cannot be written.
pub(crate) fn write(options: &Options, folder: &Path) -> Result<(), String> {
    let actors = Chart {
        title: "A message to one of many actors, chosen at random".to_owned(),
        x_label: "live actors".to_owned(),
        y_label: "ns per message".to_owned(),
        lines: lines(Kind::Live, &TELLS, &LIVE, options)?,
    };
    let urns = Chart {
        title: "A request by URN, chosen at random".to_owned(),
        x_label: "registered URNs".to_owned(),
        y_label: "ns per request and reply".to_owned(),
        lines: lines(Kind::Urns, &TELLS[..1], &URNS, options)?,
    };
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    for (name, chart) in [("growth-actors.svg", actors), ("growth-urns.svg", urns)] {
        let path = folder.join(name);
        std::fs::write(&path, chart.svg())
            .map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// One line for each peer; each point is the median of the rounds.
fn lines(
    kind: Kind,
    peers: &[&str],
    sizes: &[u64],
    options: &Options,
) -> Result<Vec<Line>, String> {
    let mut lines: Vec<_> = peers.iter().map(|name| line(name)).collect();
    for &size in sizes {
        let scale = match options.pace {
            Pace::Full => Scale {
                size,
                ..kind.full()
            },
            Pace::Quick => Scale {
                size: size.min(100),
                ..kind.quick()
            },
        };
        let mut samples = vec![Vec::new(); peers.len()];
        for _ in 0..options.rounds {
            for (peer, samples) in peers.iter().zip(&mut samples) {
                samples.push(child::measure(peer, kind, scale)?);
            }
        }
        for ((peer, line), samples) in peers.iter().zip(&mut lines).zip(&samples) {
            let figure = median(samples);
            println!("{}: {size}: {peer}: {figure:.0} ns", kind.name());
            line.points.push((float(size), figure));
        }
    }
    Ok(lines)
}

fn line(name: &str) -> Line {
    Line {
        name: name.to_owned(),
        points: Vec::new(),
    }
}
