//! The chart of the README: six rows of both benchmarks, drawn from their JSON files.
//!
//! Reads `target/bench/runtime.json` and `target/bench/bus.json`, and writes the file that its argument
//! names.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use clap::Parser;
use conclib_benches::chart::{escaped, grouped};
use conclib_benches::report::workspace;
use serde::Deserialize;

/// The rows, by the file that holds them. Each peer's figure is shown relative to conclib's.
const ROWS: [(&str, &str); 6] = [
    ("runtime", "tell, 1 sender"),
    ("runtime", "ask, one after another"),
    ("runtime", "idle actor"),
    ("bus", "1 caller: p50"),
    ("bus", "64 callers: throughput"),
    ("bus", "4,096 callers: throughput"),
];

/// The height of a bar with its gap, and of a row's heading, in pixels.
const BAR: f64 = 18.0;
const HEADING: f64 = 30.0;

/// The left end of the bars, the longest bar, and the width of the picture.
const LEFT: f64 = 150.0;
const LONGEST: f64 = 430.0;
const WIDTH: f64 = 720.0;

/// Bars that would be longer than this many times conclib's are cut, and say so by their figure.
const MAX_RATIO: f64 = 8.0;

/// The colours of texts, of conclib's bars and of other bars: readable on white and on black.
const TEXT: &str = "#7d8590";
const CONCLIB: &str = "#2f81f7";
const PEER: &str = "#8b949e";

/// Draws the chart of the README from the last runs of both benchmarks
#[derive(Parser)]
#[command(name = "bars")]
struct Arguments {
    /// The file to write
    #[arg(value_name = "FILE.SVG")]
    target: PathBuf,
}

#[derive(Deserialize)]
struct Report {
    peers: Vec<Peer>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Peer {
    name: String,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    unit: String,
    better: String,
    cells: Vec<Option<Cell>>,
}

#[derive(Deserialize)]
struct Cell {
    value: f64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { target } = Arguments::parse();
    let mut body = String::new();
    let mut y = 20.0;
    for (file, name) in ROWS {
        let path = workspace()
            .join("target/bench")
            .join(file)
            .with_extension("json");
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}; run that benchmark first", path.display()))?;
        let report: Report = serde_json::from_str(&text)?;
        let row = report.rows.iter().find(|row| row.name == name);
        let row = row.ok_or_else(|| format!("{} has no row `{name}`", path.display()))?;
        y = draw(&mut body, row, &report.peers, y);
    }
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y:.0}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"{TEXT}\">\n\
         <title>conclib beside other frameworks</title>\n{body}</svg>\n"
    );
    fs::write(&target, svg)?;
    println!("{}", target.display());
    Ok(())
}

/// Draws the bars of a row, and returns the place of the next row.
fn draw(body: &mut String, row: &Row, peers: &[Peer], mut y: f64) -> f64 {
    let direction = if row.better == "Lower" {
        "lower is better"
    } else {
        "higher is better"
    };
    let _ = writeln!(
        body,
        "<text x=\"8\" y=\"{:.0}\" font-size=\"13\" font-weight=\"600\">{} ({}, {direction})</text>",
        y,
        escaped(&row.name),
        escaped(&row.unit)
    );
    y += HEADING / 2.0;
    let cells: Vec<_> = peers
        .iter()
        .zip(&row.cells)
        .filter_map(|(peer, cell)| Some((peer, cell.as_ref()?.value)))
        .collect();
    let ours = cells.first().map_or(1.0, |(_, value)| *value);
    let longest = cells.iter().map(|(_, value)| *value).fold(ours, f64::max);
    let full = longest.min(ours * MAX_RATIO);
    for (number, (peer, value)) in cells.iter().enumerate() {
        let length = (value.min(full) / full * LONGEST).max(1.0);
        let colour = if number == 0 { CONCLIB } else { PEER };
        let cut = if *value > full { " …" } else { "" };
        let _ = writeln!(
            body,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT:.0}\" y=\"{:.0}\" width=\"{length:.1}\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.0}\">{}{cut}</text>",
            LEFT - 8.0,
            y + 10.0,
            escaped(&peer.name),
            y,
            LEFT + length + 6.0,
            y + 10.0,
            figure(*value)
        );
        y += BAR;
    }
    y + HEADING / 2.0 + 8.0
}

/// At least three digits, with a comma between thousands.
fn figure(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.1}")
    } else {
        grouped(value.round())
    }
}
