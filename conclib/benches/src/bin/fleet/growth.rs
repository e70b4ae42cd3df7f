//! Asks per second and processor time per ask, by the number of members and of callers.

use conclib_benches::cpus::{share_one_cpu, use_cpus};

use crate::Problem;
use crate::call::Sample;
use crate::options::Options;
use crate::section::Section;
use crate::stage::{Setting, Stage};

const MEMBERS: [usize; 5] = [1, 2, 4, 8, 16];

const CALLERS: [usize; 4] = [1, 64, 512, 4096];

/// Callers for each member in the column of equal load.
const PER_MEMBER: usize = 64;

pub(crate) fn measure(options: &Options) -> Result<Vec<Section>, Problem> {
    let mut free = section("Growth, on all processors", options);
    let mut shared = section("Growth, all processes on one processor", options);
    fill(&mut free, options)?;
    let before = share_one_cpu()?;
    let filled = fill(&mut shared, options);
    use_cpus(&before)?;
    filled?;
    Ok(vec![free, shared])
}

fn section(title: &str, options: &Options) -> Section {
    let heading = [
        "members",
        "1 caller",
        "64 callers",
        "512 callers",
        "4,096 callers",
        "64 for each member",
    ];
    let mut section = Section::new(title, &heading);
    section.note(format!(
        "Asks per second, and in brackets the processor time per ask of the client, all members and Redis \
         together. Each figure is from one measurement of {:?}. Handlers reply at once; every member \
         has answered before anything counts.",
        options.measured()
    ));
    section
}

/// Measures every cell of the table.
fn fill(section: &mut Section, options: &Options) -> Result<(), Problem> {
    let mut stage = Stage::new()?;
    for members in options.or_quick(&MEMBERS[..], &MEMBERS[..2]) {
        stage.grow(*members, Setting::default())?;
        let mut cells = vec![members.to_string()];
        for callers in CALLERS.into_iter().chain([members * PER_MEMBER]) {
            let sample = stage.measure(callers, Setting::default(), options.measured())?;
            section.sample(&format!("{members} members, {callers} callers"), &sample);
            cells.push(cell(&sample));
        }
        section.row(cells);
    }
    Ok(())
}

fn cell(sample: &Sample) -> String {
    let (rate, cost) = (sample.per_second(), sample.cpu_per_ask());
    format!("{rate:.0} ({cost:.1} µs)")
}
