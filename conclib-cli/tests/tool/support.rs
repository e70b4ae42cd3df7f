//! Runs the tool.

use std::process::Stdio;

use conclib_tests::bus::{Bus, BusFixture};
use conclib_tests::within;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The tool with the settings of one test.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    variables: Vec<(String, String)>,
}

/// The end of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Tool {
    /// The tool for a Redis.
    pub(crate) fn new(url: &str) -> Self {
        let tool = Self {
            variables: Vec::new(),
        };
        tool.with("CONCLIB_REDIS_URL", url).with("USER", "tester")
    }

    /// The same tool with a variable in its environment.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it with these arguments.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with_input(arguments, "").await
    }

    /// Runs it with these arguments, and a text as its standard input.
    pub(crate) async fn run_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = self.command(arguments).spawn().expect("the tool starts");
        let mut stdin = child.stdin.take().expect("its input is piped");
        let run = async {
            // It may end without reading.
            drop(stdin.write_all(input.as_bytes()).await);
            drop(stdin);
            child.wait_with_output().await.expect("it ends")
        };
        let output = within(run).await;
        Ran {
            code: output.status.code(),
            output: String::from_utf8(output.stdout).expect("text"),
            errors: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// A run for a shell.
    pub(crate) fn shell_command(&self, arguments: &str) -> String {
        let variables = self.variables.iter();
        let variables = variables.map(|(name, value)| format!("{name}='{value}'"));
        let variables = variables.collect::<Vec<_>>().join(" ");
        let program = env!("CARGO_BIN_EXE_conclib");
        format!("{variables} '{program}' {arguments}")
    }

    /// The command of a run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conclib"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CONCLIB_") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

impl Ran {
    /// The output of a run that has succeeded.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.errors, "", "{self:?}");
        self.output.trim_end()
    }

    /// The errors of a run that has ended with this code.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.errors.trim_end()
    }

    /// The output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Actors on a Redis of their own, and the tool for it.
pub(crate) async fn fixture() -> (BusFixture, Tool) {
    let bus = Bus::redis().await.fixture().await;
    let tool = Tool::new(&bus.bus.url());
    (bus, tool)
}
