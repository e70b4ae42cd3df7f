//! conclib within a process, beside other actor frameworks and an actor written by hand. Prints a
//! table, and writes `target/bench/runtime.json` (`runtime-quick.json` for a quick run).
//!
//! ```text
//! cargo run --release -p conclib-benches --bin runtime -- --row spawn --peer kameo
//! ```

mod against;
mod child;
mod growth;
mod options;
mod peer;
mod peers;
mod rows;
mod stint;
mod table;
mod work;

use std::process::ExitCode;

use conclib_benches::report;
use serde::Serialize;

use crate::options::Pace;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((first, others)) if first == child::COMMAND => child::run(others).map(|figure| {
            println!("{figure}");
            // Threads and tasks that are left end with the process.
            std::process::exit(0)
        }),
        _ => options::parse(&arguments).and_then(|options| run(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &options::Options) -> Result<(), String> {
    if let Some(folder) = &options.charts {
        return growth::write(options, folder);
    }
    if let Some(other) = &options.against {
        return against::run(options, other);
    }
    let report = table::measure(options);
    println!("{}", report.markdown());
    write(&report, "runtime", options.pace)?;
    table::complete(&report)
}

/// A quick run does not replace real figures.
fn write(report: &impl Serialize, name: &str, pace: Pace) -> Result<(), String> {
    let path = match pace {
        Pace::Full => report::write_json(report, name),
        Pace::Quick => report::write_json(report, &format!("{name}-quick")),
    };
    let path = path.map_err(|error| format!("The report cannot be written: {error}"))?;
    eprintln!("written: {}", path.display());
    Ok(())
}
