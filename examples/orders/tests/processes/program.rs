//! A process of the test.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The longest wait for a process, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A process whose lines, of both outputs, a test can wait for; killed on drop.
pub(crate) struct Program {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Program {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let (sender, lines) = mpsc::unbounded_channel();
        read(child.stdout.take().unwrap(), sender.clone());
        read(child.stderr.take().unwrap(), sender);
        Self { child, lines }
    }

    /// Waits for a line with this text; returns what follows it.
    pub(crate) async fn line(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        let wait = async {
            while let Some(line) = self.lines.recv().await {
                if let Some((_, rest)) = line.split_once(text) {
                    return Some(rest.to_owned());
                }
                seen.push(line);
            }
            None
        };
        let found = timeout(LIMIT, wait).await;
        let found = found.ok().flatten();
        found.unwrap_or_else(|| panic!("no line with `{text}` in {seen:#?}"))
    }

    /// Sends a signal, with the shell's own `kill`.
    pub(crate) async fn signal(&self, name: &str) {
        let process = self.child.id().unwrap();
        let kill = format!("kill -{name} {process}");
        let status = Command::new("sh").args(["-c", &kill]).status().await;
        assert!(status.unwrap().success());
    }

    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        let ended = timeout(LIMIT, self.child.wait()).await;
        ended.expect("it ends").unwrap().code()
    }
}

/// Reads all lines, so that the process never waits for the test.
fn read(output: impl AsyncRead + Unpin + Send + 'static, lines: mpsc::UnboundedSender<String>) {
    tokio::spawn(async move {
        let mut output = BufReader::new(output).lines();
        while let Ok(Some(line)) = output.next_line().await {
            drop(lines.send(line));
        }
    });
}
