//! The speed of the bus: conclib beside NATS, beside the simple way over Redis, and beside
//! bare sockets.
//!
//! ```text
//! cargo run --release -p conclib-benches --bin bus -- [options]
//! ```
//!
//! Servers, responders and callers are processes of their own on this machine. Round after round
//! each row is measured with one peer after another, and ratios are taken within a round, so that a long
//! disturbance of the machine affects all of them.
//!
//! | module | contents |
//! |---|---|
//! | `options`, `plan`, `peers` | the plan: rows, and the peers that reply to them |
//! | `respond`, `call`, `relay`, `keep` | the processes: the same executable, with another first word |
//! | `load`, `histogram`, `payload` | within a caller: tasks that ask, times, and checked payloads |
//! | `servers`, `children` | starting and ending processes |
//! | `measurement` | one responder and one caller |
//! | `run`, `results`, `limits` | the rounds, their results, and the required limits |
//! | `against` | this tree and another commit by turns |

use std::error::Error;
use std::process::ExitCode;

mod against;
mod call;
mod children;
mod histogram;
mod keep;
mod limits;
mod load;
mod measurement;
mod options;
mod payload;
mod peers;
mod plan;
mod relay;
mod respond;
mod results;
mod run;
mod servers;
mod words;

/// An error for the terminal.
type Problem = Box<dyn Error + Send + Sync>;

/// A count or a size as a number to calculate with. All of them are far below 2^53.
#[allow(clippy::cast_precision_loss, reason = "see above")]
fn float(count: u64) -> f64 {
    count as f64
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((first, rest)) if first == "respond" => respond::main(rest),
        Some((first, rest)) if first == "call" => call::main(rest),
        Some((first, rest)) if first == "relay" => relay::main(rest),
        Some((first, rest)) if first == "keep" => keep::main(rest),
        _ => run::main(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
