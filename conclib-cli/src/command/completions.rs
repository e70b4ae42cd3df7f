//! `completions`: for shells.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Failure;
use crate::output::Output;

/// Print the completions for a shell
///
/// For bash: `conclib completions bash > ~/.local/share/bash-completion/completions/conclib`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self, output: Output) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "conclib", &mut script);
        output.line(String::from_utf8_lossy(&script).trim_end())
    }
}
