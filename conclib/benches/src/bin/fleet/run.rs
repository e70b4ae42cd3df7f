//! A run: one part after another, each with a Redis of its own.

use std::fmt::Write as _;

use conclib_benches::report::write_json;

use crate::options::{Options, Part};
use crate::section::Section;
use crate::{Problem, control, growth, names, plain, restart, scale};

pub(crate) fn main(options: &Options) -> Result<(), Problem> {
    let mut failures = String::new();
    for part in options.parts() {
        if let Err(problem) = measure(part, options) {
            eprintln!("{}: FAILED: {problem}", part.id());
            let _ = writeln!(failures, "{}: {problem}", part.id());
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(format!("some parts FAILED:\n{failures}").into())
    }
}

fn measure(part: Part, options: &Options) -> Result<(), Problem> {
    let sections = sections(part, options)?;
    for section in &sections {
        println!("{}", section.markdown());
    }
    let file = write_json(&sections, &format!("fleet-{}", part.id()))?;
    eprintln!("written: {}", file.display());
    Ok(())
}

fn sections(part: Part, options: &Options) -> Result<Vec<Section>, Problem> {
    let section = match part {
        Part::Scale => scale::measure(options),
        Part::Growth => return growth::measure(options),
        Part::Restart => restart::measure(options),
        Part::Names => names::measure(options),
        Part::Control => control::measure(options),
        Part::Plain => plain::measure(options),
    };
    Ok(vec![section?])
}
