//! conclib within a process, beside other actor frameworks and an actor written by hand. Prints a
//! table, and writes `target/bench/runtime.json` (`runtime-quick.json` for a quick run).
//!
//! ```text
//! cargo run --release -p conclib-benches --bin runtime -- --row spawn --peer kameo
//! ```

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
    let report = table::measure(options);
    println!("{}", report.markdown());
    // A quick run does not replace figures that count.
    let path = report.write_json(match options.pace {
        options::Pace::Full => "runtime",
        options::Pace::Quick => "runtime-quick",
    });
    let path = path.map_err(|error| format!("The report cannot be written: {error}"))?;
    eprintln!("written: {}", path.display());
    table::complete(&report)
}
