//! This tree beside another build of it, and what the script says of mistakes. The builds are the
//! tests' own: their figures mean nothing.

use std::path::Path;
use std::process::{Command, Output};

use conclib_benches::report::workspace;

const RUNTIME: &str = env!("CARGO_BIN_EXE_runtime");
const BUS: &str = env!("CARGO_BIN_EXE_bus");

/// Compares a benchmark with that executable, in these rows.
fn compare(benchmark: &str, other: &str, rows: &[&str]) -> Output {
    let mut command = Command::new(benchmark);
    command.args(["--quick", "--against", &format!("other={other}")]);
    for row in rows {
        command.args(["--row", row]);
    }
    command.output().expect("the benchmark starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A line for each of these figures, each with a ratio.
fn has_ratios(output: &Output, names: &[&str]) {
    let table = stdout(output);
    assert!(output.status.success(), "{}", stderr(output));
    for name in names {
        let line = table
            .lines()
            .find(|line| line.starts_with(&format!("| {name} |")))
            .unwrap_or_else(|| panic!("no line {name} in\n{table}"));
        let ratio = line.split('|').nth(4).expect("a ratio").trim();
        assert!(
            ratio.parse::<f64>().is_ok_and(|ratio| ratio > 0.0),
            "{line}"
        );
    }
}

#[test]
fn runtime_is_compared_row_by_row() {
    let rows = ["tell, 1 sender", "idle actor", "ring of 1,000 actors"];
    has_ratios(&compare(RUNTIME, RUNTIME, &rows), &rows);
}

#[test]
fn bus_is_compared_in_throughput_and_latency() {
    let names = [
        "16 callers: throughput",
        "16 callers: p50",
        "16 callers: p99",
    ];
    has_ratios(&compare(BUS, BUS, &["16"]), &names);
}

#[test]
fn build_that_speaks_other_words_is_refused_at_once() {
    // Both exist, and neither knows the other's measurements.
    for (benchmark, other) in [(RUNTIME, BUS), (BUS, RUNTIME), (RUNTIME, "no/such/program")] {
        let output = compare(benchmark, other, &[]);
        let said = stderr(&output);
        assert!(!output.status.success());
        assert!(said.contains("cannot be measured from here"), "{said}");
        assert!(stdout(&output).is_empty(), "nothing is measured");
    }
}

#[cfg(unix)]
fn script(arguments: &[&str]) -> (bool, String) {
    let script: &Path = &workspace().join("scripts/bench-against");
    let output = Command::new(script).args(arguments).output();
    let output = output.expect("the script starts");
    (output.status.success(), stderr(&output))
}

#[cfg(unix)]
#[test]
fn script_names_what_is_wrong_with_its_arguments() {
    for (arguments, says) in [
        (&[][..], "The commit is missing."),
        (
            &["no-such-commit"],
            "git knows no commit `no-such-commit` here.",
        ),
        (&["--rounds", "3"], "git knows no commit `--rounds` here."),
    ] {
        let (succeeded, said) = script(arguments);
        assert!(!succeeded, "{arguments:?}");
        assert!(said.contains(says), "{said}");
        assert!(said.contains("scripts/bench-against <commit>"), "{said}");
    }
}
